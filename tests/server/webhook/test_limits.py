"""Bodies that are too large, too slow, compressed or malformed are rejected without effect on other clients."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.server_process import (
    ENDPOINT,
    OPEN,
    PATH,
    ServerProcess,
    encode_head,
    encode_post,
    read_response,
    run_server,
    signature,
)
from tests.waiting import BUSY_SECONDS, wait_until

LIMIT = 200_000
TIMEOUT = 1.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = f"max_body_bytes = {LIMIT}\nbody_timeout_seconds = {TIMEOUT}"
    with run_server(tmp_path_factory.mktemp("serve"), ENDPOINT, OPEN, server=limits) as running:
        yield running


@pytest.fixture(autouse=True)
def _good_requests_are_still_accepted(server: ServerProcess) -> Iterator[None]:
    """After every test, a good request is accepted and stored."""
    yield
    assert server.post(b"still there").status == 200
    assert server.bodies()[-1] == b"still there"


def _chunked(body: bytes, size: int, **headers: str) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    fields = {"Host": "localhost", "Transfer-Encoding": "chunked", "X-Hub-Signature-256": signature(body)}
    return encode_head("POST", PATH, fields | headers) + framed


def test_a_body_of_exactly_the_limit_is_accepted(server):
    body = b"x" * LIMIT
    assert server.post(body).status == 200
    assert server.bodies()[-1] == body


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="LOUD: needs SIGSTOP, to pause the server")
def test_a_large_body_read_together_with_its_head_is_accepted(tmp_path):
    """The server reads head and body in one go, as it does after it was busy."""
    request = encode_post(b"x" * 4_000_000)
    with run_server(tmp_path) as server, server.connect() as connection:
        for _ in range(5):
            connection.sendall(request)  # the socket buffer of the system grows with use
            assert read_response(connection).status == 200
            os.kill(server.process.pid, signal.SIGSTOP)
            sending = threading.Thread(target=connection.sendall, args=(request,))
            sending.start()
            time.sleep(0.1)
            os.kill(server.process.pid, signal.SIGCONT)
            sending.join()
            assert read_response(connection).status == 200


def test_a_declared_oversize_is_rejected_before_the_body(server):
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, {"Host": "localhost", "Content-Length": str(LIMIT + 1)}))
        answer = read_response(connection)
    assert answer.status == 413
    assert answer.headers["Connection"] == "close"


def test_a_declared_oversize_is_rejected_instead_of_100_continue(server):
    fields = {"Host": "localhost", "Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, fields))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_unknown_path_is_rejected_instead_of_100_continue(server):
    fields = {"Host": "localhost", "Content-Length": "5", "Expect": "100-continue"}
    with server.connect() as connection:
        connection.sendall(encode_head("POST", "/nowhere", fields))
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_100_continue_is_sent_when_the_body_is_accepted(server):
    body = b"after the go-ahead"
    request = encode_post(body, Expect="100-continue")
    with server.connect() as connection:
        connection.sendall(request[: -len(body)])
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_response(connection).status == 200
    assert server.bodies()[-1] == body


@pytest.mark.parametrize("size", [1, 7, 4096, 70_000])
def test_a_chunked_body_is_stored_without_its_framing(server, size):
    body = bytes(range(256)) * (300 if size > 7 else 4)
    assert server.exchange(_chunked(body, size)).status == 200
    assert server.bodies()[-1] == body


def test_a_chunked_oversize_is_rejected(server):
    body = b"x" * (LIMIT + 1)
    assert server.exchange(_chunked(body, 50_000)).status == 413


def test_a_chunked_oversize_is_rejected_before_its_end(server):
    unfinished = _chunked(b"x" * (LIMIT + 1), 50_000).removesuffix(b"0\r\n\r\n")
    assert server.exchange(unfinished).status == 413


def test_an_endless_chunked_body_is_rejected_in_bounded_time(server):
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, {"Host": "localhost", "Transfer-Encoding": "chunked"}))
        with pytest.raises(ConnectionError):  # closed by the server
            wait_until(lambda: connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n"))


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_a_slow_body_is_rejected_after_the_time_limit(server, sent):
    request = encode_post(b"ten bytes!")
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(request[: len(request) - 10 + sent])
        assert read_response(connection).status == 408
    assert TIMEOUT * 0.9 < time.monotonic() - started < TIMEOUT + BUSY_SECONDS


def test_a_body_that_trickles_does_not_extend_its_time(server):
    request = encode_post(b"x" * 1000)
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(request[:-1000])
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() < started + 30:
            connection.sendall(b"x")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < TIMEOUT + BUSY_SECONDS


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity"])
def test_a_compressed_body_is_rejected(server, coding):
    assert server.post(b"\x1f\x8b", Content_Encoding=coding).status == 415


def test_a_second_content_encoding_is_rejected(server):
    request = encode_post(b"\x1f\x8b", Content_Encoding="identity")
    assert (
        server.exchange(request.replace(b"identity\r\n", b"identity\r\nContent-Encoding: gzip\r\n")).status
        == 415
    )


def test_a_compressed_transfer_is_rejected(server):
    assert server.exchange(_chunked(b"x", 1, **{"Transfer-Encoding": "gzip, chunked"})).status in (
        400,
        415,
        501,
    )


def test_content_encoding_identity_is_accepted(server):
    assert server.post(b"plain", Content_Encoding="identity").status == 200


def test_an_empty_body_is_stored(server):
    assert server.post(b"").status == 200
    assert server.bodies()[-1] == b""
    assert server.post(b"", X_Hub_Signature_256=signature(b"x")).status == 401


def test_a_post_without_a_length_is_rejected(server):
    assert server.exchange(encode_head("POST", "/open", {"Host": "localhost"})).status == 411


@pytest.mark.parametrize(
    "framing",
    [
        {"Content-Length": "3", "Transfer-Encoding": "chunked"},
        {"Content-Length": "-1"},
        {"Content-Length": "3x"},
        {"Content-Length": "+3"},
        {"Content-Length": "3, 3"},
        {"Transfer-Encoding": "chunked, chunked"},
        {"Transfer-Encoding": "identity"},
    ],
)
def test_contradictory_framing_is_rejected(server, framing):
    before = len(server.bodies())
    answer = server.exchange(
        encode_head("POST", "/open", {"Host": "localhost"} | framing) + b"3\r\nabc\r\n0\r\n\r\n"
    )
    assert answer.status in (400, 411, 415, 501)
    assert len(server.bodies()) == before


def test_a_shorter_content_length_than_the_body_fails_its_signature(server):
    body = b"0123456789"
    assert server.post(body, Content_Length="9").status in (
        400,
        401,
    )  # the remaining byte is not a valid request
    assert server.bodies()[-1] not in (body, body[:-1])


def test_a_body_shorter_than_its_content_length_is_not_stored(server):
    before = len(server.bodies())
    assert server.post(b"0123456789", Content_Length="11").status == 408
    assert len(server.bodies()) == before


def test_a_body_with_an_invalid_chunk_size_is_not_stored(server):
    before = len(server.bodies())
    start = encode_head("POST", "/open", {"Host": "localhost", "Transfer-Encoding": "chunked"})
    assert server.exchange(start + b"5\r\nhello\r\nzz\r\n").status == 400
    with server.connect() as connection:  # after a valid first chunk, while the server reads the body
        connection.sendall(start + b"5\r\nhello\r\n")
        time.sleep(0.2)
        connection.sendall(b"zz\r\n\r\n")
        assert read_response(connection).status in (400, 408)
    assert len(server.bodies()) == before


def test_a_body_whose_client_disconnects_is_not_stored(server):
    before = len(server.bodies())
    for sent in (0, 1, 500):
        request = encode_post(b"x" * 1000)
        with server.connect() as connection:
            connection.sendall(request[: len(request) - 1000 + sent])
    with server.connect() as connection:  # a client that resets the connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(request[:-1])
    wait_until(lambda: server.connections() == 0)
    assert len(server.bodies()) == before
    assert "Traceback" not in server.log()


def test_a_body_whose_client_disconnects_after_sending_is_stored_at_most_once(server):
    sent = [b"gone %d" % n for n in range(50)]
    for body in sent:
        with server.connect() as connection:
            connection.sendall(encode_post(body))
    other_bodies = [b"here %d" % n for n in range(20)]
    assert {server.post(body).status for body in other_bodies} == {200}
    wait_until(lambda: server.connections() == 0)
    stored = server.bodies()
    assert all(stored.count(body) <= 1 for body in sent)
    assert all(stored.count(body) == 1 for body in other_bodies)
    assert "Traceback" not in server.log()


def test_pipelined_requests_are_stored_in_order(server):
    sent = [b"pipelined %d" % n for n in range(40)]
    with server.connect() as connection:
        connection.sendall(b"".join(encode_post(body) for body in sent))
        received = b""
        while received.count(b"HTTP/1.1 200 ") < len(sent):
            chunk = connection.recv(65536)
            assert chunk
            received += chunk
    assert server.bodies()[-len(sent) :] == sent
