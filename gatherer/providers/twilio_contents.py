"""What an answer that Twilio posts says: the parameters that it came with, as columns of a reply."""

import re
from typing import Any, Final, TypeAlias

from gatherer.providers.elements import as_json, integer, text
from gatherer.providers.payload import UnreadableBodyError, load_json

# Sources, both below twilio.com/docs: [I] messaging/guides/webhook-request (incoming messages), [C] the page on
# WhatsApp Business Calling.

Form: TypeAlias = dict[str, str | list[str]]  # a list: the parameter came with different values
Columns: TypeAlias = dict[str, Any]

# A parameter that tells what was sent → our reply_type, what a person read, what a program reads; the first
# parameter that is there counts. [I], except FlowData and InteractiveData, which only receivers' code names.
CHOICES: Final = (
    ("ListId", "list", ("ListTitle", "Body"), ("ListId",)),
    ("ButtonPayload", "button", ("ButtonText", "Body"), ("ButtonPayload",)),
    ("ButtonText", "button", ("ButtonText", "Body"), ("ButtonPayload",)),
    ("FlowData", "flow", ("Body",), ("FlowData",)),
    ("InteractiveData", "flow", ("Body",), ("InteractiveData",)),
)
LOCATION: Final = ("Latitude", "Longitude", "Address", "Label")
MEDIA: Final = frozenset({"image", "video", "audio", "voice", "document", "sticker", "contacts"})
TYPES: Final = MEDIA | {"text", "button", "interactive", "location"}
CALL_PERMISSION: Final = "VOICE_CALL_REQUEST"  # the Body; ButtonPayload is ACCEPTED or REJECTED [C]

_MEDIA_SID: Final = re.compile(r"/Media/(ME\w+)\Z")


def read_content(form: Form, what: str) -> tuple[Columns, tuple[str, ...]]:
    """Return the reply columns of a message of the type `what`, and the parameters that they say in full."""
    for telling, reply_type, readable, payload in CHOICES:
        if form.get(telling):
            columns: Columns = {
                "reply_type": reply_type,
                "reply_text": _first(form, readable),
                "reply_payload": _first(form, payload),
            }
            if form.get("Body") == CALL_PERMISSION:
                columns |= {"reply_type": "call_permission", "reply_text": columns["reply_payload"]}
            if reply_type == "flow":
                columns["details"] = {"flow": _parse(columns["reply_payload"])}
            said = (columns["reply_text"], columns["reply_payload"], CALL_PERMISSION)
            return columns, tuple(name for name in (*readable, *payload) if form.get(name) in said)
    if form.get("Latitude"):
        place = {name.lower(): form[name] for name in LOCATION if form.get(name)}
        label = _first(form, ("Label", "Address", "Body"))
        used = (*LOCATION, "Body") if form.get("Body") in (label, "") else LOCATION
        return {"reply_type": "location", "reply_text": label, "reply_payload": as_json(place)}, used
    if form.get("MediaUrl0") or (integer(form.get("NumMedia")) or 0) > 0:
        return _media(form, what)
    reply_type = what if what not in ("", "interactive") else "text"
    return {"reply_type": reply_type, "reply_text": _first(form, ("Body",))}, ("Body",)


def _media(form: Form, what: str) -> tuple[Columns, tuple[str, ...]]:
    """Return the reply columns of the first medium; WhatsApp sends one per message. Body is its caption."""
    url = text(form.get("MediaUrl0"))
    mime = text(form.get("MediaContentType0"))
    sid = _MEDIA_SID.search(url or "")
    if what not in MEDIA:
        family, _, form_of_it = (mime or "").partition("/")
        what = family if family in MEDIA else "contacts" if "vcard" in form_of_it else "document"
    columns = {
        "reply_type": what,
        "reply_text": _first(form, ("Body",)),
        "media_id": sid[1] if sid else url,
        "media_type": mime,
    }
    return columns, ("Body", "MediaContentType0", *(() if sid else ("MediaUrl0",)))


def _first(form: Form, names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := text(form.get(name)))), None)


def _parse(payload: str | None) -> Any:
    """Return the answers of a Flow as JSON, or None when `payload` holds none."""
    try:
        return load_json((payload or "").encode())
    except UnreadableBodyError:
        return None
