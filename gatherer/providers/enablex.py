"""EnableX: WhatsApp's own objects, in the On-Premises form, with our number and our own data beside them.

Set-up
    In the EnableX portal enter the webhook URL of each business number, tick HTTP Authentication and choose
    user and password (`basic` of the endpoint). The URL must be HTTPS with a certificate of a public
    authority; a self-signed one is refused. What a send call passes as `extra` comes back with every notification of that
    message: put the campaign or communication key there. The Unified Messaging webhook carries receipts only;
    replies always go to the WhatsApp webhook.

Mapping
    `statuses[]` → sent, delivered, read, failed. `messages[]` → replied, reacted; a deletion that names the
    message it deletes → revoked, any other → other event. `extra` → client_reference; an object becomes its
    JSON text. `business_phone` is our number. Template updates → template events, with what is recognised in
    columns and all of it in the details. Payments, `errors[]` and every word not known here → other events.
    Requests in the form of the Cloud API are decoded as `meta` does, with the same keys.

Quirks
    Nothing is signed: HTTP Basic in `Authorization` is all there is, and it is off until ticked. Anything but
    200 may be sent again or dropped, and may cost later notifications; how often and for how long is not public.
    So every authenticated request is accepted, also one that cannot be decoded.
    The id of a status is described as the id of the send request and shown as a wamid: both are taken. An id
    that is not WhatsApp's is only unique to EnableX, so its key also holds our number and the recipient.
    What template updates and deletions look like is not public either: their fields are guessed by name.
"""

import re
from typing import Any, Final

from msgspec.structs import replace

from gatherer.model.notification import Notification
from gatherer.model.records import OtherEvent, Reason, Record, Rejected, Response, TemplateEvent, make_key
from gatherer.providers.base import Decoded, Provider, reject_body
from gatherer.providers.elements import as_json, business_e164, dig, items, mapping, text
from gatherer.providers.origin import Origin, decode_one, items_with_paths, other
from gatherer.providers.paths import WHOLE_BODY, Path, Paths
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.whatsapp.envelope import RECEIPTS_AND_ANSWERS, BodyDecoder, is_body
from gatherer.providers.whatsapp.notices import field_of

NAME: Final = "enablex"

# wamid.… and wacid.… of the Cloud API; gBEG…, gBGG…, ABEG…, ABGG… of the On-Premises API
WHATSAPP_ID: Final = re.compile(r"(?:wamid|wacid)\.|(?:gB|AB)[EG]")

# `type` of a message that deletes another → where the other's id may stand. The page “Actions & Reactions”
# says that a deletion is sent as a message, not how; `revoke`, which WhatsApp calls it, is known without this.
DELETIONS: Final = frozenset({"deleted", "delete", "message_deleted"})
DELETED: Final = ("message_id", "original_message_id", "id")

# What betrays a template update, in a key or in one of these words
TEMPLATE: Final = "template"
WORDS: Final = ("event", "event_type", "type", "field")
# column → the keys that may hold it, best first. None is documented.
COLUMNS: Final = {
    "event": ("template_status", "status", "event"),
    "template_id": ("template_id", "templateId", "id"),
    "template_name": ("template_name", "templateName", "name"),
    "template_language": ("template_language", "language"),
    "template_category": ("template_category", "category"),
    "reason": ("rejection_reason", "rejected_reason", "reason"),
}


def decode(notification: Notification) -> Decoded:
    """Return every element of the body, or of an array of bodies, as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        return reject_body(notification, NAME, str(problem), Reason.UNREADABLE)
    decoder = BodyDecoder(notification, NAME, Decoded())
    if type(body) is list:
        for i, part in enumerate(body):
            _decode_body(decoder, part, (i,))
    else:
        _decode_body(decoder, body, WHOLE_BODY)
    return decoder.decoded


def _decode_body(decoder: BodyDecoder, body: Any, path: Path) -> None:
    """Add the elements of one body to `decoder.decoded`."""
    if type(body) is not dict:
        decoder.decode_body(body, path)  # which rejects it
    elif _template_word(body) is not None:
        decode_one(Origin(decoder.notification, NAME), body, _template, path, decoder.decoded)
    elif "business_phone" in body and not is_body(body):
        decode_one(Origin(decoder.notification, NAME), body, _unknown, path, decoder.decoded)
    else:
        first = len(decoder.decoded)
        messages = body.get("messages")
        if type(messages) is list:
            body = {**body, "messages": [_as_revoke(message) for message in messages]}
        elif messages is not None:
            body = {**body, "messages": _as_revoke(messages)}
        decoder.decode_body(body, path)
        space = f"{NAME}:{business_e164(text(body.get('business_phone'))) or ''}"
        extras: dict[str | None, tuple[Any, Path]] = {}
        if messages is not None:
            for message_path, message in items_with_paths(messages, path + ("messages",)):
                extra = mapping(message).get("extra")
                if extra not in (None, ""):
                    extras[text(message.get("id"))] = (extra, message_path)
        decoded = decoder.decoded
        for i in range(first, len(decoded)):
            decoded[i] = _with_id_space(decoded[i], space)
        if extras:
            paths = decoded.paths
            for i in range(first, len(decoded)):
                decoded[i], paths[i] = _with_extra(decoded[i], paths[i], extras)
            decoded.set_paths(paths)


def _as_revoke(message: Any) -> Any:
    """Return a deletion that names its message in WhatsApp's words, and everything else as it is."""
    message_type = text(mapping(message).get("type"))
    if message_type not in DELETIONS:
        return message
    ids = [
        dig(message, f"{part}.{name}") for part in (message_type, "deleted", "message") for name in DELETED
    ]
    ids.append(dig(message, "context.id"))
    original = next((value for value in ids if value and type(value) is str), None)
    if original is None:
        return message
    return {**message, "type": "revoke", "revoke": {"original_message_id": original}}


def _with_id_space(record: Record | Rejected, space: str) -> Record | Rejected:
    """Return `record`, which the shared decoders made, with a key in the id space of EnableX if its id needs it.

    Args:
        record: the record; anything but a response or other event stays as it is.
        space: the id space of ids that WhatsApp did not give out.

    """
    if not isinstance(record, Response | OtherEvent) or record.message_id is None:
        return record
    if WHATSAPP_ID.match(record.message_id):
        return record
    person = record.phone or record.user_id or ""  # one request may have many recipients
    return replace(record, key=make_key(space, record.table, record.key.hex(), person))


def _with_extra(
    record: Record | Rejected, paths: Paths, extras: dict[str | None, tuple[Any, Path]]
) -> tuple[Record | Rejected, Paths]:
    """Return `record`, which has these `paths`, with the `extra` of its message, and the paths that it has then.

    Args:
        record: the record; anything but a response without a reference stays as it is. Receipts have theirs already.
        paths: the paths of the record.
        extras: the `extra` and the path of each message that has one, by its id.

    """
    if not isinstance(record, Response) or record.client_reference is not None or record.message_id is None:
        return record, paths
    if record.message_id not in extras:
        return record, paths
    extra, path = extras[record.message_id]
    record = replace(record, client_reference=text(extra) or as_json(extra))
    return record, paths if path in paths else (*paths, path)  # another: one message came twice


def _template_word(body: dict[str, Any]) -> str | None:
    """Return the word of `body` that says it is about a template; None if it is not, or is in Meta's form."""
    if not RECEIPTS_AND_ANSWERS.isdisjoint(body) or not {"entry", "changes", "value"}.isdisjoint(body):
        return None
    if field_of(None, body) is not None:
        return None
    words = [text(body.get(name)) for name in WORDS] + list(body)
    return next((word for word in words if word and TEMPLATE in word.lower()), None)


def _template(origin: Origin, body: dict[str, Any]) -> Record:
    """Return the update of a template that `body` is, kept whole."""
    inner = [part for name, part in body.items() if TEMPLATE in name.lower() or name == "data"]
    parts = [mapping(items(part)[0]) for part in inner if items(part)] + [body]
    columns = {column: _first(parts, names) for column, names in COLUMNS.items()}
    columns["event"] = (columns["event"] or "").upper() or None
    details = as_json(body)
    return origin.record(
        TemplateEvent,
        make_key(NAME, "template", f"{origin.notice_time()}\x1f{details}"),
        _first(parts, ("timestamp", "time")),
        field=_template_word(body) or TEMPLATE,
        new_value=columns["event"],
        details=details,
        **columns,
    )


def _first(parts: list[dict[str, Any]], names: tuple[str, ...]) -> str | None:
    """Return the first text under one of `names`: those of the first part count before those of the next."""
    texts = (text(part.get(name)) for part in parts for name in names)
    return next(filter(None, texts), None)


def _unknown(origin: Origin, body: dict[str, Any]) -> Record:
    """Return the other event of a body that is EnableX's, because it names our number, but says nothing known."""
    name = next(filter(None, (text(body.get(word)) for word in WORDS)), None)
    return other(origin, body, "posts", name, f"{origin.notice_time()}\x1f{as_json(body)}", id_space=NAME)


PROVIDER: Final = Provider(
    name=NAME,
    title="EnableX",
    decode=decode,
    reports=frozenset(
        [
            "sent",
            "delivered",
            "read",
            "failed",
            "replied",
            "reacted",
            "revoked",
            "template_event",
            "other",
        ]
    ),
    authentication="HTTP Basic, once it is ticked in the portal (basic)",
    on_refusal="may repeat the request, or drop it and later ones",
    retries="not public",
    documentation=__doc__,
)
