"""What a message of WhatsApp's says: the object that is called like its type, as columns of a reply."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from gatherer.providers.elements import as_json, mapping, reference, text, unsaid, verbatim
from gatherer.providers.payload import UnreadableBodyError, load_json

Columns: TypeAlias = dict[str, Any]

# `interactive.type` → our reply_type, what a person read, what a program reads (None: all of it, as JSON)
INTERACTIVE: Final = {
    "button_reply": ("button", "title", "id"),
    "list_reply": ("list", "title", "id"),
    "nfm_reply": ("flow", "body", "response_json"),  # JSON inside a string: kept verbatim
    "call_permission_reply": ("call_permission", "response", None),
}
# `nfm_reply.name` → our reply_type; other names are kept as they are
NATIVE_FLOWS: Final = {"flow": "flow", "galaxy_message": "flow", "address_message": "address"}


def read_content(what: str, message: dict[str, Any]) -> Columns | None:
    """Return the columns that the content of a message of the type `what` fills; None if the type is not known.

    The content is the object called like the type. It may be missing, or no object.
    """
    read = READERS.get(what)
    if read is None:
        return None
    content = message.get(what)
    columns = read(mapping(content))
    if content and not any(columns.get(name) for name in ("reply_text", "reply_payload", "media_id")):
        columns["details"] = {what: content}  # nothing readable, so nothing is thrown away
    return columns


def _text(content: dict[str, Any]) -> Columns:
    return {"reply_text": text(content.get("body")), "details": {"text": unsaid(content, "body")}}


def _media(media: dict[str, Any]) -> Columns:
    return {
        "reply_text": text(media.get("caption")),
        "media_id": reference(media.get("id"), "the id of the media"),
        "media_type": text(media.get("mime_type")),
        # sha256, filename, url (since November 2025), voice, animated
        "details": {"media": unsaid(media, "id", "mime_type", "caption")},
    }


def _button(button: dict[str, Any]) -> Columns:
    return {
        "reply_text": text(button.get("text")),
        "reply_payload": text(button.get("payload")),
        "details": {"button": unsaid(button, "text", "payload")},
    }


def _interactive(interactive: dict[str, Any]) -> Columns:
    what = text(interactive.get("type")) or ""
    chosen = mapping(interactive.get(what))  # the object is missing beside errors[131000] (pywa's fixtures)
    reply_type, readable, payload = INTERACTIVE.get(what, (what or "interactive", None, None))
    columns: Columns = {
        "reply_type": reply_type,
        "reply_text": text(chosen.get(readable)) if readable else None,
        "reply_payload": verbatim(chosen.get(payload) if payload else chosen or None),
    }
    rest = {name: part for name, part in interactive.items() if name not in ("type", what)}
    if payload:
        said = ("name" if what == "nfm_reply" else "description", readable or "")
        more = unsaid({name: part for name, part in chosen.items() if name != payload}, *said)
        rest |= {what: more} if more else {}
    columns["details"] = {"interactive": rest or None, "description": chosen.get("description")}
    if what == "nfm_reply":
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
