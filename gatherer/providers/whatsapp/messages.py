"""WhatsApp's `messages[]`, the answers of people, which several providers pass on unchanged.

Facts: Meta's pages `webhooks/reference/messages/*` (2026), and what real traffic showed beyond them.
"""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Record, Response, make_key
from gatherer.providers.base import ElementError
from gatherer.providers.elements import (
    as_json,
    dig,
    identifier,
    integer,
    items,
    mapping,
    object_of,
    person_ids,
    reference,
    remainder,
    text,
    verbatim,
)
from gatherer.providers.origin import Origin, other
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.whatsapp.statuses import provider_id, read_errors

Columns: TypeAlias = dict[str, Any]

# The keys of a message of any type whose values columns hold. Everything else goes into its details.
IN_COLUMNS: Final = frozenset(
    ["id", "from", "from_user_id", "from_bsuid", "timestamp", "type", "group_id", "context", "errors"]
)

# "This message is currently unavailable": a coexistence number got a real message without its content,
# typically the first one after an ad (chatwoot#13464, #14547). The person did answer, so it is a reply.
CONTENT_UNAVAILABLE: Final = 131060
# `unsupported.type` of what is no new message, with any error code
CHANGES_OF_MESSAGES: Final = frozenset({"edit", "keep_in_chat", "pin", "poll_update", "reaction"})


def decode_message(origin: Origin, message: Any) -> Record:
    """Return the record of one element of `messages[]`: an answer, or an other event.

    Raises:
        ElementError: it has no id, or an id of the wrong type.

    """
    if type(message) is not dict:
        raise ElementError("a message must be an object")
    message_id = identifier(message.get("id"), "the id of a message")
    message_type = text(message.get("type")) or ""
    special = SPECIAL.get(message_type)
    if special is not None:
        return special(origin, message, message_id)
    content = read_content(message_type, message)
    if content is None:  # ephemeral, request_welcome (removed in March 2026), hsm, what Meta adds next
        return other(origin, message, "messages", message_type or None, message_id)
    return _answer(origin, message, message_id, Kind.REPLIED, {"reply_type": message_type} | content)


def _answer(
    origin: Origin, message: dict[str, Any], message_id: str, kind: Kind, columns: Columns
) -> Response:
    """Return the answer `kind` with the `columns` that its content filled."""
    get = message.get
    user_id = reference(get("from_user_id") or get("from_bsuid"), "from_user_id")  # Turn: from_bsuid
    raw = reference(get("from"), "from")
    phone = e164(raw)
    if phone is None:  # no user id is a phone, so only another address can be one
        raw, user_id = person_ids(raw, user_id)
    contact = origin.find_sender(raw, user_id)
    context = mapping(get("context"))
    occurred_at, source = origin.when(get("timestamp"))
    details = columns.pop("details", {})
    details |= {
        name: part
        for name, part in message.items()
        if name not in IN_COLUMNS and (name != get("type") or type(part) not in (dict, list))
    }
    if (own_id := provider_id(message, message_id)) is not None:
        columns["provider_message_id"] = own_id
        del details["gs_id"]
    if get("context") is not None:
        in_columns = ("id", "from") if _is_ours(origin, context.get("from")) else ("id",)
        details["context"] = remainder(get("context"), *in_columns)
    details["contact"] = contact.more
    if contact.wa_id not in (None, raw):
        details["wa_id"] = contact.wa_id
    answer = replace(
        origin.blank(),
        key=make_key(WHATSAPP, kind, message_id),
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        message_id=message_id,
        # A template's quick reply came without its context in July 2026 (pywa#216): replied, to nothing.
        about_message_id=reference(context.get("id"), "context.id") or text(context.get("gs_id")),
        phone=phone,
        phone_raw=raw,
        user_id=user_id or contact.user_id,
        profile_name=contact.profile_name,
        group_id=reference(get("group_id"), "group_id"),
        details=object_of(**details),
    )
    if get("errors"):
        columns |= read_errors(get("errors"))
    return replace(answer, **columns)


def _is_ours(origin: Origin, author: object) -> bool:
    """Return whether the `author` of a quoted message is our number, which may be there as its id."""
    phone = e164(text(author))
    return author == origin.phone_number_id or (phone is not None and phone == origin.business_phone)


def _contacts(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return the reply that consists of contact cards. A card may lack even its name.

    `origin: contact_request` in a card means that the person tapped our button and so tells their phone.
    """
    cards = items(message.get("contacts"))
    columns = {"reply_type": "contacts", "reply_payload": as_json(cards) if cards else None}
    return _answer(origin, message, message_id, Kind.REPLIED, columns)


def _reaction(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return the reaction. Meta leaves out `emoji` when the person removes the reaction; relays send '' or null.

    Any other emoji that is not text counts as unreadable, never as removed.
    """
    content = message.get("reaction")
    reaction = mapping(content)
    emoji = reaction.get("emoji")
    if emoji is None and reaction:
        emoji = ""
    about = reaction.get("message_id") or reaction.get("messsage_id")  # some relays misspell it
    columns: Columns = {
        "emoji": emoji if type(emoji) is str else None,
        "about_message_id": reference(about, "reaction.message_id"),
    }
    in_columns = ("message_id", "messsage_id", "emoji")
    columns["details"] = {
        "reaction": content if columns["emoji"] is None else remainder(content, *in_columns)
    }
    return _answer(origin, message, message_id, Kind.REACTED, columns)


def _edit(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return the new content of an earlier message; its own context may be a dummy such as `M0`."""
    edit = mapping(message.get("edit"))
    message_now = mapping(edit.get("message"))
    message_type = text(message_now.get("type")) or ""
    content = read_content(message_type, message_now)
    columns: Columns = {"reply_type": message_type or None, "details": {}} | (content or {})
    columns["details"] |= {
        "edit": remainder(
            {name: part for name, part in edit.items() if part is not message_now}, "original_message_id"
        ),
        "message": {
            name: message_now[name]
            for name in message_now
            if content is None or name not in ("type", message_type)
        }
        or None,
    }
    columns["about_message_id"] = reference(edit.get("original_message_id"), "original_message_id")
    return _answer(origin, message, message_id, Kind.EDITED, columns)


def _revoke(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return that the person deleted an earlier message of theirs."""
    revoke = mapping(message.get("revoke"))
    columns = {
        "about_message_id": reference(revoke.get("original_message_id"), "original_message_id"),
        "details": {"revoke": remainder(revoke, "original_message_id")},
    }
    return _answer(origin, message, message_id, Kind.REVOKED, columns)


def _system(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return that a person has a new number, user id or key: no answer, but contacts can be re-keyed.

    `phone` is the old number and `user_id` the new id; the rest stays in the details.
    """
    system = mapping(message.get("system"))
    raw, user_id = person_ids(
        text(message.get("from")) or text(system.get("customer")),
        text(system.get("user_id")) or text(message.get("from_user_id")),
    )
    name = text(system.get("type")) or "system"
    return other(origin, message, "system", name, message_id, phone=e164(raw), user_id=user_id)


def _unsupported(origin: Origin, message: dict[str, Any], message_id: str) -> Record:
    """Return a reply for a message whose content is unavailable, else an other event.

    Meta warns (2026) that edits may be delivered as `unsupported` with `unsupported.type: edit`.
    """
    code = integer(dig(message, "errors.code"))
    unsupported_type = text(dig(message, "unsupported.type"))
    if code != CONTENT_UNAVAILABLE or unsupported_type in CHANGES_OF_MESSAGES:
        return other(origin, message, "messages", text(message.get("type")), message_id)
    columns = {"reply_type": "unsupported", "details": {"unsupported": message.get("unsupported")}}
    return _answer(origin, message, message_id, Kind.REPLIED, columns)


SPECIAL: Final[dict[str, Callable[[Origin, dict[str, Any], str], Record]]] = {
    "contacts": _contacts,
    "reaction": _reaction,
    "edit": _edit,
    "revoke": _revoke,
    "system": _system,
    "unsupported": _unsupported,
    "unknown": _unsupported,  # on-premises and 2022
}


# The content of a message

# `interactive.type` → our reply_type, what a person read, what a program reads (None: all of it, as JSON)
INTERACTIVE: Final = {
    "button_reply": ("button", "title", "id"),
    "list_reply": ("list", "title", "id"),
    "nfm_reply": ("flow", "body", "response_json"),  # JSON inside a string: kept verbatim
    "call_permission_reply": ("call_permission", "response", None),
}
# `nfm_reply.name` → our reply_type; other names are kept as they are
NATIVE_FLOWS: Final = {"flow": "flow", "galaxy_message": "flow", "address_message": "address"}


def read_content(message_type: str, message: dict[str, Any]) -> Columns | None:
    """Return the columns that the content of a message of the type `message_type` fills; None if the type is not known.

    The content is the object called like the type. It may be missing, or no object.
    """
    read = READERS.get(message_type)
    if read is None:
        return None
    content = message.get(message_type)
    columns = read(mapping(content))
    if content and not any(columns.get(name) for name in ("reply_text", "reply_payload", "media_id")):
        columns["details"] = {message_type: content}  # nothing readable, so nothing is thrown away
    return columns


def _text(content: dict[str, Any]) -> Columns:
    return {"reply_text": text(content.get("body")), "details": {"text": remainder(content, "body")}}


def _media(media: dict[str, Any]) -> Columns:
    return {
        "reply_text": text(media.get("caption")),
        "media_id": reference(media.get("id"), "the id of the media"),
        "media_type": text(media.get("mime_type")),
        # sha256, filename, url (since November 2025), voice, animated
        "details": {"media": remainder(media, "id", "mime_type", "caption")},
    }


def _button(button: dict[str, Any]) -> Columns:
    return {
        "reply_text": text(button.get("text")),
        "reply_payload": text(button.get("payload")),
        "details": {"button": remainder(button, "text", "payload")},
    }


def _interactive(interactive: dict[str, Any]) -> Columns:
    interactive_type = text(interactive.get("type")) or ""
    # The object is missing beside errors[131000] (pywa's fixtures).
    chosen = mapping(interactive.get(interactive_type))
    reply_type, readable, payload = INTERACTIVE.get(
        interactive_type, (interactive_type or "interactive", None, None)
    )
    columns: Columns = {
        "reply_type": reply_type,
        "reply_text": text(chosen.get(readable)) if readable else None,
        "reply_payload": verbatim(chosen.get(payload) if payload else chosen or None),
    }
    rest = {name: part for name, part in interactive.items() if name not in ("type", interactive_type)}
    if payload:
        in_columns = ("name" if interactive_type == "nfm_reply" else "description", readable or "")
        more = remainder({name: part for name, part in chosen.items() if name != payload}, *in_columns)
        rest |= {interactive_type: more} if more else {}
    columns["details"] = {"interactive": rest or None, "description": chosen.get("description")}
    if interactive_type == "nfm_reply":
        name = text(chosen.get("name")) or "flow"
        columns["reply_type"] = NATIVE_FLOWS.get(name, name)
        columns["details"]["flow"] = _parse_flow(chosen.get("response_json"))
    return columns


def _parse_flow(response_json: object) -> Any:
    """Return the answers of a Flow as JSON, or None when the string in `response_json` holds none."""
    if type(response_json) is not str:
        return response_json
    try:
        return load_json(response_json.encode())
    except UnreadableBodyError:
        return None


def _whole(content: dict[str, Any]) -> Columns:
    readable = text(content.get("text")) or text(content.get("name")) or text(content.get("address"))
    return {"reply_text": readable, "reply_payload": as_json(content) if content else None}


READERS: Final[dict[str, Callable[[dict[str, Any]], Columns]]] = {
    "text": _text,
    "button": _button,  # the quick-reply button of a template
    "interactive": _interactive,
    "location": _whole,
    "order": _whole,
    "image": _media,
    "video": _media,
    "document": _media,
    "audio": _media,
    "voice": _media,  # on-premises; the Cloud API says audio with voice: true
    "sticker": _media,
}
