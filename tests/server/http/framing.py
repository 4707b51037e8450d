"""Requests with a malformed, ambiguous or unusual framing, the responses to each, and the bodies that are stored."""


class Case:
    """The bytes `sent` on one connection, the status codes of the responses, and the bodies that are `stored`."""

    def __init__(self, sent: bytes, answers: list[int], *stored: bytes) -> None:
        self.sent, self.answers, self.stored = sent, answers, list(stored)


def _post(*lines: str, body: str = "", line: str = "POST /open HTTP/1.1") -> bytes:
    return "".join(f"{field}\r\n" for field in (line, "Host: x", *lines, "")).encode("latin-1") + body.encode(
        "latin-1"
    )


_CLOSE = "Connection: close"
_CHUNKED = "Transfer-Encoding: chunked"
CASES = {
    # The length of the body
    "both a length and chunks": Case(_post("Content-Length: 4", _CHUNKED, body="0\r\n\r\n"), [400]),
    "both chunks and a length": Case(_post(_CHUNKED, "Content-Length: 4", body="0\r\n\r\n"), [400]),
    "two different lengths": Case(_post("Content-Length: 4", "Content-Length: 5", body="abcd"), [400]),
    "twice the same length": Case(_post("Content-Length: 1", "Content-Length: 1", body="x"), [400]),
    "a list of lengths": Case(_post("Content-Length: 1, 1", body="x"), [400]),
    "a length with a sign": Case(_post("Content-Length: +1", body="x"), [400]),
    "a negative length": Case(_post("Content-Length: -1", body="x"), [400]),
    "a hexadecimal length": Case(_post("Content-Length: 0x1", body="x"), [400]),
    "an empty length": Case(_post("Content-Length:", body="x"), [400]),
    "a length beyond 64 bits": Case(_post("Content-Length: 99999999999999999999", body="x"), [400]),
    "a length that is too large": Case(_post("Content-Length: 5000000"), [413]),
    "no length": Case(_post(), [411]),
    "a length of zero": Case(_post("Content-Length: 0", _CLOSE), [200], b""),
    # The coding of the body
    "an unknown transfer coding": Case(
        _post("Transfer-Encoding: xchunked", body="1\r\nx\r\n0\r\n\r\n"), [415]
    ),
    "chunked is not the last coding": Case(
        _post("Transfer-Encoding: chunked, identity", body="1\r\nx\r\n0\r\n\r\n"), [400]
    ),
    "chunked twice": Case(_post("Transfer-Encoding: chunked, chunked", body="1\r\nx\r\n0\r\n\r\n"), [400]),
    "chunked in two headers": Case(_post(_CHUNKED, _CHUNKED, body="1\r\nx\r\n0\r\n\r\n"), [400]),
    "a compressed transfer": Case(
        _post("Transfer-Encoding: gzip, chunked", body="1\r\nx\r\n0\r\n\r\n"), [415]
    ),
    "an identity transfer": Case(_post("Transfer-Encoding: identity", body="x"), [415]),
    "a transfer coding in quotes": Case(
        _post('Transfer-Encoding: "chunked"', body="1\r\nx\r\n0\r\n\r\n"), [415]
    ),
    "a transfer coding after a vertical tab": Case(
        _post("Transfer-Encoding: \x0bchunked", body="1\r\nx\r\n0\r\n\r\n"), [400]
    ),
    "a space before the colon": Case(_post("Transfer-Encoding : chunked", body="0\r\n\r\n"), [400]),
    "a transfer coding in capitals": Case(
        _post("TRANSFER-ENCODING: CHUNKED", _CLOSE, body="1\r\nx\r\n0\r\n\r\n"), [200], b"x"
    ),
    "chunks in HTTP/1.0": Case(
        _post(_CHUNKED, body="1\r\nx\r\n0\r\n\r\n", line="POST /open HTTP/1.0"), [200], b"x"
    ),
    "a compressed body": Case(_post("Content-Encoding: gzip", "Content-Length: 1", body="x"), [415]),
    "an unknown body coding": Case(_post("Content-Encoding: x", "Content-Length: 1", body="x"), [415]),
    # Chunks
    "a chunk": Case(_post(_CHUNKED, _CLOSE, body="1\r\nx\r\n0\r\n\r\n"), [200], b"x"),
    "a chunk with an extension": Case(_post(_CHUNKED, _CLOSE, body="1;a=b\r\nx\r\n0\r\n\r\n"), [200], b"x"),
    "a chunk with zeros before its size": Case(
        _post(_CHUNKED, _CLOSE, body="0001\r\nx\r\n0\r\n\r\n"), [200], b"x"
    ),
    "a trailer": Case(_post(_CHUNKED, _CLOSE, body="1\r\nx\r\n0\r\nX-A: b\r\n\r\n"), [200], b"x"),
    "a length as a trailer": Case(
        _post(_CHUNKED, body="1\r\nx\r\n0\r\nX: y\r\nContent-Length: 5\r\n\r\n"), [400]
    ),
    "a negative chunk": Case(_post(_CHUNKED, body="-1\r\nx\r\n0\r\n\r\n"), [400]),
    "a chunk size with 0x": Case(_post(_CHUNKED, body="0x1\r\nx\r\n0\r\n\r\n"), [400]),
    "a chunk size with a space": Case(_post(_CHUNKED, body="1 \r\nx\r\n0\r\n\r\n"), [400]),
    "a chunk size beyond 64 bits": Case(_post(_CHUNKED, body=f"{'f' * 17}\r\nx\r\n0\r\n\r\n"), [400]),
    "an invalid chunk size": Case(_post(_CHUNKED, body="zz\r\nx\r\n0\r\n\r\n"), [400]),
    "a chunk without its size": Case(_post(_CHUNKED, body="\r\nx\r\n0\r\n\r\n"), [400]),
    "a chunk that ends with LF": Case(_post(_CHUNKED, body="1\nx\r\n0\r\n\r\n"), [400]),
    "a chunk longer than its size": Case(_post(_CHUNKED, body="1\r\nxyz\r\n0\r\n\r\n"), [400]),
    "a chunk extension without end": Case(_post(_CHUNKED, body="1;" + "a" * 100_000), [400]),
    "trailers without end": Case(_post(_CHUNKED, body="0\r\n" + "X: y\r\n" * 20_000), [400]),
    # Lines
    "LF after each line": Case(b"POST /open HTTP/1.1\nHost: x\nContent-Length: 1\n\nx", [400]),
    "LF after one header": Case(b"POST /open HTTP/1.1\r\nHost: x\nContent-Length: 1\r\n\r\nx", [400]),
    "LF before the body": Case(b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\nx", [400]),
    "CR after a header": Case(b"POST /open HTTP/1.1\r\nHost: x\rContent-Length: 1\r\n\r\nx", [400]),
    "a folded header": Case(
        b"POST /open HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\nx", [400]
    ),
    "a header without a colon": Case(_post("X", "Content-Length: 1", body="x"), [400]),
    "a header without a name": Case(_post(": a", "Content-Length: 1", body="x"), [400]),
    "a header name of bytes": Case(_post("X\xff: a", "Content-Length: 1", body="x"), [400]),
    "a header value of bytes": Case(_post("X: \xff", "Content-Length: 1", _CLOSE, body="x"), [200], b"x"),
    "NUL in a header": Case(_post("X: a\0b", "Content-Length: 1", body="x"), [400]),
    "a control character in a header": Case(_post("X: a\x01b", "Content-Length: 1", body="x"), [400]),
    "a space before the first header": Case(
        b"POST /open HTTP/1.1\r\n Host: x\r\nContent-Length: 1\r\n\r\nx", [400]
    ),
    "an empty line before the request": Case(
        b"\r\n" + _post("Content-Length: 1", _CLOSE, body="x"), [200], b"x"
    ),
    "a header that is too large": Case(_post("X: " + "y" * 40_000, "Content-Length: 1", body="x"), [431]),
    "headers that are too large": Case(
        _post(*["X: " + "y" * 100] * 400, "Content-Length: 1", body="x"), [431]
    ),
    # The request line
    "HTTP/0.9": Case(b"GET /open\r\n\r\n", [400]),
    "HTTP/0.9 with headers": Case(_post("Content-Length: 1", body="x", line="POST /open HTTP/0.9"), [400]),
    "HTTP/2.0": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400]),
    "HTTP/1.2": Case(_post("Content-Length: 1", body="x", line="POST /open HTTP/1.2"), [400]),
    "HTTP/9.9": Case(_post("Content-Length: 1", body="x", line="POST /open HTTP/9.9"), [400]),
    "HTTP/1.10": Case(_post("Content-Length: 1", body="x", line="POST /open HTTP/1.10"), [400]),
    "http/1.1": Case(_post("Content-Length: 1", body="x", line="POST /open http/1.1"), [400]),
    "another protocol": Case(b"SSH-2.0-OpenSSH_9.2\r\n", [400]),
    "TLS": Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, [400]),
    "HTTP/1.0": Case(_post("Content-Length: 1", body="x", line="POST /open HTTP/1.0"), [200], b"x"),
    "an unknown method": Case(_post("Content-Length: 1", body="x", line="BREW /open HTTP/1.1"), [400]),
    "a method in small letters": Case(
        _post("Content-Length: 1", body="x", line="post /open HTTP/1.1"), [400]
    ),
    "a method of bytes": Case(b"P\xffST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx", [400]),
    "no path": Case(_post("Content-Length: 1", body="x", line="POST  HTTP/1.1"), [400]),
    "a tab after the method": Case(_post("Content-Length: 1", body="x", line="POST\t/open HTTP/1.1"), [400]),
    "a space after the version": Case(
        _post("Content-Length: 1", body="x", line="POST /open HTTP/1.1 "), [400]
    ),
    "CONNECT": Case(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
    "TRACE": Case(_post(_CLOSE, line="TRACE /open HTTP/1.1"), [405]),
    # The path
    "NUL in the path": Case(_post("Content-Length: 1", body="x", line="POST /op\0en HTTP/1.1"), [400]),
    "an encoded NUL in the path": Case(
        _post("Content-Length: 1", _CLOSE, body="x", line="POST /open%00 HTTP/1.1"), [404]
    ),
    "bytes in the path": Case(_post("Content-Length: 1", body="x", line="POST /\xf6pen HTTP/1.1"), [400]),
    "a backslash before the path": Case(
        _post("Content-Length: 1", body="x", line="POST \\open HTTP/1.1"), [400]
    ),
    "a path that climbs": Case(
        _post("Content-Length: 1", _CLOSE, body="x", line="POST /x/../open HTTP/1.1"), [404]
    ),
    "an encoded path": Case(
        _post("Content-Length: 1", _CLOSE, body="x", line="POST /%6fpen HTTP/1.1"), [404]
    ),
    "two slashes": Case(_post("Content-Length: 1", _CLOSE, body="x", line="POST //open HTTP/1.1"), [404]),
    "a whole URL": Case(
        _post("Content-Length: 1", _CLOSE, body="x", line="POST http://other/open HTTP/1.1"), [404]
    ),
    "a star": Case(_post(_CLOSE, line="OPTIONS * HTTP/1.1"), [404]),
    # Several requests
    "two requests": Case(
        _post("Content-Length: 1", body="x") + _post("Content-Length: 1", _CLOSE, body="y"),
        [200, 200],
        b"x",
        b"y",
    ),
    "a request behind Connection: close": Case(
        _post("Content-Length: 1", _CLOSE, body="x") + _post("Content-Length: 1", body="y"), [200], b"x"
    ),
    "a request behind a malformed one": Case(
        _post("Content-Length: 1", "Content-Length: 2", body="x") + _post("Content-Length: 1", body="y"),
        [400],
    ),
    "a malformed request behind a good one": Case(
        _post("Content-Length: 1", body="x") + b"GARBAGE\r\n\r\n", [200, 400], b"x"
    ),
    "a request in a body": Case(
        _post("Content-Length: 50", _CLOSE, body="GET /admin HTTP/1.1\r\nHost: x\r\n\r\n".ljust(50)),
        [200],
        b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n".ljust(50),
    ),
    "a trailer in front of a request": Case(
        _post(_CHUNKED, body="1\r\nx\r\n0\r\nContent-Encoding: gzip\r\n\r\n")
        + _post("Content-Length: 1", _CLOSE, body="y"),
        [200, 200],
        b"x",
        b"y",
    ),
    "an upgrade to HTTP/2": Case(
        _post(
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAEAAEAA",
            "Content-Length: 1",
            body="x",
        )
        + _post("Content-Length: 1", _CLOSE, body="y"),
        [200, 200],
        b"x",
        b"y",
    ),
    "an upgrade to WebSocket": Case(
        _post("Connection: Upgrade", "Upgrade: websocket", _CHUNKED, body="1\r\nx\r\n0\r\n\r\n")
        + _post("Content-Length: 1", _CLOSE, body="y"),
        [200, 200],
        b"x",
        b"y",
    ),
}

# nginx accepts these and forwards them with a framing of its own.
TAKEN_BY_NGINX = {
    "a length as a trailer": "it drops trailers",
    "a chunk size with a space": "it skips spaces",
    "a chunk that ends with LF": "it takes LF for CRLF",
    "LF after each line": "it takes LF for CRLF",
    "LF after one header": "it takes LF for CRLF",
    "LF before the body": "it takes LF for CRLF",
    "a header without a colon": "it drops invalid headers",
    "a header name of bytes": "it drops invalid headers",
    "HTTP/1.2": "it takes every version 1.x",
    "HTTP/1.10": "it takes every version 1.x",
    "a space after the version": "it skips spaces",
    "a whole URL": "it passes on the path of the URL",
}
