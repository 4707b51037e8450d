"""An address that takes connections in, with TLS or without, and never more of them than it can bear.

Connections are accepted here, and not by the event loop's own server, for three reasons: those still in their TLS
handshake count as well, a changed certificate counts from the next handshake on, and when all places are
taken, a newcomer gets the place of whoever has kept us waiting longest, instead of being turned away.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gatherer.model.errors import ConfigurationError
from gatherer.server.http.connection import Certificate, Connection, ConnectionLimits
from gatherer.server.http.connection_pool import ConnectionPool
from gatherer.server.http.error_responses import Handler

log = logging.getLogger(__name__)

BACKLOG: Final = 4096  # whoever finds it full tries again after a second
CHECK_SECONDS: Final = 0.5  # between two looks at who is late
_AT_ONCE: Final = 24  # connections accepted before those let in get their turn, at most
_NO_ROOM: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TLS_SHUTDOWN_SECONDS: Final = 3.0  # for the client's goodbye


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One address to listen at, and who answers there."""

    handle: Handler
    host: str
    port: int  # 0 lets the system choose
    tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None = None  # a function is asked at each handshake
    admits: Callable[[Certificate], bool] | None = None  # who may come in, by the certificate they show
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    refused: Callable[[int], None] = lambda status: None  # hears the status of answers to what is no request
    announce: Callable[[str], None] = lambda url: None  # called with the URL, when all listeners accept


class ListeningServer:
    """A listener at work."""

    def __init__(self, listener: Listener) -> None:
        """Bind the address; nobody is let in before :meth:`open`.

        Raises:
            ConfigurationError: it cannot be listened at.

        """
        self._listener = listener
        self._guests = ConnectionPool(listener.handle, listener.limits, listener.admits, listener.refused)
        self._tasks: list[asyncio.Task[None]] = []
        try:
            self._sockets = _bound(listener.host, listener.port)
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
        """How many there are, those in their handshake among them."""
        return len(self._guests.present)

    def open(self) -> None:
        """Let clients in from now on."""
        self._tasks = [asyncio.create_task(self._accept(listening)) for listening in self._sockets]
        self._tasks.append(asyncio.create_task(self._check()))

    async def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        arriving = [one.arrival for one in self._guests.present if one.arrival is not None]
        tasks = [*self._tasks, *arriving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    async def clear(self) -> None:
        """Close every connection, after what is being answered."""
        await asyncio.sleep(0)  # what has arrived gets to its handler first
        self._guests.pre_shutdown()
        await self._guests.shutdown(1)
        for connection in list(self._guests.present):
            connection.make_room()
        await asyncio.sleep(0)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
                self._let_in(connection)
                self._let_in_more(listening)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("no more connections can be opened: %s", error.strerror)
                    self._guests.make_room()
                # Else a client that went away again; on Windows that can be reported here.
                await asyncio.sleep(0.05)
            except Exception:
                log.exception("a connection could not be accepted")  # whatever it is, the next one is
                await asyncio.sleep(0.05)
            else:
                await asyncio.sleep(0)  # others get their turn

    def _let_in_more(self, listening: socket.socket) -> None:
        """Let those in who have come as well: asking the event loop for each of them takes a turn of it.

        Raises:
            OSError: one of them could not be accepted.

        """
        for _ in range(min(_AT_ONCE, self._guests.room) - 1):  # else newcomers would take each other's places
            try:
                connection, _ = listening.accept()
            except BlockingIOError:  # that was all of them
                return
            connection.setblocking(False)
            self._let_in(connection)

    def _let_in(self, connection: socket.socket) -> None:
        """Start to shake hands."""
        guest = self._guests()
        guest.arrival = asyncio.create_task(self._welcome(connection, guest))
        guest.arrival.add_done_callback(lambda task: _arrived(connection, guest, task))

    async def _welcome(self, connection: socket.socket, guest: Connection) -> None:
        """Shake hands and hand the connection over to `guest`, its protocol."""
        loop = asyncio.get_running_loop()
        tls, timeouts = self._listener.tls, {}
        if callable(tls):
            tls = tls()
        if tls is not None:
            timeouts["ssl_handshake_timeout"] = self._listener.limits.tls_handshake_timeout_seconds
            timeouts["ssl_shutdown_timeout"] = _TLS_SHUTDOWN_SECONDS
        peer = None if tls is None else _peer(connection)
        buffer = self._listener.limits.send_buffer_bytes
        try:
            if buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            await loop.connect_accepted_socket(lambda: guest, connection, ssl=tls, **timeouts)
        except OSError as error:  # SSLError and TimeoutError are some
            if tls is not None:
                log.info("no TLS with %s: %s", peer, getattr(error, "reason", None) or type(error).__name__)

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self._guests.check(loop.time())


def _bound(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for every address of `host`, all with one port.

    Raises:
        OSError: one of them cannot be listened at.

    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets and not port else port
            listening = socket.create_server((str(address[0]), chosen), family=family, backlog=BACKLOG)
            opened.enter_context(listening)
            listening.setblocking(False)
            sockets.append(listening)
        opened.pop_all()
    return sockets


def _arrived(connection: socket.socket, guest: Connection, task: "asyncio.Task[None]") -> None:
    """Note that the handshake has ended, one way or another."""
    guest.arrival = None
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a connection could not be let in", exc_info=error)
    if task.cancelled() or not guest.is_here:
        guest.make_room()  # uvloop may still hand it a transport, and never tell it that it is closed
        connection.close()  # the task may not even have begun


def _peer(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return "a client that is gone"
