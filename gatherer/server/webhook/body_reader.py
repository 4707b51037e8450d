"""Reads request bodies: each within limits of size and time, all together within a limit of memory."""

import asyncio
import contextlib
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRejectedError(Exception):
    """The body is rejected. `status` is for the response, the text for the log."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _UnfinishedBody:
    """A body of which the client has not sent the end."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self.timeout = timeout
        self.chunks = bytearray()
        self.is_shed = False


class Bodies:
    """The bodies that clients have not sent completely.

    A signature can only be checked when the whole body is there, so the server reads the bodies of clients that it
    cannot trust yet. When they take too much memory together, it sheds the body that the client began first: the
    request of a provider arrives at once.
    """

    def __init__(self, *, max_bytes: int, timeout_seconds: float, max_arriving_bytes: int) -> None:
        """Set the limits.

        Args:
            max_bytes: of one body.
            timeout_seconds: for one body to arrive completely.
            max_arriving_bytes: of all unfinished bodies together; at least one of `max_bytes` always fits.

        """
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._max_arriving_bytes = max(max_arriving_bytes, max_bytes)
        self._unfinished: dict[_UnfinishedBody, None] = {}  # the oldest first
        self.arriving_bytes = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """Return the body of `request`, byte for byte.

        Raises:
            BodyRejectedError: the body is too large, too slow, not framed as HTTP requires, or shed.
            ConnectionError: the client closed the connection.

        """
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        if content.is_eof():  # arrived together with the headers, as nearly every webhook does
            body = content.read_nowait()
        else:
            body = await self._read_unfinished(request)
        if len(body) > self._max_bytes:
            raise BodyRejectedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than max_body_bytes"
            )
        return body

    async def _read_unfinished(self, request: web.BaseRequest) -> bytes:
        """Return the body; if it is too large, only its beginning, one chunk more than `max_bytes`."""
        body = None
        try:
            async with asyncio.timeout(self._timeout_seconds) as timeout:
                body = _UnfinishedBody(timeout)
                self._unfinished[body] = None
                while chunk := await request.content.readany():
                    if body.is_shed:  # its first chunks are gone: the rest is not the body
                        break
                    body.chunks += chunk
                    self.arriving_bytes += len(chunk)
                    if len(body.chunks) > self._max_bytes:
                        break
                    self._shed()
        except TimeoutError:
            if body is None or not body.is_shed:
                raise BodyRejectedError(
                    HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time"
                ) from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            error.__traceback__ = None  # the request refers to the error, and its frames to the request
            raise BodyRejectedError(
                HTTPStatus.BAD_REQUEST, "the body is not framed as HTTP requires"
            ) from None
        except (
            OSError,
            RuntimeError,
        ) as gone:  # TLS that breaks off; reading on where the connection was closed
            if request.transport is not None:
                raise
            gone.__traceback__ = None
            raise ConnectionAbortedError from None
        finally:
            if body is not None:
                self._forget(body)
        if body.is_shed:
            raise BodyRejectedError(HTTPStatus.SERVICE_UNAVAILABLE, "a slow body was shed to free memory")
        return bytes(body.chunks)

    def _shed(self) -> None:
        while self.arriving_bytes > self._max_arriving_bytes and len(self._unfinished) > 1:
            slowest = next(iter(self._unfinished))
            self._forget(slowest)
            slowest.is_shed = True
            slowest.chunks = bytearray()
            with contextlib.suppress(RuntimeError):  # its timeout has just expired
                slowest.timeout.reschedule(0)  # ends its reader

    def _forget(self, body: _UnfinishedBody) -> None:
        if body in self._unfinished:
            del self._unfinished[body]
            self.arriving_bytes -= len(body.chunks)
