"""Reading bodies: one within its limits of size and time, and all together within a limit of memory."""

import asyncio
import contextlib
from http import HTTPStatus

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRejectedError(Exception):
    """The body is not taken. `status` is the answer; the text is for the log."""

    def __init__(self, status: HTTPStatus, because: str) -> None:
        super().__init__(because)
        self.status = status


class _Arriving:
    """A body on its way."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self.timeout = timeout
        self.chunks = bytearray()
        self.makes_room = False


class Bodies:
    """The bodies that are on their way.

    Nobody is known to be who they say before their body is there, so all have to be read. When they take too much
    memory together, whoever has been sending longest makes room: a provider's post arrives at once.
    """

    def __init__(self, *, max_bytes: int, timeout_seconds: float, max_arriving_bytes: int) -> None:
        """Take bodies of up to `max_bytes`, in `timeout_seconds` each; unfinished ones up to `max_arriving_bytes`."""
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._max_arriving_bytes = max(max_arriving_bytes, max_bytes)
        self._arriving: dict[_Arriving, None] = {}  # oldest first
        self.arriving_bytes = 0

    async def read(self, request: web.BaseRequest) -> bytes:
        """Return the body of `request`, byte for byte.

        Raises:
            BodyRejectedError: it is too large, too slow, not framed as it has to be, or makes room for others.

        """
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        if content.is_eof():  # arrived together with the headers, as nearly every webhook does
            body = content.read_nowait()
        else:
            body = await self._gather(request)
        if len(body) > self._max_bytes:
            raise BodyRejectedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than max_body_bytes"
            )
        return body

    async def _gather(self, request: web.BaseRequest) -> bytes:
        """Return the body as it arrives; one that is too large, only as far as that can be seen."""
        one = None
        try:
            async with asyncio.timeout(self._timeout_seconds) as timeout:
                one = _Arriving(timeout)
                self._arriving[one] = None
                while chunk := await request.content.readany():
                    if one.makes_room:  # what it has is gone: never take the rest for the whole
                        break
                    one.chunks += chunk
                    self.arriving_bytes += len(chunk)
                    if len(one.chunks) > self._max_bytes:
                        break
                    self._make_room()
        except TimeoutError:
            if one is None or not one.makes_room:
                raise BodyRejectedError(
                    HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time"
                ) from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            error.__traceback__ = None  # kept with the request, which its frames hold
            raise BodyRejectedError(
                HTTPStatus.BAD_REQUEST, "the body is not framed as HTTP wants it"
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
            if one is not None:
                self._forget(one)
        if one.makes_room:
            raise BodyRejectedError(HTTPStatus.SERVICE_UNAVAILABLE, "a slow body made room for others")
        return bytes(one.chunks)

    def _make_room(self) -> None:
        while self.arriving_bytes > self._max_arriving_bytes and len(self._arriving) > 1:
            slowest = next(iter(self._arriving))
            self._forget(slowest)
            slowest.makes_room = True
            slowest.chunks = bytearray()
            with contextlib.suppress(RuntimeError):  # its time is over just now
                slowest.timeout.reschedule(0)  # its reader ends now

    def _forget(self, one: _Arriving) -> None:
        if one in self._arriving:
            del self._arriving[one]
            self.arriving_bytes -= len(one.chunks)
