"""One HTTP connection, and how long and how much a client may keep us waiting before it is closed.

aiohttp frames the requests. What it leaves open is closed here: a head that trickles, a head without
end, an answer that nobody reads, and an error page that repeats what the client sent.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import StreamReader, web

from gatherer.server.http.error_responses import page, refusal

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 3  # to read on after a refusal: closing at once could cost the client the answer
STALLED_SECONDS: Final = 5  # for an answer that the client does not read, and for a close it does not follow
LONGEST_LINE: Final = 8190
MOST_HEADERS: Final = 128


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What the clients of one listener may take of it."""

    header_timeout_seconds: float = 10  # for request line and headers, from their first byte on
    keepalive_timeout_seconds: float = 15  # from an answer to the first byte of the next request
    max_header_bytes: int = 16_384  # request line and headers together
    max_connections: int = 2000  # whoever has kept us waiting longest makes room for the next one
    tls_handshake_timeout_seconds: float = 10
    send_buffer_bytes: int | None = None  # of answers that are not read; None leaves it to the system


Certificate = Mapping[str, Any]  # of a client, as ssl.SSLSocket.getpeercert gives it


class Connection(web.RequestHandler):
    """A connection that does not wait for ever."""

    __slots__ = (
        "_admits",
        "_answered",
        "_body",
        "_closing_since",
        "_head_bytes",
        "_head_since",
        "_limits",
        "_present",
        "_refused",
        "_since",
        "_stalled_since",
        "_wire",
        "arrival",
    )

    def __init__(
        self,
        server: web.Server,
        present: "set[Connection]",
        limits: ConnectionLimits,
        admits: Callable[[Certificate], bool] | None,
        refused: Callable[[int], None],
        **options: Any,
    ) -> None:
        """Be one of those that are `present`, until it ends; `options` are aiohttp's."""
        super().__init__(server, **options)
        self._present = present
        self._limits = limits
        self._admits = admits
        self._refused = refused
        self.arrival: asyncio.Task[None] | None = None  # while there is no transport: what will bring one
        self._wire: asyncio.Transport | None = None  # aiohttp forgets it before it is closed
        self._since = self._loop.time()  # when the client was last done with something, or we with an answer
        self._head_since: float | None = None  # when a request began of which the head is not whole yet
        self._head_bytes = 0
        self._body: StreamReader | None = None  # of the last request that has begun
        self._answered: StreamReader | None = None  # the body of the last request that was answered
        self._stalled_since: float | None = None
        self._closing_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, unless its certificate is not one of those that may come in."""
        self._wire = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        if self._force_close:  # it had to make room before it was here
            self._abort()
            return
        if self._admits is not None:
            certificate = transport.get_extra_info("peercert")
            if not certificate or not self._admits(certificate):
                peer = _address(transport)
                log.warning("%s showed the certificate of somebody else than client_names", peer)
                self._abort()
                return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._present.discard(self)
        self._wire = self._body = self._answered = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data`, and see how much of a head it is."""
        in_head = self._waits_for_a_head
        if in_head and data:
            self._head_bytes += len(data)
            self._head_since = self._head_since or self._loop.time()
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._since, self._head_since, self._head_bytes = self._loop.time(), None, 0
            message, body = self._messages[-1]
            if (error := getattr(message, "exc", None)) is None:
                self._body = body
            else:
                self._broken(error, alone=in_head and len(self._messages) == 1)
        elif in_head and self._head_bytes > self._limits.max_header_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers do not end")

    def pause_writing(self) -> None:
        """Note that the client does not read what it asked for."""
        super().pause_writing()
        self._stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        """Note that it does."""
        super().resume_writing()
        self._stalled_since = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; from now on the client keeps us waiting."""
        result = await super().finish_response(request, resp, start_time)
        if (error := request.content.exception()) is not None:
            error.__traceback__ = None  # its frames hold the body, and that the error
            self.force_close()  # aiohttp would read on, to the error
        elif self._wire is not None:  # else nothing is to hold the two together any more
            self._answered = request.content
        self._since = self._loop.time()
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's words repeat bytes of the request
    ) -> web.StreamResponse:
        """Return the answer to what is no HTTP: generic, as is the line in the log."""
        if isinstance(exc, ConnectionError):  # the client is gone, or is to be
            raise exc
        if status != HTTPStatus.BAD_REQUEST:
            status = HTTPStatus.SERVICE_UNAVAILABLE
        log.info("%d to %s: not well-formed HTTP (%s)", status, request.remote, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        self._refused(status)
        return page(HTTPStatus(status))

    @property
    def is_here(self) -> bool:
        """Whether it has arrived, and has not left."""
        return self._wire is not None

    @property
    def waiting_since(self) -> float | None:
        """Since when the client keeps us waiting; None while it is waiting for us."""
        if self._wire is not None and self._wire.is_closing():  # nothing is owed to it any more
            return self._since
        request = self._current_request
        if request is not None:
            return None if request.content.is_eof() else self._since
        if self._lingers or self._stalled_since is not None:
            return self._since
        # aiohttp may have taken a message out of its queue, and not made a request of it yet.
        return self._since if self._waits_for_a_head else None

    def check(self, now: float) -> None:
        """Close the connection if it has kept us waiting for too long. `now` is the event loop's time."""
        limits, wire = self._limits, self._wire
        if wire is None:
            return
        if wire.is_closing():
            if self._closing_since is None:
                self._closing_since = now
            elif now - self._closing_since > STALLED_SECONDS:
                self._abort()
        elif self._stalled_since is not None and now - self._stalled_since > STALLED_SECONDS:
            log.info("%s does not read its answers: closed", _address(wire))
            self._abort()
        elif self._waits_for_a_head:
            if self._head_since is not None or self._request_count == 0:
                began = self._since if self._head_since is None else self._head_since
                if now - began > limits.header_timeout_seconds:
                    log.info("%s did not send a whole request in time: closed", _address(wire))
                    self.force_close()
            elif now - self._since > limits.keepalive_timeout_seconds:
                self.force_close()

    def make_room(self) -> None:
        """Close the connection at once, for the sake of others, whom its place belongs to from now on."""
        self._present.discard(self)
        self._closing_since = self._loop.time()
        if self.arrival is not None:
            self.arrival.cancel()
        self._abort()

    @property
    def _waits_for_a_head(self) -> bool:
        # aiohttp's loop may not have come to the request that is here: what follows it is its body.
        return not self._messages and (self._waiter is not None or self._request_count == 0)

    @property
    def _lingers(self) -> bool:
        """Whether the rest of a body is only read so that the answer, which is sent, does not get lost."""
        return self._answered is not None and self._answered is self._body and not self._answered.is_eof()

    def _broken(self, error: Exception, *, alone: bool) -> None:
        """End what can no longer be framed; `alone` if no answer is due before."""
        error.__traceback__ = None  # its frames hold it: only the garbage collector would let go of both
        if self._lingers:
            self._end()
        elif self._body is not None and not self._body.is_eof():
            self._body.set_exception(error)  # aiohttp would leave its reader to wait for the rest
        elif alone:
            self._refuse(HTTPStatus.BAD_REQUEST, f"not well-formed HTTP ({type(error).__name__})")

    def _refuse(self, status: HTTPStatus, because: str) -> None:
        """Answer before there is a request, and close."""
        wire = self._wire
        if wire is None or wire.is_closing() or self._force_close:
            return
        log.info("%d to %s: %s", status, _address(wire), because)
        self._refused(status.value)
        wire.write(refusal(status))
        self._end()

    def _end(self) -> None:
        """Close the connection, of which nothing is to be answered any more."""
        self.force_close()
        if self._task_handler is not None:
            self._task_handler.cancel()

    def _abort(self) -> None:
        """Close the connection; the system, too, forgets at once what the client has not read."""
        self.transport = None  # closing it first, asyncio's TLS could not abort it any more
        self.force_close()
        if self._wire is None:
            return
        at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        if (connection := self._wire.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError, ValueError):  # it is closed already: uvloop has -1 for it then
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._wire.abort()


def _address(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else "a client"
