"""WhatsApp's own objects, statuses and messages, which several providers pass on unchanged.

Facts: Meta's pages `webhooks/reference/messages/*` (2026) and what real traffic showed beyond them.
"""

from datetime import datetime
from typing import Any, Final

from gatherer import timestamps
from gatherer.notification import Notification
from gatherer.phones import e164
from gatherer.providers.base import BadElement
from gatherer.providers.elements import (
    as_json,
    flag,
    identifier,
    integer,
    items,
    kept,
    mapping,
    reference,
    text,
)
from gatherer.records import WHATSAPP, Kind, OtherEvent, Record, Response, TimeSource, make_key

STATUS_KINDS: Final[dict[object, Kind]] = {
    "sent": Kind.SENT,
    "delivered": Kind.DELIVERED,
    "read": Kind.READ,
    "failed": Kind.FAILED,
    "played": Kind.PLAYED,  # our voice messages, since November 2025; stronger than read
}

MEDIA: Final = frozenset({"image", "video", "document", "audio", "voice", "sticker"})  # voice: on-premises

# `interactive.type` → our reply_type and the keys of what a person read and what a program reads
INTERACTIVE: Final = {
    "button_reply": ("button", "title", "id"),
    "list_reply": ("list", "title", "id"),
    "nfm_reply": ("flow", "body", "response_json"),  # JSON inside a string: kept verbatim
    "call_permission_reply": ("call_permission", "response", None),
}


class Origin:
    """Where a group of elements came from: what their records have in common."""

    __slots__ = ("account_id", "business_phone", "contacts", "entry_at", "is_test", "notification")
    __slots__ += ("phone_number_id", "provider")

    def __init__(self, notification: Notification, provider: str) -> None:
        self.notification = notification
        self.provider = provider
        self.account_id: str | None = None
        self.phone_number_id: str | None = None
        self.business_phone: str | None = None
        self.entry_at: datetime | None = None  # when the provider says it sent the notification
        self.contacts: dict[str, dict[str, Any]] = {}  # by phone digits and by user id
        self.is_test = False

    def when(self, claimed: object) -> tuple[datetime, TimeSource]:
        """Return the best time there is for an element that claims `claimed`, and who says so."""
        moment = timestamps.parse(claimed)
        if moment is not None:
            return moment, "element"
        if self.entry_at is not None:
            return self.entry_at, "entry"
        return self.notification.received_at, "receipt"


def index_contacts(contacts: object) -> dict[str, dict[str, Any]]:
    """Return `contacts[]` by `wa_id` and by `user_id`; they are not positional."""
    index: dict[str, dict[str, Any]] = {}
    for contact in items(contacts):
        if type(contact) is dict:
            for name in ("wa_id", "user_id"):
                if type(contact.get(name)) is str:
                    index[contact[name]] = contact
    return index


def other(
    origin: Origin, element: Any, family: str, name: str | None, identity: str | None = None
) -> OtherEvent:
    """Return `element` whole, for what is real but not modelled. `identity` defaults to its content."""
    details = as_json(element)
    fields = mapping(element)
    occurred_at, source = origin.when(fields.get("timestamp"))
    notification = origin.notification
    phone = fields.get("from") or fields.get("recipient_id")
    user_id = fields.get("from_user_id") or fields.get("recipient_user_id")
    return OtherEvent(
        key=make_key(WHATSAPP, f"other:{family}", identity or details),
        provider=origin.provider,
        endpoint=notification.endpoint,
        inbox_id=notification.inbox_id,
        notification_id=notification.id,
        received_at=notification.received_at,
        occurred_at=occurred_at,
        occurred_at_source=source,
        account_id=origin.account_id,
        is_test=origin.is_test,
        family=family,
        name=name,
        message_id=text(fields.get("id")),
        phone=e164(text(phone)),
        user_id=text(user_id),
        details=details,
    )


def decode_status(origin: Origin, status: Any) -> Record:
    """Return the receipt in one element of `statuses[]`, or an other event if it is none.

    Raises:
        BadElement: it has no id or no status, or one of the wrong type.

    """
    if type(status) is not dict:
        raise BadElement("a status must be an object")
    get = status.get
    message_id = identifier(get("id"), "statuses[].id")
    word = get("status")
    kind = STATUS_KINDS.get(word) if type(word) is str else None
    if kind is None:
        kind = STATUS_KINDS.get(identifier(word, "statuses[].status").lower())
    what = get("type")
    if kind is None or not (what is None or what == "message"):  # payments and calls are no receipts
        return other(origin, status, "statuses", text(word))

    participant = get("recipient_participant_id") or get("participant_recipient_id")  # Meta prints both
    participant_user = get("recipient_participant_user_id")
    group_id = get("group_id")
    if participant or participant_user or group_id or get("recipient_type") == "group":
        group_id = reference(group_id or get("recipient_id"))  # a group's id, never a phone
        raw = reference(participant)
        user_id = reference(participant_user)
        member = raw or user_id or ""
    else:
        raw = reference(get("recipient_id"))
        user_id = reference(get("recipient_user_id"))
        member = ""

    occurred_at, source = origin.when(get("timestamp"))
    contact = origin.contacts.get(raw or "") or origin.contacts.get(user_id or "")
    if contact is not None:
        user_id = user_id or text(contact.get("user_id"))
    errors = get("errors")
    code, title, error_details, all_errors = read_errors(errors) if errors else (None, None, None, None)
    conversation = get("conversation")
    pricing = get("pricing")
    if pricing is None and type(conversation) is dict:
        pricing = conversation.get("pricing")  # nested there in Meta's aggregated group sample
    price = pricing if type(pricing) is dict else {}
    notification = origin.notification
    return Response(
        key=make_key(WHATSAPP, kind, message_id, member),
        provider=origin.provider,
        endpoint=notification.endpoint,
        inbox_id=notification.inbox_id,
        notification_id=notification.id,
        received_at=notification.received_at,
        occurred_at=occurred_at,
        occurred_at_source=source,
        account_id=origin.account_id,
        is_test=origin.is_test,
        kind=kind,
        message_id=message_id,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id,
        phone_number_id=origin.phone_number_id,
        business_phone=origin.business_phone,
        client_reference=text(get("biz_opaque_callback_data")),
        profile_name=profile_name(contact),
        group_id=group_id,
        error_code=code,
        error_title=title,
        error_details=error_details,
        errors=all_errors,
        pricing_category=text(price.get("category")),
        pricing_model=text(price.get("pricing_model")),
        pricing_type=text(price.get("type") or price.get("pricing_type")),
        billable=flag(price.get("billable")),
        details=None if conversation is None else kept(conversation=conversation),
    )


def decode_message(origin: Origin, message: Any) -> Record:
    """Return the answer in one element of `messages[]`, or an other event if it is none.

    Raises:
        BadElement: it has no id, or one of the wrong type.

    """
    if type(message) is not dict:
        raise BadElement("a message must be an object")
    get = message.get
    message_id = identifier(get("id"), "messages[].id")
    what = text(get("type"))
    reader = READERS.get(what or "")
    if reader is None:
        return other(origin, message, "messages", what, message_id)
    answer = reader(mapping(get(what)))
    raw = reference(get("from"))
    user_id = reference(get("from_user_id"))
    contact = origin.contacts.get(raw or "") or origin.contacts.get(user_id or "")
    if contact is not None:
        user_id = user_id or text(contact.get("user_id"))
    occurred_at, source = origin.when(get("timestamp"))
    context = mapping(get("context"))
    kind = answer.pop("kind", Kind.REPLIED)
    answer.setdefault("reply_type", what if kind is Kind.REPLIED else None)
    answer.setdefault("about_message_id", reference(context.get("id")))
    flags = {name: part for name, part in context.items() if name not in ("id", "from")}
    notification = origin.notification
    return Response(
        key=make_key(WHATSAPP, kind, message_id),
        provider=origin.provider,
        endpoint=notification.endpoint,
        inbox_id=notification.inbox_id,
        notification_id=notification.id,
        received_at=notification.received_at,
        occurred_at=occurred_at,
        occurred_at_source=source,
        account_id=origin.account_id,
        is_test=origin.is_test,
        kind=kind,
        message_id=message_id,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id,
        phone_number_id=origin.phone_number_id,
        business_phone=origin.business_phone,
        profile_name=profile_name(contact),
        group_id=reference(get("group_id")),
        details=kept(context=flags or None, referral=get("referral"), identity=get("identity")),
        **answer,
    )


def profile_name(contact: dict[str, Any] | None) -> str | None:
    """Return what the person calls themselves, if the contact says so."""
    return None if contact is None else text(mapping(contact.get("profile")).get("name"))


def read_errors(errors: object) -> tuple[int | None, str | None, str | None, str | None]:
    """Return code, title and details of the first error, and all of them as JSON."""
    listed = items(errors)
    first = mapping(listed[0]) if listed else {}
    data = mapping(first.get("error_data"))
    title = text(first.get("title")) or text(first.get("message"))
    details = text(data.get("details")) or text(first.get("details"))  # flat in the older forms
    return integer(first.get("code")), title, details, as_json(listed) if listed else None


def _text(body: dict[str, Any]) -> dict[str, Any]:
    return {"reply_text": text(body.get("body"))}


def _media(media: dict[str, Any]) -> dict[str, Any]:
    return {
        "reply_text": text(media.get("caption")),
        "media_id": reference(media.get("id")),
        "media_type": text(media.get("mime_type")),
        "reply_payload": text(media.get("filename")),
    }


def _button(button: dict[str, Any]) -> dict[str, Any]:
    return {"reply_text": text(button.get("text")), "reply_payload": text(button.get("payload"))}


def _interactive(interactive: dict[str, Any]) -> dict[str, Any]:
    what = text(interactive.get("type")) or ""
    chosen = mapping(interactive.get(what))
    reply_type, readable, payload = INTERACTIVE.get(what, (what or "interactive", None, None))
    if payload is None:  # nothing a program would look up: keep what there is
        machine = as_json(chosen) if chosen else None
    else:
        machine = text(chosen.get(payload))
    return {
        "reply_type": reply_type,
        "reply_text": text(chosen.get(readable)) if readable else None,
        "reply_payload": machine,
    }


def _reaction(reaction: dict[str, Any]) -> dict[str, Any]:
    emoji = reaction.get("emoji", "")  # Meta leaves the key out when a reaction is taken back
    about = reaction.get("message_id") or reaction.get("messsage_id")  # some relays misspell it
    return {
        "kind": Kind.REACTED,
        "emoji": emoji if type(emoji) is str else None,
        "about_message_id": reference(about),
    }


def _whole(content: dict[str, Any]) -> dict[str, Any]:
    readable = text(content.get("text")) or text(content.get("name"))  # an order's note, a place's name
    return {"reply_text": readable, "reply_payload": as_json(content) if content else None}


READERS: Final = {
    "text": _text,
    "button": _button,  # the quick-reply button of a template
    "interactive": _interactive,
    "reaction": _reaction,
    "location": _whole,
    "contacts": _whole,
    "order": _whole,
} | dict.fromkeys(MEDIA, _media)
