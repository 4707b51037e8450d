"""The contract of a relay: a service that passes on requests to subscribers, after a handshake of its own."""

import asyncio
from typing import Any, Protocol

from gatherer.providers.signatures import Headers
from gatherer.server.http.message import Response


class NotAuthenticError(Exception):
    """A request does not come from the relay, or not from a configured topic. The text says why."""


class UnavailableError(Exception):
    """At present nothing proves whether a request is authentic. The text says why."""


class Relay(Protocol):
    """What an endpoint has to know of the relay in front of it."""

    def check(self, headers: Headers, body: bytes) -> Response | asyncio.Future[Any] | None:
        """Check a POST whose URL and headers are authenticated.

        Returns:
            None if it is a notification to store; for a handshake the response to it; or a future, if something
            has to be fetched first: call this again when the future is done.

        Raises:
            NotAuthenticError: the request must be refused.
            UnavailableError: the relay should send it again later.

        """
