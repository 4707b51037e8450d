"""Meta's notices about templates, Flows and our account: fields whose whole `value` is the element.

They carry no `metadata`: the account is the entry's id and the time is the entry's time, which is also
part of their identity, because the same event (APPROVED) legitimately comes again.
Facts: Meta's pages of these fields (2025-2026); the figures of Flows: `flows/reference/webhooks`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, AccountEvent, FlowEvent, Record, TemplateEvent, make_key
from gatherer.providers.elements import as_json, dig, integer, items, number, reference, text
from gatherer.providers.origin import Origin

Decode: TypeAlias = Callable[[str, Origin, dict[str, Any]], Record]
# column → the paths where a notice may have it; the first one that holds a text or number counts
Paths: TypeAlias = Mapping[str, tuple[str, ...]]

TEMPLATES: Final[dict[str, Paths]] = {
    "message_template_status_update": {
        "new_value": ("event",),
        "reason": ("reason", "rejection_info.reason", "other_info.title"),
    },
    "message_template_quality_update": {
        "old_value": ("previous_quality_score",),
        "new_value": ("new_quality_score",),
    },
    "message_template_components_update": {},  # the content: all of it is in the details
    # Done: previous_category → new_category. Impending: new_category is the *current* one, and
    # correct_category what it will become at category_update_timestamp.
    "template_category_update": {
        "old_value": ("previous_category", "new_category"),
        "new_value": ("correct_category", "new_category"),
    },
    "template_correct_category_detection": {  # seen in libraries only, in two forms
        "old_value": ("current_category",),
        "new_value": ("suggested_category", "correct_category"),
    },
    "template_performance_metrics": {},  # weekly counts; rarely seen since 2022
}

ACCOUNTS: Final[dict[str, Paths]] = {
    "account_update": {
        "new_value": ("country", "ban_info.waba_ban_state", "volume_tier_info.tier"),
        "reason": (
            "violation_info.violation_type",
            "restriction_info.restriction_type",
            "disconnection_info.reason",
        ),
        "business_phone": ("phone_number",),
    },
    "account_alerts": {  # the dashboard's test and older alerts are flat
        "event": ("alert_info.alert_type", "alert_type"),
        "entity_type": ("entity_type",),
        "entity_id": ("entity_id",),
        "severity": ("alert_info.alert_severity", "alert_severity"),
        "new_value": ("alert_info.alert_status", "alert_status"),
        "reason": ("alert_info.alert_description", "alert_description"),
    },
    "account_review_update": {"event": ("decision",)},
    "account_settings_update": {
        "event": ("type",),
        "entity_id": ("phone_number_settings.phone_number_id",),
    },
    "business_capability_update": {  # the first is TIER_… or a number; the second is gone since February 2026
        "new_value": ("max_daily_conversations_per_business", "max_daily_conversation_per_phone"),
    },
    "business_status_update": {},
    "phone_number_quality_update": {
        "old_value": ("old_limit",),
        "new_value": ("current_limit", "max_daily_conversations_per_business"),
    },
    "phone_number_name_update": {
        "event": ("decision",),
        "new_value": ("requested_verified_name",),
        "reason": ("rejection_reason",),
    },
    "business_username_updates": {"event": ("status",), "new_value": ("username",)},
    "phone_number_username_update": {"event": ("status",), "new_value": ("username",)},  # drafts of 2025
    "security": {"entity_id": ("requester",)},
    "payment_configuration_update": {"event": ("status",), "entity_id": ("configuration_name",)},
    "partner_solutions": {"entity_id": ("solution_id",), "new_value": ("solution_status",)},
}


def decode_template(field: str, origin: Origin, value: dict[str, Any]) -> Record:
    """Return the notice about a template in the `value` of `field`.

    Raises:
        ElementError: the template's id is neither text nor number.

    """
    template_id = reference(value.get("message_template_id"), "message_template_id")  # beyond 2**53
    language = text(value.get("message_template_language"))  # en_US, en-US and en all occur
    event = text(value.get("event"))
    columns = _read(value, TEMPLATES.get(known_name(field), {}))
    if event is None and known_name(field) == "template_category_update" and "correct_category" in value:
        event = "IMPENDING"  # ours: Meta tells the announcement from the change by its keys only
    details = as_json(value)
    identity = (
        origin.account_id,
        field,
        template_id,
        language,
        event or columns.get("new_value"),
        origin.notice_time() or details,
    )
    return origin.record(
        TemplateEvent,
        _key("template", identity),
        None,
        field=field,
        event=event,
        template_id=template_id,
        template_name=text(value.get("message_template_name")),
        template_language=language,
        template_category=text(value.get("message_template_category")),
        details=details,
        **columns,
    )


def decode_flow(field: str, origin: Origin, value: dict[str, Any]) -> Record:
    """Return the notice about a Flow in `value`: a change of status, or an alert with its figures.

    Raises:
        ElementError: the Flow's id is neither text nor number.

    """
    flow_id = reference(value.get("flow_id"), "flow_id")
    event = text(value.get("event"))
    alert_state = text(value.get("alert_state"))
    new_status = text(value.get("new_status"))
    threshold = number(value.get("threshold"))
    errors = items(value.get("errors"))
    details = as_json(value)
    identity = (
        origin.account_id,
        flow_id,
        event,
        alert_state or new_status or text(value.get("warning")),
        text(threshold),
        origin.notice_time() or details,
    )
    return origin.record(
        FlowEvent,
        _key(field, identity),
        None,
        event=event,
        flow_id=flow_id,
        message=text(value.get("message")),
        old_status=text(value.get("old_status")),  # missing when the Flow is created
        new_status=new_status,
        alert_state=alert_state,
        threshold=threshold,
        error_rate=number(value.get("error_rate")),
        availability=number(value.get("availability")),  # not in Meta's table of keys, but in its sample
        p50_latency_ms=number(value.get("p50_latency")),
        p90_latency_ms=number(value.get("p90_latency")),
        requests_count=integer(value.get("requests_count")),
        errors=as_json(errors) if errors else None,
        warning=text(value.get("warning")),
        details=details,
    )


def decode_account(field: str, origin: Origin, value: dict[str, Any]) -> Record:
    """Return the notice about our account or one of our numbers in the `value` of `field`."""
    columns = {"event": text(value.get("event"))} | _read(value, ACCOUNTS.get(known_name(field), {}))
    phone = columns.pop("business_phone", None) or text(value.get("display_phone_number"))
    details = as_json(value)
    identity = (origin.account_id, field, origin.notice_time(), details)
    return origin.record(
        AccountEvent,
        _key("account", identity),
        value.get("timestamp"),
        field=field,
        business_phone=e164(phone),
        details=details,
        **columns,
    )


def _read(value: dict[str, Any], paths: Paths) -> dict[str, str | None]:
    """Return the columns that `paths` lead to. Meta's word NONE is no reason while another path has one."""
    columns: dict[str, str | None] = {}
    for column, candidates in paths.items():
        words = [word for path in candidates if (word := text(dig(value, path)))]
        columns[column] = next((word for word in words if word != "NONE"), words[0] if words else None)
    return columns


def _key(family: str, identity: tuple[str | None, ...]) -> bytes:
    return make_key(WHATSAPP, family, "\x1f".join(part or "" for part in identity))


NOTICES: Final[dict[str, Decode]] = {
    **dict.fromkeys(TEMPLATES, decode_template),
    "flows": decode_flow,
    **dict.fromkeys(ACCOUNTS, decode_account),
}

# Meta renames fields: the singular for the plural, or other words after the same first ones. The first words tell
# the family; the raw name stays in the record.
FAMILIES: Final[tuple[tuple[str, Decode], ...]] = (
    ("message_template_", decode_template),
    ("template_", decode_template),
    ("account_", decode_account),
    ("business_", decode_account),
    ("phone_number_", decode_account),
)
_KNOWN_NAMES: Final = {name.rstrip("s"): name for name in NOTICES}


def known_name(field: str) -> str:
    """Return the name under which the notices of `field` are known, with or without an s at the end."""
    return field if field in NOTICES else _KNOWN_NAMES.get(field.lower().rstrip("s"), field)


def decoder_of_notice(field: str) -> Decode | None:
    """Return the decoder of the notices of `field`; None if it is of no known family."""
    decode = NOTICES.get(known_name(field))
    if decode is None:
        return next((decode for stem, decode in FAMILIES if field.lower().startswith(stem)), None)
    return decode


# Keys that tell what a value is when its field does not: Meta's own sample of a quality notice says
# message_template_status_update, and relays forward the value alone.
TELLING_KEYS: Final = {
    "new_quality_score": "message_template_quality_update",
    "message_template_element": "message_template_components_update",
    "previous_category": "template_category_update",
    "category_update_timestamp": "template_category_update",
    "message_template_id": "message_template_status_update",
    "flow_id": "flows",
}


def field_of(field: str | None, value: dict[str, Any]) -> str | None:
    """Return the field that `value` really belongs to: a look at its keys corrects `field`."""
    if (field is None or field == "message_template_status_update") and not TELLING_KEYS.keys().isdisjoint(
        value
    ):
        return next(TELLING_KEYS[key] for key in TELLING_KEYS if key in value)
    return field
