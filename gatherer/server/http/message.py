"""HTTP requests and responses as handlers see them: no sockets, no parser, no framework."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

RETRY_AFTER_SECONDS: Final = 5


class Headers:
    """The header fields of a request, in the order received. Names match in any case of letters.

    Values are text; their bytes that are not UTF-8 are surrogates. Few fields are looked at: only those are decoded.
    """

    __slots__ = ("_fields", "_values")

    def __init__(self, fields: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Take names and values as received."""
        self._fields = fields
        self._values = {name.lower(): value for name, value in reversed(fields)}  # the first of each name

    def get(self, name: str) -> str | None:
        """Return the first value of the field `name`, None without one."""
        value = self._values.get(_key(name))
        return None if value is None else value.decode("utf-8", "surrogateescape")

    def get_all(self, name: str) -> list[str]:
        """Return every value of the field `name`, in the order received."""
        key = _key(name)
        if key not in self._values:
            return []
        return [value for field, value in self.items() if _key(field) == key]

    def items(self) -> list[tuple[str, str]]:
        """Return all names and values."""
        return [
            (name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in self._fields
        ]


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return name.lower().encode("latin-1")


class Request:
    """The head of a request."""

    __slots__ = ("headers", "keep_alive", "method", "peer", "scheme", "target", "version")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        peer: str = "",
        scheme: str = "http",
        version: str = "1.1",
        *,
        keep_alive: bool = True,
    ) -> None:
        """Bytes of `target` and `headers` that are not UTF-8 are surrogates.

        Args:
            method: in capitals.
            target: path and query exactly as received, not decoded.
            headers: without trailers.
            peer: the address of the client, or of the proxy in front; empty if unknown.
            scheme: "http" or "https".
            version: "1.0" or "1.1".
            keep_alive: whether the client wants to send more requests on the connection.

        """
        self.method, self.target, self.headers = method, target, headers
        self.peer, self.scheme, self.version, self.keep_alive = peer, scheme, version, keep_alive

    @property
    def path(self) -> str:
        """The target up to its query, not decoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the query, decoded; of a repeated one the first value."""
        pairs = parse_qsl(self.target.partition("?")[2], keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def content_length(self) -> int | None:
        """The length that the body will have, None if the head does not say so (chunked, or no body)."""
        length = self.headers.get("Content-Length")
        return None if length is None else int(length)


class Response:
    """An answer. It can be sent any number of times, unless its body is a stream."""

    __slots__ = ("_head", "body", "close", "status")

    def __init__(
        self,
        status: HTTPStatus = HTTPStatus.OK,
        body: bytes | AsyncGenerator[bytes, None] = b"",
        headers: Iterable[tuple[str, str]] = (),
        *,
        close: bool = False,
    ) -> None:
        """Make an answer.

        Args:
            status: of three digits.
            body: all of it; or a stream of parts, sent as the client reads them. If the stream raises an exception
                (ConnectionError: it has been logged), the connection is closed without the end of the body.
            headers: names and values; those about length, framing, date and connection are added.
            close: whether the connection ends with this answer.

        """
        self.status, self.body, self.close = status, body, close
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "Server: gatherer",
            "X-Content-Type-Options: nosniff",
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        if isinstance(body, bytes) and status is not HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {len(body)}")
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    def encode(self, request: Request, date: bytes, *, last: bool) -> bytes:
        """Return the answer to `request` as sent; of one with a stream, the head.

        Args:
            request: whose answer it is.
            date: the line "Date", with its CRLF.
            last: whether the connection ends with it.

        """
        connection = b"" if request.version == "1.1" else b"Connection: keep-alive\r\n"
        if last:
            connection = b"Connection: close\r\n"
        if isinstance(self.body, bytes):
            body = b"" if request.method == "HEAD" else self.body
            return b"%b%b%b\r\n%b" % (self._head, date, connection, body)
        framing = b"Transfer-Encoding: chunked\r\n" if request.version == "1.1" else b""
        return b"%b%b%b%b\r\n" % (self._head, date, connection, framing)


class PendingResponse(Protocol):
    """A response that is not there yet, such as a future or a task."""

    def done(self) -> bool:
        """Return whether the response is there."""

    def result(self) -> Response:
        """Return the response, or raise the exception in its place. Called at most once, when it is there."""

    def add_done_callback(self, callback: Callable[[asyncio.Future[Any]], object], /) -> None:
        """Let the event loop call `callback` when the response is there."""


class Exchange(Protocol):
    """A request of which the handler wants the body. One of `refusal`, `respond` and `reject` ends it."""

    def refusal(self) -> Response | None:
        """Return a response to refuse the body unread, None to take it. Called if it did not come with the head."""

    def respond(self, body: bytes) -> Response | PendingResponse:
        """Return the response to the request with this whole `body`."""

    def reject(self, status: HTTPStatus, reason: str) -> Response:
        """Return the response with `status` to a request without a whole body; `reason` is for the log."""


class RequestRejectedError(Exception):
    """A handler rejects a request. The text is the reason, for the log; `headers` are those of the response."""

    def __init__(self, status: HTTPStatus, reason: str, *headers: tuple[str, str]) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


Reply = Response | asyncio.Future[Response]  # a task is a future, too
Handler = Callable[[Request], Reply | Exchange]


def error_response(status: HTTPStatus, *headers: tuple[str, str], close: bool = False) -> Response:
    """Return the response with `status` that repeats nothing of the request."""
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = (*headers, ("Retry-After", str(RETRY_AFTER_SECONDS)))
    return text_response(status, status.phrase, *headers, close=close)


def text_response(status: HTTPStatus, text: str, *headers: tuple[str, str], close: bool = False) -> Response:
    """Return a response of one line of plain text."""
    headers = (("Content-Type", "text/plain; charset=utf-8"), *headers)
    return Response(status, f"{text}\n".encode("utf-8", "backslashreplace"), headers, close=close)
