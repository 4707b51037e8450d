"""Azure Event Grid: its handshakes are answered for the configured topics.

Event Grid signs nothing: the other settings of the endpoint authenticate its requests. The code of the handshake goes
into the response, and no URL is requested.
"""

from typing import Final

import msgspec

from gatherer.config import EventGrid
from gatherer.providers.signatures import Headers
from gatherer.server.http.message import Response
from gatherer.server.webhook.relay import NotAuthenticError

_EVENT_TYPE: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"


class _Data(msgspec.Struct):
    validationCode: str  # noqa: N815 - the name on the wire


class _Event(msgspec.Struct):
    topic: str
    eventType: str  # noqa: N815 - the name on the wire
    data: _Data


_decode = msgspec.json.Decoder(list[_Event] | _Event).decode


class EventGridRelay:
    """Azure Event Grid in front of an endpoint."""

    def __init__(self, settings: EventGrid) -> None:
        """Answer handshakes for the topics in `settings`."""
        self._topics = frozenset(topic.casefold() for topic in settings.topics)
        self._origin = settings.origin

    def check(self, headers: Headers, body: bytes) -> Response | None:
        """Check a POST, as :class:`gatherer.server.webhook.relay.Relay` says. Only a handshake is parsed."""
        if (headers.get("aeg-event-type") or "").lower() != "subscriptionvalidation":
            return None
        try:
            events = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            events = []
        events = events if isinstance(events, list) else [events]
        if len(events) != 1 or events[0].eventType != _EVENT_TYPE:
            raise NotAuthenticError("not a handshake of Event Grid")
        if events[0].topic.casefold() not in self._topics:
            raise NotAuthenticError("a handshake of Event Grid for a topic that is not configured")
        content = msgspec.json.encode({"validationResponse": events[0].data.validationCode})
        return Response(body=content, headers=[("Content-Type", "application/json")])

    def preflight(self, headers: Headers) -> Response:
        """Return the response to an OPTIONS request, with which Event Grid asks whether it may send CloudEvents.

        It names no topic, and carries none of the headers that the notifications will carry.

        Raises:
            NotAuthenticError: another sender asks.

        """
        if (headers.get("WebHook-Request-Origin") or "").lower() != self._origin:
            raise NotAuthenticError("a handshake of an origin that is not configured")
        return Response(
            headers=[
                ("Allow", "OPTIONS, POST"),
                ("WebHook-Allowed-Origin", self._origin),
                ("WebHook-Allowed-Rate", "*"),
            ]
        )
