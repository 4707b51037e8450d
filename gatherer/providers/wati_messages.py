"""Wati's event `message`: what a person wrote, tapped or sent, or how they reacted."""

from typing import Any, Final

from msgspec.structs import replace

from gatherer.model.records import Kind, Record, make_key
from gatherer.providers import wati_events
from gatherer.providers.elements import as_json, mapping, reference, text
from gatherer.providers.origin import Origin

# `type` of an inbound message: https://docs.wati.io/reference/message-received
# The `data` of media is a link to the file, and their `text`, which ought to be the caption, sometimes is too.
MEDIA: Final = frozenset(["image", "video", "document", "audio", "voice", "sticker"])
LINK_TO_A_FILE: Final = "showFile?fileName="
REPLIES: Final = frozenset(
    [*MEDIA, "text", "button", "interactive", "location", "contacts", "order", "catalog", "media_placeholder"]
)
# What was tapped → our reply_type, what the person read, what a program reads. All three are null elsewhere.
CHOICES: Final = {
    "buttonReply": ("button", "text", "payload"),  # quick reply of a template; payload is JSON of Wati's
    "interactiveButtonReply": ("button", "title", "id"),
    "listReply": ("list", "title", "id"),
}


def decode_message(origin: Origin, event: dict[str, Any]) -> Record:
    """Return the answer in an event `message`, or an other event if it is ours or of an unknown type."""
    id_space, message_id = wati_events.identity(event)
    what = text(event.get("type")) or ("text" if event.get("text") else "")
    if str(event.get("owner")).lower() == "true":  # a boolean in the documentation, seen as text
        return wati_events.other_event(origin, event, "message_echoes", what, (id_space, message_id))
    if what != "reaction" and what not in REPLIES:
        return wati_events.other_event(origin, event, "messages", what, (id_space, message_id))
    kind = Kind.REACTED if what == "reaction" else Kind.REPLIED
    rest = dict(event)  # what no column says, once the columns are taken out
    columns = {"message_id": message_id, "profile_name": text(rest.pop("senderName", None))}
    columns |= _take_reaction(rest) if kind is Kind.REACTED else _take_reply(rest, what)
    return replace(wati_events.response(origin, rest, kind, make_key(id_space, kind, message_id)), **columns)


def _take_reaction(event: dict[str, Any]) -> dict[str, Any]:
    """Take the columns of a reaction out of `event`.

    The emoji is the `text`; empty or null when it was taken back. Anything else there, or something in
    `data` that could be the emoji, is one that cannot be read: never one that was taken back.
    """
    inner = event.get("data") or event.get("reaction")
    emoji = event.get("text")
    if emoji is None:
        emoji = mapping(inner).get("emoji") if inner else ""
    elif type(emoji) is str:
        del event["text"]
    about = reference(event.pop("replyContextId", None) or mapping(inner).get("message_id"), "replyContextId")
    return {"emoji": emoji if type(emoji) is str else None, "about_message_id": about}


def _take_reply(event: dict[str, Any], what: str) -> dict[str, Any]:
    """Take the columns of a reply of type `what` out of `event`."""
    about = reference(event.pop("replyContextId", None), "replyContextId")
    columns: dict[str, Any] = {"reply_type": what, "about_message_id": about}
    said = text(event.get("text"))
    if said is not None and not (what in MEDIA and LINK_TO_A_FILE in said):
        columns["reply_text"] = text(event.pop("text"))
    for name, (reply_type, readable, payload) in CHOICES.items():
        chosen = mapping(event.get(name))
        if chosen:
            columns["reply_type"] = reply_type
            columns["reply_text"] = text(chosen.get(readable)) or said
            columns["reply_payload"] = text(chosen.get(payload))
            event[name] = {key: chosen[key] for key in chosen if key not in (readable, payload)} or None
    if what not in MEDIA and type(event.get("data")) in (dict, list) and "reply_payload" not in columns:
        columns["reply_payload"] = as_json(event.pop("data"))
    return columns
