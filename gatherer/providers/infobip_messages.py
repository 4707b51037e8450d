"""Infobip's incoming messages: who answers what, and how."""

import re
from typing import Final

from gatherer.model.phones import e164
from gatherer.model.records import Kind, Record
from gatherer.providers import infobip_results
from gatherer.providers.elements import as_json, dig, identifier, mapping, reference, text, verbatim
from gatherer.providers.infobip_results import IN_COLUMNS, Object
from gatherer.providers.origin import Origin, other
from gatherer.providers.people import person_columns

# `message.type` → our reply_type, where what a person reads stands, and what a program reads (WHOLE: all of it)
WHOLE: Final = "*"
TYPES: Final[dict[str, tuple[str, tuple[str, ...], str | None]]] = {
    "TEXT": ("text", ("text",), None),
    "BUTTON": ("button", ("text",), "payload"),  # the quick-reply button of a template
    "INTERACTIVE_BUTTON_REPLY": ("button", ("title",), "id"),
    "INTERACTIVE_LIST_REPLY": ("list", ("title",), "id"),
    "INTERACTIVE_FLOW_REPLY": ("flow", ("text",), "response"),  # an object; elsewhere it is JSON in a string
    "INTERACTIVE_CALL_PERMISSION_REPLY": ("call_permission", ("callPermissionReply.response",), WHOLE),
    "LOCATION": ("location", ("name", "address"), WHOLE),
    "CONTACT": ("contacts", (), "contacts"),
    "ORDER": ("order", ("text",), WHOLE),
    "INFECTED_CONTENT": ("infected_content", (), None),  # the person sent something; Infobip keeps it back
}
MEDIA: Final = ("IMAGE", "VIDEO", "AUDIO", "VOICE", "DOCUMENT", "STICKER")
TYPES.update({name: (name.lower(), ("caption",), None) for name in MEDIA})

# What is said by columns. Everything else goes into the details.
OF_AN_ANSWER: Final = IN_COLUMNS | {"message", "receivedAt", "integrationType", "channel", "contact"}
OF_A_MESSAGE: Final = frozenset({"type", "context"})

_LAST_PART: Final = re.compile(r"([^/?#]+)/?(?:[?#].*)?\Z")  # of a media URL: …/senders/{number}/media/{id}


def decode_answer(origin: Origin, result: Object) -> Record:
    """Return what a person sent: a reply, or a reaction. `from` is the person."""
    message_id = identifier(result.get("messageId"), "messageId")
    message, contact = mapping(result.get("message")), mapping(result.get("contact"))
    context = mapping(message.get("context"))
    what = (text(message.get("type")) or "").upper()
    # Since 2026 a contact also has userId, phoneNumber and username.
    columns = person_columns(result.get("from") or contact.get("phoneNumber"), text(contact.get("userId")))
    columns["message_id"] = message_id
    if what == "REACTION":
        kind, emoji = Kind.REACTED, message.get("emoji")
        readable = emoji if type(emoji) is str and emoji else None  # unreadable is not taken back
        columns["emoji"] = "" if message.get("action") == "REMOVED" else readable
        said = {"action", "emoji"} if columns["emoji"] else {"action"}
    elif what in TYPES:
        kind = Kind.REPLIED
        content, said = _read_content(message, *TYPES[what])
        columns |= content
    else:
        aside = infobip_results.aside(columns, result.get("receivedAt"))
        return other(origin, result, "messages", what or None, message_id, **aside)
    paired = reference(result.get("pairedMessageId"), "pairedMessageId")
    columns["about_message_id"] = reference(context.get("id"), "context.id") or paired
    columns["business_phone"] = e164(text(result.get("to")))
    columns["profile_name"] = text(contact.get("name"))
    rest = {part: result[part] for part in result if part not in OF_AN_ANSWER}
    rest["message"] = {part: message[part] for part in message if part not in said | OF_A_MESSAGE} or None
    rest["contact"] = {part: contact[part] for part in contact if part not in ("name", "userId")} or None
    rest["context"] = {part: context[part] for part in context if part != "id"} or None
    return infobip_results.response(origin, kind, result, result.get("receivedAt"), columns, rest)


def _read_content(
    message: Object, reply_type: str, readable: tuple[str, ...], payload: str | None
) -> tuple[Object, set[str]]:
    """Return the reply columns of `message`, and which of its parts they say in full."""
    found = next((path for path in readable if text(dig(message, path))), "")
    columns: Object = {"reply_type": reply_type, "reply_text": text(dig(message, found))}
    if payload == WHOLE:
        whole = {part: message[part] for part in message if part not in OF_A_MESSAGE}
        columns["reply_payload"] = as_json(whole)
        return columns, set(whole)
    if payload is not None:
        columns["reply_payload"] = verbatim(message.get(payload))
    elif url := text(message.get("url")):
        columns["media_id"] = last[1] if (last := _LAST_PART.search(url)) else url
    return columns, {found, payload or ""}
