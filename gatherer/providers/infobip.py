"""Infobip's WhatsApp: delivery reports, seen reports, incoming messages and notices.

Set-up
    Have the endpoint's URL set for your WhatsApp sender: for incoming messages in the portal (the sender →
    Forward to HTTP), for delivery and seen reports by Infobip's support, as a subscription, or as `notifyUrl` in
    each send call. One URL serves all. The security settings of a subscription can be HTTP Basic; everything
    else is without: put a url_key into the URL. Send with `callbackData` to get a reference of yours back.

Mapping
    `status.groupName` PENDING → sent, DELIVERED → delivered, UNDELIVERABLE, EXPIRED and REJECTED → failed;
    `seenAt` → read. Incoming messages → replied, REACTION → reacted (REMOVED: taken back).
    Results in the form of the Messages API (`event`, `sender`, `destination`, `content[]`) become the same records
    as those of the older form (`from`, `to`, `message`). Of a message of several parts, the first part of a known
    type fills the columns; the others stay in the details. An explicit `channel` decides whether it is WhatsApp's.
    A marketing preference STOP → opted_out, RESUME → opted_in.
    Other events: PENDING_ACCEPTED (Infobip has it, WhatsApp not yet), deletions (`deletedAt`), templates,
    payments, changed identities, unsupported messages, other channels such as SMS, and words not known here.

Quirks
    Our ids are UUIDs of Infobip's, or what the sender chose as `messageId`, and no request names an account: choose
    ids that are unique across your accounts. Ids of incoming messages are WhatsApp's own where they look like it.
    Seen reports name both numbers, and two pages contradict each other in which is the person's: such a record
    has no phone, and both numbers stay in its details. What an answer is about says its `context`, else the
    message that Infobip paired it with. Zone offsets come without a colon.
"""

import re
from typing import Any, Final, TypeAlias

from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, OtherEvent, Reason, Record, Response, make_key
from gatherer.providers.base import Decoded, ElementError, Provider, reject_body
from gatherer.providers.elements import (
    as_json,
    dig,
    identifier,
    integer,
    items,
    mapping,
    object_of,
    person_columns,
    reference,
    text,
    verbatim,
)
from gatherer.providers.origin import Origin, decode_each, decode_one, other
from gatherer.providers.paths import WHOLE_BODY
from gatherer.providers.payload import UnreadableBodyError, load_json

# Sources: infobip.com/docs/api/channels/whatsapp, the pages receive-whatsapp-delivery-reports, -seen-reports and
# -inbound-messages; the models WhatsAppWebhook* of Infobip's own Java client (31 March 2026).

NAME: Final = "infobip"
Object: TypeAlias = dict[str, Any]

# A result is an element of `results`: a report on a message of ours, a message of a person, or a notice.
# The parts of any result that columns hold. Everything else goes into the details.
IN_COLUMNS: Final = frozenset({"messageId", "to", "from", "sender", "destination", "callbackData"})

_WHATSAPP_ID: Final = re.compile(r"wamid\.|(AB|gB)[EG]G[\w+/=-]{12}", re.ASCII)


def decode(notification: Notification) -> Decoded:
    """Return every element of the body as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        return reject_body(notification, NAME, str(problem), Reason.UNREADABLE)
    decoded = Decoded()
    origin = Origin(notification, NAME)
    parts = mapping(body)
    if "results" in parts:
        decode_each(origin, parts["results"], _decode_result, ("results",), decoded)
        return decoded
    if "messageId" in parts or "messageTemplateId" in parts or {"content", "createdAt"} <= parts.keys():
        decode_one(origin, parts, _decode_result, WHOLE_BODY, decoded)  # notices come without an envelope
        return decoded
    return reject_body(notification, NAME, "the body is in none of Infobip's forms", Reason.SHAPE)


def _decode_result(origin: Origin, result: Any) -> Record:
    """Return the record of one report, message or notice.

    Raises:
        ElementError: it is not an object, has no id, or an id of the wrong type.

    """
    if type(result) is not dict:
        raise ElementError("a result must be an object")
    if (event := _event_of_another_channel(origin, result)) is not None:
        return event
    if type(result.get("content")) is list:
        return _decode_answer(origin, result)
    for name, decode_result in SHAPES:
        if result.get(name) is not None:
            return decode_result(origin, result)
    message_id = identifier(result.get("messageId"), "messageId")
    return other(origin, result, "reports", text(result.get("event")), id_space=NAME, message_id=message_id)


def _event_of_another_channel(origin: Origin, result: Object) -> OtherEvent | None:
    """Return the other event of a result of another channel, such as SMS; None for a result of WhatsApp's."""
    channel = text(result.get("channel")) or text(result.get("integrationType"))
    if not channel:  # smsCount: an SMS that Infobip sent instead
        channel = "WHATSAPP" if result.get("smsCount") is None else "SMS"
    if channel.upper() == "WHATSAPP":
        return None
    columns = person_columns(_sender(result) if result.get("receivedAt") else _recipient(result))
    columns["message_id"] = text(result.get("messageId"))
    shared = _event_columns(columns, result.get("receivedAt") or result.get("doneAt")) | {"id_space": NAME}
    return other(origin, result, channel.lower(), text(dig(result, "status.name")), **shared)


def _response(
    origin: Origin, kind: Kind, result: Object, claimed: object, columns: Object, rest: Object
) -> Response:
    """Return the response of `kind` in `result`.

    Args:
        origin: where the result comes from.
        kind: what the response says.
        result: the element.
        claimed: when it happened, as Infobip writes it.
        columns: the columns that `result` fills.
        rest: what no column holds, for the details.

    """
    message_id = columns["message_id"]
    key = make_key(_id_space(message_id), kind, message_id)
    # In an answer, callbackData is that of the message it was paired with.
    columns["client_reference"] = verbatim(result.get("callbackData"))
    return origin.record(Response, key, claimed, kind=kind, details=object_of(**rest), **columns)


def _event_columns(columns: Object, claimed: object) -> Any:
    """Return the arguments of :func:`other` for a result with these `columns` that is no response."""
    shared = {column: columns.get(column) for column in ("message_id", "phone", "user_id")}
    return {"id_space": _id_space(shared["message_id"]), "at": claimed, **shared}


def _sender(result: Object) -> Any:
    """Return the number that sent the message: `sender` in the Messages API, `from` in the older form."""
    return result.get("sender") or result.get("from")


def _recipient(result: Object) -> Any:
    """Return the number that the message went to: `destination` in the Messages API, `to` in the older form."""
    return result.get("destination") or result.get("to")


def _id_space(message_id: str | None) -> str:
    """Return the id space of the service that gave out `message_id`."""
    return WHATSAPP if message_id is not None and _WHATSAPP_ID.match(message_id) else NAME


# Reports: our message was sent, delivered, seen or deleted, or failed

KINDS: Final = {
    "PENDING": Kind.SENT,
    "DELIVERED": Kind.DELIVERED,
    **dict.fromkeys(("UNDELIVERABLE", "EXPIRED", "REJECTED"), Kind.FAILED),
}
GROUPS: Final = {1: "PENDING", 2: "UNDELIVERABLE", 3: "DELIVERED", 4: "EXPIRED", 5: "REJECTED"}
ONLY_ACCEPTED: Final = "PENDING_ACCEPTED"  # the status name in the response to the send call
DELIVERY_IN_COLUMNS: Final = IN_COLUMNS | {"status", "error"}


def _decode_delivery(origin: Origin, report: Object) -> Record:
    """Return the record of a delivery report. The recipient is the person."""
    message_id = identifier(report.get("messageId"), "messageId")
    columns = person_columns(_recipient(report)) | {"message_id": message_id}
    status, error = mapping(report["status"]), mapping(report.get("error"))
    name = text(status.get("name"))
    group = text(status.get("groupName")) or GROUPS.get(integer(status.get("groupId")) or 0) or name
    word = identifier(name or group, "status.groupName")
    kind = None if name == ONLY_ACCEPTED else KINDS.get((group or "").upper())
    if kind is None:
        shared = _event_columns(columns, report.get("doneAt"))
        return other(origin, report, "statuses", word, f"{message_id}\x1f{word}", **shared)
    time = "sentAt" if kind is Kind.SENT and report.get("sentAt") else "doneAt"
    rest = {part: report[part] for part in report if part not in DELIVERY_IN_COLUMNS and part != time}
    if kind is Kind.FAILED:
        columns |= _error_columns(error, status)
    else:
        rest |= {"status": name, "error": error if integer(error.get("id")) else None}  # 0 is NO_ERROR
    columns["business_phone"] = e164(text(_sender(report)))
    return _response(origin, kind, report, report.get(time), columns, rest)


def _error_columns(error: Object, status: Object) -> Object:
    """Return the error columns. Where Infobip itself refuses a message, only the status says why."""
    code = integer(error.get("id"))
    explanation = error if code else status
    return {
        "error_code": code or None,
        "error_title": text(explanation.get("name")),
        "error_details": text(explanation.get("description")),
        "errors": as_json([{**error, "status": status}]),  # error.permanent: sending it again is no use
    }


def _decode_seen(origin: Origin, report: Object) -> Record:
    """Return the record of a seen report: the person read our message.

    In the Messages API, `destination` is the person. Of the older form, older pages show `to` alone, which is the
    person. Newer ones call `from` the “number which sent the message” and `to` the “registered WhatsApp business
    number”, with sample numbers that say the opposite. Where both are there, the record has no phone.
    """
    columns: Object = {"message_id": identifier(report.get("messageId"), "messageId")}
    rest = {part: report[part] for part in report if part not in IN_COLUMNS and part != "seenAt"}
    if report.get("from") is None or report.get("sender") or report.get("destination"):
        columns |= person_columns(_recipient(report))
        columns["business_phone"] = e164(text(_sender(report)))
    else:
        rest |= {"from": report["from"], "to": report.get("to")}
    return _response(origin, Kind.READ, report, report["seenAt"], columns, rest)


def _decode_deleted(origin: Origin, report: Object) -> Record:
    """Return the other event of a deletion. No page says whether ours or the person's own message was deleted."""
    message_id = identifier(report.get("messageId"), "messageId")
    columns = person_columns(_recipient(report)) | {"message_id": message_id}
    shared = _event_columns(columns, report["deletedAt"])
    return other(origin, report, "statuses", "deleted", f"{message_id}\x1fdeleted", **shared)


# Incoming messages

# `type` of the message, or of a part of `content[]` → our reply_type, where the text for a person stands, where the
# text for a program stands (WHOLE: the message as a whole). The first of several places that has a value counts.
WHOLE: Final = ("*",)
MEDIA: Final = ("IMAGE", "VIDEO", "AUDIO", "VOICE", "DOCUMENT", "STICKER")
BUTTON: Final = ("button", ("text", "title"), ("payload", "id"))
LIST: Final = ("list", ("text", "title"), ("id",))
FLOW: Final = ("flow", ("text",), ("response",))  # an object, or JSON in a string
TYPES: Final[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "TEXT": ("text", ("text",), ()),
    "URL": ("url", ("text", "url"), ("url",)),
    "BUTTON": BUTTON,  # the quick-reply button of a template
    "BUTTON_REPLY": BUTTON,
    "INTERACTIVE_BUTTON_REPLY": BUTTON,
    "LIST_REPLY": LIST,
    "INTERACTIVE_LIST_REPLY": LIST,
    "FLOW_RESPONSE": FLOW,
    "INTERACTIVE_FLOW_REPLY": FLOW,
    "INTERACTIVE_CALL_PERMISSION_REPLY": ("call_permission", ("callPermissionReply.response",), WHOLE),
    "LOCATION": ("location", ("name", "address"), WHOLE),
    "CONTACT": ("contacts", (), ("contacts",)),
    "ORDER": ("order", ("text",), WHOLE),
    "INFECTED_CONTENT": ("infected_content", (), ()),  # the person sent something; Infobip keeps it back
    "FILE": ("document", ("caption", "text"), ()),
    **{name: (name.lower(), ("caption", "text"), ()) for name in MEDIA},
}
ANSWER_IN_COLUMNS: Final = IN_COLUMNS | {
    "message",
    "content",
    "receivedAt",
    "integrationType",
    "channel",
    "contact",
}
MESSAGE_IN_COLUMNS: Final = frozenset({"type", "context"})

_LAST_PART: Final = re.compile(r"([^/?#]+)/?(?:[?#].*)?\Z")  # of a media URL: …/senders/{number}/media/{id}


def _decode_answer(origin: Origin, result: Object) -> Record:
    """Return the record of what a person sent: a reply, or a reaction. The sender is the person.

    The message is the object `message`, or in the Messages API the first part of `content[]` of a known type. Several
    parts have one id, so they are one message.
    """
    message_id = identifier(result.get("messageId"), "messageId")
    parts = items(result.get("message")) + items(result.get("content"))
    message = mapping(parts[0]) if parts else {}
    if len(parts) > 1:
        message = mapping(next((part for part in parts if _type_of(part)), message))
    contact = mapping(result.get("contact"))
    context = mapping(message.get("context")) or mapping(result.get("context"))
    message_type = (text(message.get("type")) or "").upper()
    # Since 2026 a contact also has userId, phoneNumber and username.
    columns = person_columns(_sender(result) or contact.get("phoneNumber"), text(contact.get("userId")))
    columns["message_id"] = message_id
    if message_type == "REACTION":
        kind, emoji = Kind.REACTED, message.get("emoji")
        readable = emoji if type(emoji) is str and emoji else None  # unreadable is not taken back
        columns["emoji"] = "" if message.get("action") == "REMOVED" else readable
        in_columns = {"action", "emoji"} if columns["emoji"] else {"action"}
    elif message_type in TYPES:
        kind = Kind.REPLIED
        content, in_columns = _read_content(message, *TYPES[message_type])
        columns |= content
    else:
        shared = _event_columns(columns, result.get("receivedAt"))
        name = message_type or text(result.get("event"))
        return other(origin, result, "messages", name, message_id, **shared)
    paired = reference(result.get("pairedMessageId"), "pairedMessageId")
    columns["about_message_id"] = reference(context.get("id"), "context.id") or paired
    columns["business_phone"] = e164(text(_recipient(result)))
    columns["profile_name"] = text(contact.get("name"))
    rest = {part: result[part] for part in result if part not in ANSWER_IN_COLUMNS}
    in_columns |= MESSAGE_IN_COLUMNS
    rest["message"] = {part: message[part] for part in message if part not in in_columns} or None
    if len(parts) > 1:
        rest["content"] = [part for part in parts if part is not message]
    if contact:
        rest["contact"] = {part: contact[part] for part in contact if part not in ("name", "userId")} or None
    if context:
        rest["context"] = {part: context[part] for part in context if part != "id"} or None
    return _response(origin, kind, result, result.get("receivedAt"), columns, rest)


def _type_of(part: object) -> str | None:
    """Return the type of a message, or of a part of one, in capitals; None if it is not known."""
    message_type = (text(mapping(part).get("type")) or "").upper()
    return message_type if message_type in TYPES or message_type == "REACTION" else None


def _read_content(
    message: Object, reply_type: str, readable: tuple[str, ...], payload: tuple[str, ...]
) -> tuple[Object, set[str]]:
    """Return the reply columns of `message`, and the names of its parts that they hold in full."""
    columns: Object = {"reply_type": reply_type}
    in_columns = set()
    for path in readable:
        if readable_text := text(dig(message, path)):
            columns["reply_text"] = readable_text
            in_columns.add(path)
            break
    if payload == WHOLE:
        whole = {part: message[part] for part in message if part not in MESSAGE_IN_COLUMNS}
        columns["reply_payload"] = as_json(whole)
        return columns, set(whole)
    for name in payload:
        if message.get(name):
            columns["reply_payload"] = verbatim(message[name])
            return columns, in_columns | {name}
    if url := text(message.get("url")):
        columns["media_id"] = last[1] if (last := _LAST_PART.search(url)) else url
    return columns, in_columns


# Notices

PREFERENCES: Final = {"STOP": Kind.OPTED_OUT, "RESUME": Kind.OPTED_IN}  # the first word of the status


def _decode_notice(origin: Origin, notice: Object) -> Record:
    """Return the record of a person's preference, or the other event of a change of their account."""
    content = mapping(notice["content"])
    status = text(content.get("notificationMessagesStatus"))
    columns = person_columns(content.get("from") or content.get("userNumber"))
    kind = PREFERENCES.get(re.split(r"[^A-Z]", (status or "").upper())[0])
    if kind is None:
        name = status or text(content.get("type"))
        return other(origin, notice, "system", name, **_event_columns(columns, notice.get("createdAt")))
    person = identifier(columns["user_id"] or columns["phone_raw"], "the person of a preference")
    details = as_json(notice)
    # Without a time, the content is the identity: a time of ours would make a second fact of a redelivery.
    key = make_key(NAME, kind, f"{person}\x1f{text(notice.get('createdAt')) or details}")
    columns["business_phone"] = e164(text(content.get("sender") or notice.get("from")))
    return origin.record(Response, key, notice.get("createdAt"), kind=kind, details=details, **columns)


def _decode_template(origin: Origin, notice: Object) -> Record:
    """Return the other event of a notice about a template. It does not name the account it concerns."""
    name = text(mapping(notice.get("change")).get("type"))
    return other(origin, notice, "templates", name, id_space=NAME, at=notice.get("timestamp"))


# The field that tells what a result is; the first that is there counts.
SHAPES: Final = (
    ("message", _decode_answer),
    ("receivedAt", _decode_answer),
    ("seenAt", _decode_seen),
    ("deletedAt", _decode_deleted),
    ("status", _decode_delivery),
    ("messageTemplateId", _decode_template),
    ("content", _decode_notice),
)

PROVIDER: Final = Provider(
    name=NAME,
    title="Infobip WhatsApp",
    decode=decode,
    reports=frozenset({*KINDS.values(), *PREFERENCES.values(), "read", "replied", "reacted", "other"}),
    authentication="none of its own: HTTP Basic by a subscription's security settings, or a url_key",
    on_refusal="not documented",
    retries="not documented",
    documentation=__doc__,
)
