"""What all events of Wati's have in common: which message and whose, when, and what no column says."""

import re
from typing import Any, Final

from msgspec.structs import replace

from gatherer.model import timestamps
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Record, Response
from gatherer.providers.elements import as_json, identifier, kept, reference, text
from gatherer.providers.origin import Origin, other

NAME: Final = "wati"

# Said by columns, or by nothing that lasts. Everything else that an event says goes into the details.
COLUMNS: Final = (
    "eventType whatsappMessageId localMessageId waId channelId channelPhoneNumber timestamp created owner type"
    " statusString failedCode failedDetail"
)
IN_COLUMNS: Final = frozenset(COLUMNS.split())
# The person's business-scoped user id: which key `_v2_bsuid` puts it under is not public. Its form tells it
# from an operator's id; where WhatsApp withholds the phone it may also stand in for it.
USER_ID: Final = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}\Z", re.ASCII)


def response(origin: Origin, event: dict[str, Any], kind: Kind, key: bytes) -> Response:
    """Return what all responses have in common. What no column says goes into the details."""
    occurred_at, source = origin.when(when(event))
    user_id = _user_id(event)
    raw = None if event.get("waId") == user_id else reference(event.get("waId"), "waId")
    rest = {name: part for name, part in event.items() if name not in IN_COLUMNS and part not in (False, "")}
    return replace(
        origin.blank(),
        key=key,
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id,
        client_reference=reference(event.get("localMessageId"), "localMessageId"),
        details=kept(**rest),
    )


def other_event(
    origin: Origin, event: dict[str, Any], family: str, name: str, fact: tuple[str, str]
) -> Record:
    """Return `event` whole. `fact` is an id space, and what makes the event this one and no other there."""
    return other(
        origin,
        event,
        family,
        name or None,
        fact[1],
        id_space=fact[0],
        at=when(event),
        message_id=text(event.get("whatsappMessageId")),
        phone=e164(text(event.get("waId"))),
        user_id=_user_id(event),
    )


def identity(event: dict[str, Any]) -> tuple[str, str]:
    """Return id space and id of the message that `event` is about. It must have one.

    Where WhatsApp has given it none, it is Wati's own: the record's, which v1 and v2 share, before the one
    that only v2 has. Both are unique without an account.
    """
    if message_id := reference(event.get("whatsappMessageId"), "whatsappMessageId"):
        return WHATSAPP, message_id
    return NAME, identifier(event.get("id") or event.get("localMessageId"), "whatsappMessageId")


def when(event: dict[str, Any]) -> object:
    """Return when it happened (`timestamp`, Unix seconds as text), else when Wati stored it (`created`)."""
    claimed = event.get("timestamp")
    return event.get("created") if timestamps.parse(claimed) is None else claimed


def content(event: dict[str, Any]) -> str:
    """Return all that v1 and v2 of one event have in common."""
    return as_json(
        {name: part for name, part in event.items() if name not in ("eventType", "localMessageId")}
    )


def _user_id(event: dict[str, Any]) -> str | None:
    told = (text(event.get(name)) for name in ("waId", "bsuid", "userId", "user_id"))
    return next((one for one in told if one and USER_ID.match(one)), None)
