"""The connections of one listener: how many may be open, and how much memory their unfinished bodies may take."""

import asyncio
import heapq
import logging
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

from gatherer.server.http.connection import READ_BYTES, Certificate, Connection, ConnectionLimits
from gatherer.server.http.message import Handler

log = logging.getLogger(__name__)

_EVICTED_SHARE: Final = 0.1  # of `max_connections`, closed at once when all are taken


class ConnectionPool:
    """The open connections of one listener, and those in their handshake."""

    def __init__(
        self,
        handle: Handler,
        limits: ConnectionLimits,
        admits: Callable[[Certificate], bool] | None,
        refused: Callable[[int], None],
    ) -> None:
        """Keep within `limits`.

        Args:
            handle: answers requests.
            limits: of all connections.
            admits: decides by the certificate of a client whether its connection is kept; None keeps all.
            refused: called with the status of each answer to what never became a request.

        """
        self.handle, self.limits, self.admits, self.refused = handle, limits, admits, refused
        self.present: set[Connection] = set()
        self.eviction_batch = max(1, int(limits.max_connections * _EVICTED_SHARE))
        self.stopping = False  # each connection ends with its next answer
        self.arriving: dict[Connection, int] = {}  # bytes of each unfinished body, the oldest body first
        self._arriving_bytes = 0
        self._max_arriving_bytes = max(limits.max_arriving_bytes, limits.max_body_bytes)
        self.read_buffer = memoryview(
            bytearray(READ_BYTES)
        )  # of all connections: each read is copied at once
        self._received: list[tuple[Connection, bytes]] = []
        self.date = b""
        self._set_date()

    def add(self, peer: str) -> Connection:
        """Return the protocol of a new connection from the address `peer`. If there are as many as may be, some are closed for it."""
        if len(self.present) >= self.limits.max_connections:
            log.warning("all connections are taken: closed the %d that waited longest", self.evict())
        connection = Connection(self, peer)
        self.present.add(connection)
        return connection

    def received(self, connection: Connection, data: bytes) -> None:
        """Keep `data`, which `connection` has read, until the event loop has read from all connections in this turn.

        To process each read at once would cost a fifth of the speed: after each, uvloop releases Python's lock, and
        the thread that commits takes it while requests wait. A full read is processed at once, as more follows it:
        the connection must be able to stop reading.
        """
        if not self._received:
            asyncio.get_running_loop().call_soon(self.process_received)
        self._received.append((connection, data))
        if len(data) == READ_BYTES:
            self.process_received()

    def process_received(self) -> None:
        """Let each connection process what it has read, in the order received."""
        received, self._received = self._received, []
        for connection, data in received:
            try:
                connection.receive(data)
            except Exception:
                log.exception("a connection could not be processed")
                connection.evict()

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.present.discard(connection)
        self.release(connection)

    def evict(self) -> int:
        """Close the connections that have kept the server waiting longest; return how many."""
        waiting = [
            (since, id(connection), connection)
            for connection in self.present
            if (since := connection.waiting_since) is not None
        ]
        evicted = heapq.nsmallest(self.eviction_batch, waiting)
        for _, _, connection in evicted:
            connection.evict()
        return len(evicted)

    def hold(self, connection: Connection, size: int) -> None:
        """Count `size` bytes as the unfinished body of `connection`.

        Clients have not authenticated before their body is there, so every body is read. When they take too much memory
        together, the oldest is given up: a provider sends a body at once.
        """
        self._arriving_bytes += size - self.arriving.get(connection, 0)
        self.arriving[connection] = size
        while self._arriving_bytes > self._max_arriving_bytes and len(self.arriving) > 1:
            next(iter(self.arriving)).shed()

    def release(self, connection: Connection) -> None:
        """Count the body of `connection`, if there is one, no longer."""
        self._arriving_bytes -= self.arriving.pop(connection, 0)

    def check(self, now: float) -> None:
        """Close the connections that have kept the server waiting for too long. `now` is the event loop's time."""
        self._set_date()
        for connection in list(self.present):
            try:
                connection.check(now)
            except Exception:
                log.exception("a connection could not be checked")

    def _set_date(self) -> None:
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode()
