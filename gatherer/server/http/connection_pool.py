"""The connections of one listener: how many may be there, and who makes room when all places are taken."""

import heapq
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web

from gatherer.server.http.connection import (
    LINGER_SECONDS,
    LONGEST_LINE,
    MOST_HEADERS,
    Certificate,
    Connection,
    ConnectionLimits,
)
from gatherer.server.http.error_responses import Handler, of_a_known_version

log = logging.getLogger(__name__)

_NEVER_SECONDS: Final = 86_400 * 365  # aiohttp's own timer is not needed beside ours
_ROOM: Final = 0.1  # the part of all places that is cleared when they are taken


class ConnectionPool(web.Server):
    """The connections of one listener that are open, those that still shake hands among them."""

    def __init__(
        self,
        handle: Handler,
        limits: ConnectionLimits,
        admits: Callable[[Certificate], bool] | None,
        refused: Callable[[int], None],
    ) -> None:
        """Hand the requests to `handle`; where `admits` is given, it decides by the client's certificate.

        `refused` hears the status of each answer to what never became a request.
        """
        longest = min(LONGEST_LINE, limits.max_header_bytes)
        super().__init__(
            of_a_known_version(handle),
            access_log=None,
            keepalive_timeout=_NEVER_SECONDS,
            lingering_time=LINGER_SECONDS,
            tcp_keepalive=False,  # whoever is gone without a word is closed by `Connection.check`
            auto_decompress=False,
            max_line_size=longest,
            max_field_size=longest,
            max_headers=MOST_HEADERS,
        )
        self._limits = limits
        self._admits = admits
        self._refused = refused
        self.present: set[Connection] = set()
        self.room = max(1, int(limits.max_connections * _ROOM))  # places that are cleared at once

    def __call__(self) -> Connection:
        """Return the protocol of a new connection. Somebody else makes room for it if all places are taken."""
        if len(self.present) >= self._limits.max_connections:
            log.warning("all connections are taken: closed the %d that waited longest", self.make_room())
        guest = Connection(
            self, self.present, self._limits, self._admits, self._refused, loop=self._loop, **self._kwargs
        )
        self.present.add(guest)
        return guest

    def make_room(self) -> int:
        """Close the connections that have kept us waiting longest; return how many."""
        waiting = [(since, id(one), one) for one in self.present if (since := one.waiting_since) is not None]
        leaving = heapq.nsmallest(self.room, waiting)
        for _, _, one in leaving:
            one.make_room()
        return len(leaving)

    def check(self, now: float) -> None:
        """Close the connections that have kept us waiting for too long. `now` is the event loop's time."""
        for connection in list(self.present):
            try:
                connection.check(now)
            except Exception:
                log.exception("a connection could not be looked at")
