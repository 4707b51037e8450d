"""WhatsApp's other arrays: preferences, clicks, calls, groups, echoes, history, errors.

Facts: Meta's pages of these fields (2026); which of them say something about a person and a message.
"""

from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from gatherer.model import timestamps
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Reason, Record, make_key
from gatherer.providers.base import ElementError
from gatherer.providers.elements import (
    as_json,
    dig,
    identifier,
    integer,
    mapping,
    object_of,
    person_ids,
    reference,
    text,
)
from gatherer.providers.origin import DecodeElement, Origin, other

# `user_preferences[].value` → what the person wants. `signup` is In-App Signup (2026).
PREFERENCES: Final = {"stop": Kind.OPTED_OUT, "resume": Kind.OPTED_IN, "signup": Kind.OPTED_IN}

# `user_actions[].action_type` → what the person did. A `landing_page_view` follows (or precedes) its click and
# would count it twice: it stays an other event.
ACTIONS: Final = {"marketing_messages_link_click": Kind.CLICKED}


def decode_preference(origin: Origin, preference: Any) -> Record:
    """Return the opt-out or opt-in in one element of `user_preferences[]`.

    It has no id: person, category, value and time are its identity.

    Raises:
        ElementError: it is not an object, or has neither phone nor user id.

    """
    if type(preference) is not dict:
        raise ElementError("a preference must be an object")
    get = preference.get
    word = text(get("value")) or ""
    kind = PREFERENCES.get(word.lower())
    raw, user_id = person_ids(reference(get("wa_id"), "wa_id"), reference(get("user_id"), "user_id"))
    if kind is None:
        return other(origin, preference, "user_preferences", word or None, phone=e164(raw), user_id=user_id)
    if raw is None and user_id is None:
        raise ElementError("a preference without the person's phone or user id", Reason.MISSING_ID)
    contact = origin.find_contact(raw, user_id)
    category = text(get("category")) or ""
    occurred_at, source = origin.when(get("timestamp"))
    identity = f"{raw or user_id}\x1f{category}\x1f{word.lower()}\x1f{_claimed(get('timestamp'))}"
    rest = {name: preference[name] for name in preference if name not in ("wa_id", "user_id", "timestamp")}
    return replace(
        origin.blank(),
        key=make_key(WHATSAPP, kind, identity),
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id or contact.user_id,
        profile_name=contact.profile_name,
        details=object_of(**rest | {"contact": contact.more}),
    )


def _claimed(claimed: object) -> str:
    """Return the time that the element claims, for its identity: seconds or milliseconds alike, trusted or not."""
    moment = timestamps.parse(claimed)
    return "" if moment is None else timestamps.iso(moment)


def decode_action(origin: Origin, action: Any) -> Record:
    """Return the click in one element of `user_actions[]`, which names neither person nor message.

    Its identity is its time and the ids in its data.
    """
    if type(action) is not dict:
        raise ElementError("a user action must be an object")
    word = text(action.get("action_type")) or ""
    kind = ACTIONS.get(word)
    if kind is None:
        return other(origin, action, "user_actions", word or None)
    data = mapping(action.get(f"{word}_data"))
    occurred_at, source = origin.when(action.get("timestamp"))
    ids = (_claimed(action.get("timestamp")), text(data.get("click_id")), text(data.get("tracking_token")))
    return replace(
        origin.blank(),
        key=make_key(WHATSAPP, kind, "\x1f".join(part or "" for part in (word, *ids))),
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        details=object_of(**{name: action[name] for name in action if name != "timestamp"}),
    )


def decode_error(origin: Origin, error: Any) -> Record:
    """Return an error of the system, app or account. It belongs to no message, so it never is a failure.

    Its content and the entry's time are its identity: the same error at another time is another fact.
    """
    if type(error) is not dict:
        raise ElementError("an error must be an object")
    identity = f"{origin.notice_time()}\x1f{as_json(error)}"
    code = integer(error.get("code"))
    name = text(error.get("code")) if code is None else str(code)
    return other(origin, error, "errors", name or None, identity)


def decode_call(origin: Origin, call: Any) -> Record:
    """Return a step of a call. The person is who is not us: whom we called, or who called."""
    if type(call) is not dict:
        raise ElementError("a call must be an object")
    person = "to" if call.get("direction") == "BUSINESS_INITIATED" else "from"
    raw, user_id = person_ids(text(call.get(person)), text(call.get(f"{person}_user_id")))
    return other(origin, call, "calls", text(call.get("event")), phone=e164(raw), user_id=user_id)


class Layout(NamedTuple):
    """Where an element that stays an other event has its name, person and time, as paths of keys."""

    family: str
    name: str = "type"
    phone: str = "from"
    user_id: str = "from_user_id"
    time: str = "timestamp"
    has_id: bool = False  # it has an id of its own, which it must not lack; else its content identifies it


def decoder_of(layout: Layout) -> DecodeElement:
    """Return the decoder of elements that are laid out like this."""

    def decode(origin: Origin, element: Any) -> Record:
        if type(element) is not dict:
            raise ElementError(f"an element of {layout.family} must be an object")
        raw, user_id = person_ids(text(dig(element, layout.phone)), text(dig(element, layout.user_id)))
        return other(
            origin,
            element,
            layout.family,
            text(dig(element, layout.name)),
            identifier(element.get("id"), "the id of a message") if layout.has_id else None,
            at=dig(element, layout.time),
            phone=e164(raw),
            user_id=user_id,
        )

    return decode


# Our own messages, written in the app (Coexistence): no answer and no receipt. `from` is our number.
decode_echo: Final = decoder_of(Layout("message_echoes", phone="to", user_id="to_user_id", has_id=True))

# Old messages whose media come late. They happened, but they are no new responses.
decode_old_message: Final = decoder_of(Layout("history", has_id=True))

# Where Meta's other arrays keep what an other event wants to know
LAYOUTS: Final = {
    "history": Layout("history"),  # a chunk of up to 180 days of old messages: never new responses
    "groups": Layout("groups"),
    "events": Layout("tracking_events", name="event_name"),
    "automatic_events": Layout("automatic_events", name="event_name"),
    "user_id_update": Layout("user_id_update", phone="wa_id", user_id="user_id.current"),
    "state_sync": Layout(
        "state_sync",
        name="action",
        phone="contact.phone_number",
        user_id="contact.user_id",
        time="metadata.timestamp",
    ),
}
