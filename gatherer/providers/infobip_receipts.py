"""Infobip's reports: that a message of ours was sent, delivered, seen or deleted, or why it failed."""

from typing import Final

from gatherer.model.phones import e164
from gatherer.model.records import Kind, Record
from gatherer.providers import infobip_results
from gatherer.providers.elements import as_json, identifier, integer, mapping, text
from gatherer.providers.infobip_results import IN_COLUMNS, Object
from gatherer.providers.origin import Origin, other
from gatherer.providers.people import person_columns

KINDS: Final = {
    "PENDING": Kind.SENT,
    "DELIVERED": Kind.DELIVERED,
    **dict.fromkeys(("UNDELIVERABLE", "EXPIRED", "REJECTED"), Kind.FAILED),
}
GROUPS: Final = {1: "PENDING", 2: "UNDELIVERABLE", 3: "DELIVERED", 4: "EXPIRED", 5: "REJECTED"}
ONLY_ACCEPTED: Final = "PENDING_ACCEPTED"  # the status name with which the send call is answered
TIMES: Final = {Kind.SENT: ("sentAt", "doneAt"), Kind.DELIVERED: ("doneAt",), Kind.FAILED: ("doneAt",)}
# What is said by columns. Everything else goes into the details.
OF_A_DELIVERY: Final = IN_COLUMNS | {"status", "error"}


def decode_delivery(origin: Origin, report: Object) -> Record:
    """Return what became of our message. `to` is the person."""
    message_id = identifier(report.get("messageId"), "messageId")
    columns = person_columns(report.get("to")) | {"message_id": message_id}
    status, error = mapping(report["status"]), mapping(report.get("error"))
    name = text(status.get("name"))
    group = text(status.get("groupName")) or GROUPS.get(integer(status.get("groupId")) or 0) or name
    word = identifier(name or group, "status.groupName")
    kind = None if name == ONLY_ACCEPTED else KINDS.get((group or "").upper())
    if kind is None:
        aside = infobip_results.aside(columns, report.get("doneAt"))
        return other(origin, report, "statuses", word, f"{message_id}\x1f{word}", **aside)
    when = next((time for time in TIMES[kind] if report.get(time)), "doneAt")
    rest = {part: report[part] for part in report if part not in OF_A_DELIVERY and part != when}
    if kind is Kind.FAILED:
        columns |= _errors(error, status)
    else:
        rest |= {"status": name, "error": error if integer(error.get("id")) else None}  # 0 is NO_ERROR
    columns["business_phone"] = e164(text(report.get("from")))
    return infobip_results.response(origin, kind, report, report.get(when), columns, rest)


def _errors(error: Object, status: Object) -> Object:
    """Return the error columns. Where Infobip itself refuses a message, only the status says why."""
    code = integer(error.get("id"))
    told = error if code else status
    return {
        "error_code": code or None,
        "error_title": text(told.get("name")),
        "error_details": text(told.get("description")),
        "errors": as_json([{**error, "status": status}]),  # error.permanent: sending it again is no use
    }


def decode_seen(origin: Origin, report: Object) -> Record:
    """Return that our message was read.

    Older pages show `to` alone, which is the person. Newer ones call `from` the “number which sent the message”
    and `to` the “registered WhatsApp business number”, with sample numbers that say the opposite: no guess.
    """
    columns: Object = {"message_id": identifier(report.get("messageId"), "messageId")}
    rest = {part: report[part] for part in report if part not in IN_COLUMNS and part != "seenAt"}
    if report.get("from") is None:
        columns |= person_columns(report.get("to"))
    else:
        rest |= {"from": report["from"], "to": report.get("to")}
    return infobip_results.response(origin, Kind.READ, report, report["seenAt"], columns, rest)


def decode_deleted(origin: Origin, report: Object) -> Record:
    """Return that a message was deleted; whether ours or the person's own is on no page, so it is no answer."""
    message_id = identifier(report.get("messageId"), "messageId")
    columns = person_columns(report.get("to")) | {"message_id": message_id}
    aside = infobip_results.aside(columns, report["deletedAt"])
    return other(origin, report, "statuses", "deleted", f"{message_id}\x1fdeleted", **aside)
