"""An address that accepts connections, with TLS or without, up to a limit.

Connections are accepted here, and not by the event loop's own server, for three reasons: those in their TLS handshake
count as well, a changed certificate is used from the next handshake on, and when the limit is reached, the
connections that have kept the server waiting longest are closed for the new one, instead of refusing it.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from gatherer.model.errors import ConfigurationError
from gatherer.server.http.connection import Certificate, Connection, ConnectionLimits
from gatherer.server.http.connection_pool import ConnectionPool
from gatherer.server.http.message import Handler

log = logging.getLogger(__name__)

BACKLOG: Final = 4096  # a client that finds it full tries again after a second
CHECK_SECONDS: Final = 0.5  # between two checks for late clients
_ACCEPT_BATCH: Final = 24  # connections accepted in one turn of the event loop, at most
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TLS_SHUTDOWN_SECONDS: Final = 3.0  # for the client's close_notify
_CLOSE_SECONDS: Final = 1.0  # for the last answers to leave, at the end


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One address to listen at, and the handler of its requests."""

    handle: Handler
    host: str
    port: int  # 0 lets the system choose
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None  # a function is called at each handshake
    admits: Callable[[Certificate], bool] | None = None  # by the certificate of a client; None: every client
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    refused: Callable[[int], None] = lambda status: (
        None
    )  # called with the status of answers to what is no request
    announce: Callable[[str], None] = lambda url: None  # called with the URL, when all listeners accept


class ListeningServer:
    """A listener at work."""

    def __init__(self, listener: Listener) -> None:
        """Bind the address; no connection is accepted before :meth:`open`.

        Raises:
            ConfigurationError: the address cannot be bound.

        """
        self._listener = listener
        self._pool = ConnectionPool(listener.handle, listener.limits, listener.admits, listener.refused)
        self._tasks: list[asyncio.Task[None]] = []
        try:
            self._sockets = _bind(listener.host, listener.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: what cannot even be the name of a host
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(
                f"cannot listen at {listener.host} port {listener.port}: {reason}"
            ) from None

    @property
    def url(self) -> str:
        """The URL, with the port that the system chose."""
        host = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        scheme = "https" if self._listener.tls else "http"
        return f"{scheme}://{host}:{self._sockets[0].getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many connections there are, including those in their handshake."""
        return len(self._pool.present)

    def open(self) -> None:
        """Accept connections from now on."""
        self._tasks = [asyncio.create_task(self._accept(listening)) for listening in self._sockets]
        self._tasks.append(asyncio.create_task(self._check()))

    async def close(self) -> None:
        """Accept no more connections; each that is open ends with its next answer."""
        self._pool.stopping = True
        handshakes = [connection.handshake for connection in self._pool.present]
        tasks = [*self._tasks, *(task for task in handshakes if task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    @property
    def busy_connections(self) -> int:
        """How many connections have a request that the handler has begun and not answered."""
        return sum(connection.is_busy for connection in self._pool.present)

    async def clear(self) -> None:
        """Close every connection, after the answers that are being sent."""
        await asyncio.sleep(0)  # a request that is readable by now gets to its handler first
        self._pool.process_received()
        for connection in list(self._pool.present):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._pool.present:
                    await asyncio.sleep(0.02)
        for connection in list(self._pool.present):
            connection.evict()
        await asyncio.sleep(0)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._admit(*await loop.sock_accept(listening))
                self._accept_more(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    log.error("no more connections can be opened: %s", error.strerror)
                    self._pool.evict()
                # Else a client that went away again; on Windows that can be reported here.
                await asyncio.sleep(0.05)
            except Exception:
                log.exception("a connection could not be accepted")
                await asyncio.sleep(0.05)
            else:
                await asyncio.sleep(0)  # the open connections get their turn

    def _accept_more(self, listening: socket.socket) -> None:
        """Accept the connections that wait as well: `sock_accept` takes a turn of the event loop for each.

        Raises:
            OSError: one of them could not be accepted.

        """
        # No more than are evicted at once, else new connections would be closed for each other.
        for _ in range(min(_ACCEPT_BATCH, self._pool.eviction_batch) - 1):
            try:
                accepted, address = listening.accept()
            except BlockingIOError:  # that was all of them
                return
            accepted.setblocking(False)
            self._admit(accepted, address)

    def _admit(self, accepted: socket.socket, address: Any) -> None:
        """Start the handshake with the client at `address`."""
        connection = self._pool.add(str(address[0]))
        connection.handshake = asyncio.create_task(self._shake_hands(accepted, connection))
        connection.handshake.add_done_callback(lambda task: _end_handshake(accepted, connection, task))

    async def _shake_hands(self, accepted: socket.socket, connection: Connection) -> None:
        """Make a transport of the socket `accepted`, with TLS if the listener has it, for the protocol `connection`."""
        loop = asyncio.get_running_loop()
        tls, timeouts = self._listener.tls, {}
        if callable(tls):
            tls = tls()
        if tls is not None:
            timeouts["ssl_handshake_timeout"] = self._listener.limits.tls_handshake_timeout_seconds
            timeouts["ssl_shutdown_timeout"] = _TLS_SHUTDOWN_SECONDS
        buffer = self._listener.limits.send_buffer_bytes
        try:
            if buffer is not None:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            await loop.connect_accepted_socket(lambda: connection, accepted, ssl=tls, **timeouts)
        except OSError as error:  # SSLError and TimeoutError are OSErrors
            if tls is not None:
                log.info(
                    "no TLS with %s: %s",
                    connection.peer,
                    getattr(error, "reason", None) or type(error).__name__,
                )

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self._pool.check(loop.time())


def _bind(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for every address of `host`, all with one port.

    Raises:
        OSError: one of them cannot be listened at.

    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(addresses):
            bound_port = sockets[0].getsockname()[1] if sockets and not port else port
            listening = socket.create_server((str(address[0]), bound_port), family=family, backlog=BACKLOG)
            opened.enter_context(listening)
            listening.setblocking(False)
            sockets.append(listening)
        opened.pop_all()
    return sockets


def _end_handshake(accepted: socket.socket, connection: Connection, task: "asyncio.Task[None]") -> None:
    """Note that the handshake has ended, whether it succeeded or not."""
    connection.handshake = None
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a connection could not be accepted", exc_info=error)
    if task.cancelled() or not connection.is_established:
        connection.evict()  # uvloop may still give it a transport, and never report that it is closed
        accepted.close()  # the task may not even have begun
