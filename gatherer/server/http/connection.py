"""One HTTP connection: from the bytes of the client to the handler, and from its response to the bytes of the answer.

llhttp, the parser of Node.js, frames the requests (through httptools). This module adds what a parser does not do:
limits of size and time, answers in order, and an end for every connection. A body is in memory before the handler
gets it. A request costs no task: the handler returns the response, or a future of it.
"""

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from gatherer.server.http.message import Exchange, Headers, PendingResponse, Request, Response, error_response

if TYPE_CHECKING:
    from gatherer.server.http.connection_pool import ConnectionPool

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 3  # to read on after a refusal: closing at once could cost the client the answer
STALLED_SECONDS: Final = 5  # for an answer that the client does not read, and for a close it does not follow
READ_BYTES: Final = (
    16_384  # at a time: bounds the answers to one read, and the part of a head that is not counted
)
MAX_PIPELINED: Final = 64  # requests that wait for their answer; no more is read before one is sent
_NO_REQUEST: Final = Request("", "", Headers(), keep_alive=False)  # in place of one that was not well-formed

Certificate = Mapping[str, Any]  # of a client, as ssl.SSLSocket.getpeercert gives it


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """How much the clients of one listener may take of the server, and for how long."""

    header_timeout_seconds: float = 10  # for request line and headers, from their first byte on
    keepalive_timeout_seconds: float = 15  # from an answer to the first byte of the next request
    body_timeout_seconds: float = 10  # for a body, from the end of the headers on
    max_header_bytes: int = 16_384  # request line and headers together
    max_body_bytes: int = 65_536
    max_arriving_bytes: int = 16_777_216  # of all unfinished bodies together
    max_connections: int = 2000  # beyond that, those that have kept the server waiting longest are closed
    tls_handshake_timeout_seconds: float = 10
    send_buffer_bytes: int | None = None  # of answers that are not read; None leaves it to the system


class Connection(asyncio.BufferedProtocol):
    """A connection that does not wait for ever."""

    def __init__(self, pool: "ConnectionPool", peer: str) -> None:
        """Belong to `pool`, which has the handler and the limits; `peer` is the address of the client."""
        self.handshake: asyncio.Task[None] | None = None  # until there is a transport
        self._pool, self._limits, self._loop = pool, pool.limits, asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: HttpRequestParser | None = None
        self.peer, self._scheme = peer, "http"
        self._since = self._loop.time()  # when the server began to wait for the client
        # What is being received:
        self._unframed = 1  # bytes since the last part of a request: a new connection has the time of a head
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._receiving: tuple[Request, Exchange] | None = None  # the request whose body is awaited
        self._body: bytes | bytearray = b""
        self._wants_continue = False
        self._discards = False  # the rest of a request that has its answer already
        self._final = False  # no more requests are taken
        self._eof = False  # the client sends no more
        self._reads = True  # unless too many answers wait
        # What is being answered:
        self._pending: deque[tuple[Request, Response | PendingResponse]] = deque()
        self._stream: asyncio.Task[None] | None = None
        self._paused: asyncio.Future[None] | None = None  # done when the client has read enough answers

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, unless it is evicted by now or the client shows the wrong certificate."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self._parser = HttpRequestParser(self)
        if not self._final and self._pool.admits is not None:
            certificate = transport.get_extra_info("peercert")
            if not certificate or not self._pool.admits(certificate):
                log.warning("%s showed a certificate outside client_names", self.peer)
                self._final = True
        if self._final:
            self._abort()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002
        """Forget the connection. The handler completes its work for it; a stream is cancelled."""
        self._pool.process_received()
        self._pool.remove(self)
        self._transport = self._parser = self._receiving = None
        self._pending.clear()
        if self._stream is not None:
            self._stream.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Return where the event loop puts what it reads: it calls `buffer_updated` before it reads anything else."""
        return self._pool.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Give the pool what was read: it calls `receive` before this turn of the event loop ends."""
        self._pool.received(self, bytes(self._pool.read_buffer[:nbytes]))

    def receive(self, data: bytes) -> None:
        """Parse `data`, hand over the requests that are whole, and send the responses that are there."""
        if self._final:
            return
        self._parse(data)
        self._send_answers()
        self._regulate()

    def eof_received(self) -> bool:
        """Return whether to keep the connection: the client sends no more but waits for a response. Never with TLS."""
        self._pool.process_received()
        self._eof = True
        return self._scheme == "http" and bool(self._pending or self._stream)

    def pause_writing(self) -> None:
        """Note that the client does not read its answers."""
        self._since, self._paused = self._loop.time(), self._loop.create_future()
        self._regulate()

    def resume_writing(self) -> None:
        """Note that it does."""
        paused, self._paused = self._paused, None
        self._since = self._loop.time()
        if paused is not None and not paused.done():  # a stream that waited may be cancelled
            paused.set_result(None)
        self._regulate()

    def _regulate(self) -> None:
        """Read only while responses can be queued and the client reads them."""
        full = self._paused is not None or len(self._pending) >= MAX_PIPELINED
        transport = self._transport
        if full is self._reads and transport is not None and not transport.is_closing():
            self._reads = not full
            (transport.pause_reading if full else transport.resume_reading)()

    # --- the parser calls these

    def on_url(self, part: bytes) -> None:
        """Take a part of the target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are dropped."""
        if self._receiving is None and not self._discards:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Hand the head to the handler."""
        parser = self._parser
        if self._final or parser is None:
            return
        method, version = parser.get_method().decode(), parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._fail(HTTPStatus.BAD_REQUEST, "not HTTP/1.0 or 1.1")
            return
        if parser.should_upgrade() and method != "CONNECT":
            return  # see _parse_without_upgrade
        target, headers = self._target.decode("utf-8", "surrogateescape"), Headers(self._fields)
        self._unframed, self._target, self._fields = 0, b"", []
        self._since = self._loop.time()
        keep_alive = parser.should_keep_alive() and method != "CONNECT"
        request = Request(method, target, headers, self.peer, self._scheme, version, keep_alive=keep_alive)
        reply = self._pool.handle(request)
        if isinstance(reply, Response | asyncio.Future):
            self._discards = True
            self._answer(request, reply)
        else:
            self._receiving = request, reply

    def on_body(self, part: bytes) -> None:
        """Take a part of a body."""
        self._unframed = 0
        if self._receiving is None:
            return
        if not self._body:
            self._body = part  # nearly always all of it
        else:
            self._body = self._body if isinstance(self._body, bytearray) else bytearray(self._body)
            self._body += part
        if len(self._body) > self._limits.max_body_bytes:
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is larger than max_body_bytes")

    def on_message_complete(self) -> None:
        """Hand the body to the handler that waits for it."""
        if self._parser is None or self._parser.should_upgrade():
            return
        self._discards, self._unframed = False, 0
        if self._receiving is not None:
            (request, exchange), body = self._receiving, bytes(self._body)
            self._drop_body()
            self._answer(request, exchange.respond(body))

    # --- from the bytes to the handler

    def _parse(self, data: bytes) -> None:
        """Parse `data`, and refuse what is malformed, or begun and too large."""
        parser = self._parser
        if parser is None:
            return
        if self._receiving is None and not self._discards and not self._unframed:
            self._since = self._loop.time()  # a head begins
        self._unframed += len(data)
        try:
            parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            if not self._final:
                self._parse_without_upgrade(parser, data[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            log.exception("a request could not be handled", exc_info=error.__context__)
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "a defect in gatherer")
        except HttpParserError as error:
            self._fail(HTTPStatus.BAD_REQUEST, f"not well-formed HTTP ({type(error).__name__})")
        if self._unframed > self._limits.max_header_bytes:
            in_head = self._receiving is None and not self._discards
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if in_head else HTTPStatus.BAD_REQUEST
            self._fail(status, "headers, chunk sizes or trailers without end")
        elif self._receiving is not None:
            self._await_body(*self._receiving)

    def _parse_without_upgrade(self, parser: HttpRequestParser, rest: bytes) -> None:
        """Parse the head that `parser` has read once more, without its offer of another protocol.

        The parser would skip the body. `rest` is what came after the head.
        """
        method, version = parser.get_method(), parser.get_http_version().encode()
        lines = [b"%b: %b\r\n" % field for field in self._fields if field[0].lower() != b"upgrade"]
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._target, version, b"".join(lines))
        self._unframed, self._target, self._fields = 0, b"", []
        self._parser = HttpRequestParser(self)
        self._parse(head + rest)

    def _await_body(self, request: Request, exchange: Exchange) -> None:
        """Wait for the rest of a body, unless the handler refuses it."""
        if self not in self._pool.arriving:
            try:
                refusal = exchange.refusal()
            except Exception:
                log.exception("a request could not be handled")
                refusal = error_response(HTTPStatus.SERVICE_UNAVAILABLE, close=True)
            if refusal is not None:
                self._drop_body()
                self._discards = True
                self._answer(request, refusal)
                return
            expects = request.headers.get("Expect") or ""
            self._wants_continue = expects.lower() == "100-continue" and request.version == "1.1"
        self._pool.hold(self, len(self._body))

    def _drop_body(self) -> None:
        self._receiving, self._body, self._wants_continue = None, b"", False
        self._pool.release(self)

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        """End the connection on which no request can be received any more, with an answer if one is due."""
        if self._receiving is not None:
            request, exchange = self._receiving
            self._drop_body()
            self._answer(request, exchange.reject(status, reason))
        elif not (self._discards or self._final):
            log.info("%d to %s: %s", status, self.peer, reason)
            self._pool.refused(status.value)
            self._answer(_NO_REQUEST, error_response(status, close=True))
        self._discards = self._final = True

    # --- from the handler to the bytes

    def _answer(self, request: Request, reply: Response | PendingResponse) -> None:
        """Send `reply` when its turn has come."""
        self._pending.append((request, reply))
        if not isinstance(reply, Response):
            reply.add_done_callback(self._answered)
        elif reply.close:
            self._final = True
        if not request.keep_alive:
            self._final = True

    def _answered(self, _: asyncio.Future[Any]) -> None:
        self._send_answers()
        self._regulate()

    def _send_answers(self) -> None:
        """Send the answers whose turn it is, in one go; then end the connection, or wait for the client."""
        transport, pending = self._transport, self._pending
        if transport is None or transport.is_closing() or self._stream is not None:
            return
        parts: list[bytes] = []
        last = False
        while pending and not last and self._stream is None:
            request, reply = pending[0]
            if not isinstance(reply, Response):
                if not reply.done():
                    break
                try:
                    reply = reply.result()
                except (Exception, asyncio.CancelledError):  # a cancelled reply needs an answer, too
                    log.exception("a request could not be handled")
                    reply = error_response(HTTPStatus.SERVICE_UNAVAILABLE, close=True)
            pending.popleft()
            body, chunked = reply.body, request.version == "1.1"
            ends = (self._final or self._pool.stopping) and not pending
            last = ends or reply.close or not request.keep_alive
            if not isinstance(body, bytes):
                last = last or not chunked
                self._stream = self._loop.create_task(self._send_stream(body, chunked=chunked, last=last))
            parts.append(reply.encode(request, self._pool.date, last=last))
        if parts:
            transport.write(b"".join(parts))
            self._since = self._loop.time()
        if self._stream is None and (last or not pending):
            self._wait_or_finish(transport, last=last or self._final)

    def _wait_or_finish(self, transport: asyncio.Transport, *, last: bool) -> None:
        """Wait for the client after its answers; after the `last` one close, once the client has got it."""
        if not last and not self._eof:
            if self._wants_continue:
                self._wants_continue = False
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        self._final = True
        self._pending.clear()
        self._drop_body()
        if not self._discards or self._eof:
            self.close()
            return
        self._since = self._loop.time()
        self._regulate()
        if self._scheme == "http":  # TLS cannot be closed in one direction
            try:
                transport.write_eof()
            except OSError:  # the client is gone
                self.close()

    async def _send_stream(self, body: AsyncGenerator[bytes, None], *, chunked: bool, last: bool) -> None:
        """Send what `body` yields, as the client reads it."""
        transport = self._transport
        if transport is None:
            return
        try:
            async with contextlib.aclosing(body):
                async for part in body:
                    if transport.is_closing():
                        return
                    transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                    if self._paused is not None:
                        await self._paused
        except Exception as error:
            if not isinstance(error, ConnectionError):  # the handler has logged why
                log.exception("a response broke off")
            self.close()
            return
        if chunked:
            transport.write(b"0\r\n\r\n")
        self._stream, self._since = None, self._loop.time()
        if last:
            self._wait_or_finish(transport, last=True)
        else:
            self._send_answers()
            self._regulate()

    # --- the end

    def close(self) -> None:
        """Close the connection after what has been written."""
        self._final, self._since = True, self._loop.time()
        if self._transport is not None:
            self._transport.close()

    def evict(self) -> None:
        """Close the connection at once."""
        self._pool.remove(self)
        if self.handshake is not None:
            self.handshake.cancel()
        self._abort()

    def _abort(self) -> None:
        """Close the connection; the system, too, forgets at once what the client has not read."""
        self._final, self._since = True, self._loop.time()
        if self._transport is None:
            return
        at_once = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        if (connection := self._transport.get_extra_info("socket")) is not None:
            with contextlib.suppress(OSError, ValueError):  # it is closed already: uvloop has -1 for it then
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._transport.abort()

    # --- the pool asks these

    @property
    def is_established(self) -> bool:
        """Whether the handshake has succeeded, and the connection has not ended."""
        return self._transport is not None

    @property
    def is_busy(self) -> bool:
        """Whether the handler has a request that has no answer yet; streams are not waited for."""
        return bool(self._pending) or self._receiving is not None

    @property
    def waiting_since(self) -> float | None:
        """Since when the client keeps the server waiting, in the event loop's time; None while the client waits."""
        transport = self._transport
        owed = self._pending or self._stream is not None
        if owed and self._paused is None and transport is not None and not transport.is_closing():
            return None
        return self._since

    def check(self, now: float) -> None:
        """Close the connection if it has kept the server waiting for too long. `now` is the event loop's time."""
        transport, waited, limits = self._transport, now - self._since, self._limits
        if transport is None:
            return
        if transport.is_closing() or self._paused is not None:
            if waited > STALLED_SECONDS:
                self._abort()
            return
        if self._pending or self._stream is not None:
            return
        if self._receiving is not None:
            if waited > limits.body_timeout_seconds:
                self._fail(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
                self._send_answers()
            return
        limit = limits.header_timeout_seconds if self._unframed else limits.keepalive_timeout_seconds
        if waited > (LINGER_SECONDS if self._discards or self._final else limit):
            self.close()

    def shed(self) -> None:
        """Give up an unfinished body."""
        self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "max_arriving_bytes reached, and this body is the slowest")
        self._send_answers()
