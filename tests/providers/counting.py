"""Counts the elements of a body by the rules of the reference, without any help from a decoder.

Every element has to end as exactly one record or one rejection; this says how many there are. A provider's
count takes the JSON value of a body and returns a number.
"""

from collections.abc import Callable
from typing import Any

NOTICES = frozenset(
    [
        "message_template_status_update",
        "message_template_quality_update",
        "message_template_components_update",
        "template_category_update",
        "template_correct_category_detection",
        "template_performance_metrics",
        "flows",
        "account_update",
        "account_alerts",
        "account_review_update",
        "account_settings_update",
        "business_capability_update",
        "business_status_update",
        "phone_number_quality_update",
        "phone_number_name_update",
        "business_username_updates",
        "phone_number_username_update",
        "security",
        "payment_configuration_update",
        "partner_solutions",
    ]
)
ARRAYS = frozenset(
    [
        "statuses",
        "messages",
        "errors",
        "user_preferences",
        "user_actions",
        "calls",
        "message_echoes",
        "history",
        "groups",
        "events",
        "automatic_events",
        "user_id_update",
        "state_sync",
    ]
)
BARE = (ARRAYS - {"events", "groups"}) | {"contacts", "messaging_product"}
OF_A_NOTICE = (
    "new_quality_score",
    "message_template_element",
    "previous_category",
    "category_update_timestamp",
    "message_template_id",
    "flow_id",
)
AROUND = ("messaging_product", "metadata", "contacts", "business_phone")
NOT_WHATSAPP = ("page", "instagram", "user", "permissions", "ad_account")


def count_whatsapp(body: Any) -> int:
    """Count the elements of a body, or an array of bodies, in any shape of WhatsApp's."""
    if isinstance(body, list):
        return sum(_body(part) for part in body)
    return _body(body)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _body(body: Any) -> int:
    if not isinstance(body, dict) or body.get("object") in NOT_WHATSAPP:
        return 1
    if "entry" in body:
        return sum(_entry(entry) for entry in _several(body["entry"]))
    if "changes" in body:
        return _entry(body)
    if "field" in body and "value" in body:
        return _change(body)
    if "event" in body and isinstance(body.get("data"), dict):
        return _value(body["event"], body["data"])
    if BARE & body.keys() or any(key in body for key in OF_A_NOTICE):
        return _value(None, body)
    return 1


def _entry(entry: Any) -> int:
    if not isinstance(entry, dict):
        return 1
    if "changes" not in entry:
        return 1 if entry.keys() - {"id", "time"} else 0
    return sum(_change(change) for change in _several(entry["changes"]))


def _change(change: Any) -> int:
    if not isinstance(change, dict) or not isinstance(change.get("value"), dict):
        return 1
    return _value(change.get("field"), change["value"])


def _is_renamed_notice(field: Any) -> bool:
    """Tell whether `field` is a notice under another name: in the singular, or with new words after known ones."""
    stems = ("message_template_", "template_", "account_", "business_", "phone_number_")
    return isinstance(field, str) and (
        field.lower().rstrip("s") in {name.rstrip("s") for name in NOTICES} or field.lower().startswith(stems)
    )


def _value(field: Any, value: dict[str, Any]) -> int:
    if not isinstance(field, str):
        field = str(field) if type(field) in (int, float) else None
    if field != "messages" and not ("statuses" in value or "messages" in value):
        if (
            field in NOTICES
            or (_is_renamed_notice(field) and not ARRAYS & value.keys())
            or (field is None and any(key in value for key in OF_A_NOTICE))
        ):
            return 1
        if not ARRAYS & value.keys() and (field is not None or not BARE & value.keys()):
            return 1
    parts = {name: part for name, part in value.items() if name not in AROUND and part is not None}
    elements = [part for name, part in parts.items() if name in ARRAYS or isinstance(part, list | dict)]
    if elements:
        return sum(len(_several(part)) for part in elements)
    return 1 if value.get("contacts") else len(parts)


def count_infobip(body: Any) -> int:
    """Count the reports and messages of a body of Infobip's; a body without `results` counts as one."""
    return len(_several(body["results"])) if isinstance(body, dict) and "results" in body else 1


def count_wati(body: Any) -> int:
    """Count the elements of a body: one for each event, but WhatsApp's own count where it is WhatsApp's."""

    def count(event: Any) -> int:
        if isinstance(event, dict) and (event.get("eventType") is None or event.get("eventType") == ""):
            return count_whatsapp(event)
        return 1

    return sum(map(count, body)) if isinstance(body, list) else count(body)


def count_enablex(body: Any) -> int:
    """Count the elements of a body: a template update counts as one; else WhatsApp's count."""

    def count(event: Any) -> int:
        if not isinstance(event, dict):
            return 1
        of_whatsapp = {"statuses", "messages", "entry", "changes", "value", *OF_A_NOTICE}
        words = [event.get(word) for word in ("event", "event_type", "type", "field")] + list(event)
        if not of_whatsapp & event.keys() and any(
            "template" in word.lower() for word in words if isinstance(word, str)
        ):
            return 1
        return count_whatsapp(event)

    return sum(map(count, body)) if isinstance(body, list) else count(body)


COUNTS: dict[str, Callable[[Any], int]] = {
    "meta": count_whatsapp,
    "onprem": count_whatsapp,
    "twilio": lambda body: 1,  # a form is one element, and JSON in its place one rejection
    "infobip": count_infobip,
    "wati": count_wati,
    "enablex": count_enablex,
}


def _alone(body: Any) -> int:
    """Count the body itself: it is the only element, or rejected."""
    return 1


def count_azure(body: Any) -> int:
    """Count the events of an array; a body of nothing is rejected as a whole."""
    return 1 if body is None else len(_several(body))


def count_courier(body: Any) -> int:
    """Count the events of each account; an account without `events` is rejected, and so is a body without accounts."""
    if not isinstance(body, dict) or "accounts" not in body:
        return 1
    return sum(
        len(_several(account["events"])) if isinstance(account, dict) and "events" in account else 1
        for account in _several(body["accounts"])
    )


# Of the provider `json`, by the name of the mapping
COUNTS_OF_MAPPINGS: dict[str, Callable[[Any], int]] = {
    "azure": count_azure,
    "bird": _alone,
    "ycloud": _alone,
    "8x8": _alone,
    "courier": count_courier,
}
