"""WhatsApp's `statuses[]`: receipts for our messages, which several providers pass on unchanged.

Facts: Meta's page `webhooks/reference/messages/status` (14 September 2026), and what real traffic showed
beyond it.
"""

from typing import Any, Final

from msgspec.structs import replace

from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Record, make_key
from gatherer.providers.base import ElementError
from gatherer.providers.elements import (
    as_json,
    dig,
    flag,
    identifier,
    integer,
    items,
    mapping,
    person_ids,
    reference,
    text,
)
from gatherer.providers.origin import Origin, other

STATUS_KINDS: Final = {
    "sent": Kind.SENT,
    "delivered": Kind.DELIVERED,
    "read": Kind.READ,
    "failed": Kind.FAILED,
    "played": Kind.PLAYED,  # first play of our voice message, since November 2025; stronger than read
    # Every other word is an other event. Known ones:
    #   deleted: on-premises; the *person* deleted a message, and `id` is the id of that message
    #   warning: on-premises; an item of the catalogue in our message is not available
    #   accepted, held_for_quality_assessment, paused: words of the send call that relays forward
    #   pending, captured, refunded, RINGING, …: payments and calls, which also say so in `type`
}

# The keys whose values columns hold. Everything else that a status carries goes into its details.
IN_COLUMNS: Final = frozenset(
    {
        "biz_opaque_callback_data",
        "errors",
        "extra",
        "group_id",
        "id",
        "participant_recipient_id",
        "pricing",
        "recipient_id",
        "recipient_participant_id",
        "recipient_participant_user_id",
        "recipient_type",
        "recipient_user_id",
        "status",
        "timestamp",
        "type",
    }
)
PRICES: Final = frozenset(["category", "pricing_model", "type", "billable"])
# The receipt of a message to a group has one of these at least.
GROUP: Final = frozenset(
    {
        "group_id",
        "participant_recipient_id",
        "recipient_participant_id",
        "recipient_participant_user_id",
        "recipient_type",
    }
)


def decode_status(origin: Origin, status: Any) -> Record:
    """Return the record of one element of `statuses[]`: a receipt, or an other event.

    Raises:
        ElementError: it has no id or no status, or an id of the wrong type.

    """
    if type(status) is not dict:
        raise ElementError("a status must be an object")
    get = status.get
    message_id = identifier(get("id"), "the id of a status")
    word = identifier(get("status"), "the word of a status").lower()
    raw = reference(get("recipient_id"), "recipient_id")
    user_id = reference(get("recipient_user_id"), "recipient_user_id")
    group_id = None
    group = None if GROUP.isdisjoint(status) else _read_group(status, raw, user_id)
    if group is not None:
        group_id, raw, user_id = group
    elif raw is None:
        # On-premises repeats the recipient in `message`; payments of some relays have `from` instead.
        raw = reference(mapping(get("message")).get("recipient_id") or get("from"), "recipient_id")
    phone = e164(raw)
    if phone is None:  # no user id is a phone, so only another address can be one
        raw, user_id = person_ids(raw, user_id)
    participant = "" if group is None else phone or user_id or raw or ""

    kind = STATUS_KINDS.get(word)
    status_type = get("type") or "message"
    if kind is None or status_type != "message":
        # A payment repeats its word with other content (a second refund); any other word comes once.
        identity = f"{message_id}\x1f{word}\x1f{participant}" if status_type == "message" else None
        return other(
            origin,
            status,
            "statuses",
            word,
            identity,
            message_id=message_id,
            phone=phone,
            user_id=user_id,
        )

    contact = origin.find_contact(raw, user_id)
    occurred_at, source = origin.when(get("timestamp"))
    details = {name: status[name] for name in status if name not in IN_COLUMNS}
    if details.get("message") == {"recipient_id": raw}:
        del details["message"]
    if (own_id := provider_id(status, message_id)) is not None:
        del details["gs_id"]
    if contact.more is not None:
        details["contact"] = contact.more
    pricing = get("pricing")
    if not pricing and "conversation" in status:
        pricing = dig(status, "conversation.pricing")  # as in Meta's sample for groups
    price = mapping(pricing)
    if pricing and (not price or not PRICES.issuperset(price)):
        details["pricing"] = pricing
    receipt = replace(  # with more keywords than about 14, CPython makes each call several times slower
        origin.blank(),
        key=make_key(WHATSAPP, kind, message_id, participant),
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        message_id=message_id,
        phone=phone,
        phone_raw=raw,
        user_id=user_id or contact.user_id,
        client_reference=_as_text(get("biz_opaque_callback_data"))
        or _as_text(get("extra")),  # EnableX: extra
        profile_name=contact.profile_name,
        group_id=group_id,
        details=as_json(details) if details else None,
    )
    if price:
        receipt = replace(
            receipt,
            pricing_category=text(price.get("category")),
            pricing_model=text(price.get("pricing_model")),
            pricing_type=text(price.get("type")) or text(price.get("pricing_type")),  # 2022: pricing_type
            billable=flag(price.get("billable")),
        )
    if get("errors"):
        receipt = replace(receipt, **read_errors(get("errors")))
    return receipt if own_id is None else replace(receipt, provider_message_id=own_id)


def provider_id(element: dict[str, Any], message_id: str) -> str | None:
    """Return the id that Gupshup adds to `element` as `gs_id`; None unless it differs from the `message_id`.

    Before WhatsApp has taken a message, its `id` is Gupshup's as well.
    """
    own_id = text(element.get("gs_id"))
    return own_id if own_id and own_id != message_id else None


def _read_group(
    status: dict[str, Any], raw: str | None, user_id: str | None
) -> tuple[str | None, str | None, str | None] | None:
    """Return the id of the group that the message of `status` went to, the address and the user id of the member.

    Args:
        status: the element.
        raw: its `recipient_id`.
        user_id: its `recipient_user_id`.

    Returns:
        None if the message went to no group.

    """
    get = status.get
    group_id = reference(get("group_id"), "group_id")
    member = get("recipient_participant_id") or get("participant_recipient_id")  # Meta prints both
    member_user_id = get("recipient_participant_user_id")
    names_group = get("recipient_type") == "group"
    if not (group_id or member or member_user_id or names_group):
        return None
    group_id = group_id or raw  # recipient_id is then the group's, never a phone
    if member or raw == group_id or names_group:
        raw = reference(member, "recipient_participant_id")
    # else: Meta's OpenAPI file has a group_id beside the recipient, who is then the member
    user_id = reference(member_user_id, "recipient_participant_user_id") or user_id
    return group_id, raw, user_id


def _as_text(client_reference: object) -> str | None:
    """Return what the sender attached, as text, or as JSON where it is something else; None for ''."""
    if client_reference is None or client_reference == "":
        return None
    return text(client_reference) or as_json(client_reference)


def read_errors(errors: object) -> dict[str, Any]:
    """Return the error columns: code, title and details of the first error, and all of them as JSON.

    Cloud API: `{code, title, message, error_data: {details}, href}`; on-premises and 2022: flat `details`.
    """
    listed = items(errors)
    first = mapping(listed[0]) if listed else {}
    data = mapping(first.get("error_data"))
    return {
        "error_code": integer(first.get("code")),
        "error_title": text(first.get("title")) or text(first.get("message")),
        "error_details": text(data.get("details")) or text(first.get("details")),
        "errors": as_json(listed) if listed else None,
    }
