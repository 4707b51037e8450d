"""What all results of Infobip's have in common, and those that are about no message of WhatsApp's.

A result is what Infobip posts: a report on a message of ours, a message of a person's, or a notice.
"""

import re
from typing import Any, Final, TypeAlias

from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, OtherEvent, Record, Response, make_key
from gatherer.providers.elements import as_json, dig, identifier, kept, mapping, text, verbatim
from gatherer.providers.origin import Origin, other
from gatherer.providers.people import person_columns

NAME: Final = "infobip"
Object: TypeAlias = dict[str, Any]

PREFERENCES: Final = {"STOP": Kind.OPTED_OUT, "RESUME": Kind.OPTED_IN}  # the first word of the status

# What is said by columns. Everything else goes into the details.
IN_COLUMNS: Final = frozenset({"messageId", "to", "from", "callbackData"})

_WHATSAPP_ID: Final = re.compile(r"wamid\.|(AB|gB)[EG]G[\w+/=-]{12}", re.ASCII)


def response(
    origin: Origin, kind: Kind, result: Object, at: object, columns: Object, rest: Object
) -> Response:
    """Return the response `kind` that `result` is: `columns` for what there are some, `rest` for the rest."""
    message_id = columns["message_id"]
    key = make_key(_space(message_id), kind, message_id)
    columns["client_reference"] = verbatim(result.get("callbackData"))  # an answer: of its paired message
    return origin.record(Response, key, at, kind=kind, details=kept(**rest), **columns)


def _space(message_id: str | None) -> str:
    """Return who gave out `message_id`."""
    return WHATSAPP if message_id is not None and _WHATSAPP_ID.match(message_id) else NAME


def aside(columns: Object, at: object) -> Any:
    """Return what an other event shares with the response that it is not."""
    shared = {column: columns.get(column) for column in ("message_id", "phone", "user_id")}
    return {"id_space": _space(shared["message_id"]), "at": at, **shared}


def elsewhere(origin: Origin, result: Object) -> OtherEvent | None:
    """Return the other event that a result of another channel, such as SMS, is; None for WhatsApp's."""
    channel = text(result.get("channel")) or text(result.get("integrationType")) or "WHATSAPP"
    if result.get("smsCount") is not None:  # an SMS that was sent instead
        channel = "SMS"
    if channel.upper() == "WHATSAPP":
        return None
    columns = person_columns(result.get("from" if result.get("receivedAt") else "to"))
    columns["message_id"] = text(result.get("messageId"))
    shared = aside(columns, result.get("receivedAt") or result.get("doneAt")) | {"id_space": NAME}
    return other(origin, result, channel.lower(), text(dig(result, "status.name")), **shared)


def decode_notice(origin: Origin, notice: Object) -> Record:
    """Return what a person wants from now on, or that something about their account changed."""
    content = mapping(notice["content"])
    status = text(content.get("notificationMessagesStatus"))
    columns = person_columns(content.get("from") or content.get("userNumber"))
    kind = PREFERENCES.get(re.split(r"[^A-Z]", (status or "").upper())[0])
    if kind is None:
        name = status or text(content.get("type"))
        return other(origin, notice, "system", name, **aside(columns, notice.get("createdAt")))
    person = identifier(columns["user_id"] or columns["phone_raw"], "the person of a preference")
    key = make_key(NAME, kind, f"{person}\x1f{text(notice.get('createdAt')) or origin.notice_time()}")
    columns["business_phone"] = e164(text(content.get("sender") or notice.get("from")))
    details = as_json(notice)
    return origin.record(Response, key, notice.get("createdAt"), kind=kind, details=details, **columns)


def decode_template(origin: Origin, notice: Object) -> Record:
    """Return the notice about a template whole: which of Infobip's accounts it concerns is not in it."""
    name = text(mapping(notice.get("change")).get("type"))
    return other(origin, notice, "templates", name, id_space=NAME, at=notice.get("timestamp"))
