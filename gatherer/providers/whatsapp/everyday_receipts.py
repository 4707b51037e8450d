"""The everyday body: nothing but receipts, as Meta has sent them since 2026. Most requests have one.

Such a body is decoded straight into typed objects, several times faster than through dictionaries. The types
below allow what is usual and nothing else: a body that has one key more, or one value of another type, is
not decoded here at all but by :mod:`gatherer.providers.whatsapp.envelope`, which knows everything. Both make
the same records of the same bytes; `tests/providers/test_everyday_receipts.py` proves it.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Response, make_key
from gatherer.providers.base import Decoded
from gatherer.providers.elements import as_json, business_e164, person_ids
from gatherer.providers.origin import Origin
from gatherer.providers.paths import Path, Paths

# The dashboard's Test button sends this account and number; simulated traffic is marked the same way.
# https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
TEST_ACCOUNT: Final = "0"
TEST_PHONE_NUMBER_ID: Final = "123456123"

KINDS: Final = {"sent": Kind.SENT, "delivered": Kind.DELIVERED, "read": Kind.READ, "played": Kind.PLAYED}


# Longer texts may be too long for their columns. They are rare, and take the long way. In characters: half of the width,
# as each can be two UTF-16 code units.
Id = Annotated[str, msgspec.Meta(max_length=225)]
Reference = Annotated[str, msgspec.Meta(max_length=425)]
Term = Annotated[str, msgspec.Meta(max_length=50)]


class Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part of the body that may have the keys named here, and no others."""


class Pricing(Part):
    """What a message cost."""

    category: Term | None = None
    pricing_model: Term | None = None
    type: Term | None = None
    billable: bool | None = None


class ConversationOrigin(Part):
    """Who began a conversation. What is not there stays out of the details."""

    type: str | msgspec.UnsetType = msgspec.UNSET


class Conversation(Part):
    """What a message was charged as up to version 23 of Meta's API; since then only for free entry points."""

    id: str | msgspec.UnsetType = msgspec.UNSET
    expiration_timestamp: str | int | msgspec.UnsetType = msgspec.UNSET
    origin: ConversationOrigin | msgspec.UnsetType = msgspec.UNSET


class Status(Part):
    """A receipt for one message to one person."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=225)]
    status: Literal["sent", "delivered", "read", "played"]
    timestamp: str | int | None = None
    recipient_id: Id | None = None
    recipient_user_id: Id | None = None
    biz_opaque_callback_data: Reference | None = None
    pricing: Pricing | None = None
    conversation: Conversation | msgspec.UnsetType = msgspec.UNSET


class Profile(Part):
    """What people call themselves."""

    name: str | None = None


class Contact(Part):
    """A person whom statuses are about."""

    wa_id: Id | None = None
    user_id: Id | None = None
    profile: Profile | None = None


NO_CONTACT: Final = Contact()
NO_PRICE: Final = Pricing()


class Metadata(Part):
    """Our number."""

    display_phone_number: str | None = None
    phone_number_id: Id | None = None


class Value(Part):
    """The receipts of one number."""

    statuses: list[Status]
    metadata: Metadata | None = None
    contacts: list[Contact] | None = None
    messaging_product: str | None = None


class Change(Part):
    """The only field in which receipts are everyday."""

    field: Literal["messages"]
    value: Value


class Entry(Part):
    """One account."""

    changes: list[Change]
    id: Id | None = None
    time: int | None = None


class Body(Part):
    """The whole body."""

    entry: list[Entry]
    object: Literal["whatsapp_business_account"]


_decode = msgspec.json.Decoder(Body).decode
NUL: Final = b"\\u0000"  # texts with one have to be cleaned first


def decode_receipts(notification: Notification, provider: str) -> Decoded | None:
    """Return the receipts in an everyday body, or None if it is any other."""
    try:
        body = _decode(notification.body)
    except (ValueError, RecursionError):  # what msgspec raises is a ValueError
        return None
    if b"\\" in notification.body and NUL in notification.body:  # one byte is found much faster than six
        return None
    receipts: Receipts = Receipts()
    receipts.body = body
    for entry in body.entry:
        for change in entry.changes:
            entry_at = timestamps.parse(entry.time) if entry.time else None
            origin = Origin(notification, provider, entry.id, entry_at)
            _decode_value(origin, change.value, receipts)
            if origin.raw_time is not None:
                return None
    return receipts


class Receipts(Decoded):
    """The receipts of a body. Their paths are found in it when the caller wants them: usually that is never."""

    __slots__ = ("body",)
    fits = True  # the types of the body allow nothing longer
    __init__ = list.__init__  # nothing to prepare: a call saved for each body

    body: Body

    @property
    def paths(self) -> list[Paths]:
        """The paths of each receipt, in their order: its own, and that of its contact if there is one."""
        paths: list[Paths] = []
        for e, entry in enumerate(self.body.entry):
            for c, change in enumerate(entry.changes):
                _locate_receipts(change.value, ("entry", e, "changes", c, "value"), paths)
        return paths


def _locate_receipts(value: Value, path: Path, paths: list[Paths]) -> None:
    contacts: dict[str, int] = {}
    for i, contact in enumerate(value.contacts or ()):
        if contact.wa_id:
            contacts[contact.wa_id] = i
        if contact.user_id:
            contacts[contact.user_id] = i
    for i, status in enumerate(value.statuses):
        number = contacts.get(status.recipient_id or "")
        if number is None:
            number = contacts.get(status.recipient_user_id or "")
        own = (*path, "statuses", i)
        paths.append((own,) if number is None else (own, (*path, "contacts", number)))


def _decode_value(origin: Origin, value: Value, receipts: Decoded) -> None:
    metadata = value.metadata
    if metadata is not None:
        origin.phone_number_id = metadata.phone_number_id
        origin.business_phone = business_e164(metadata.display_phone_number)
    origin.is_test = origin.account_id == TEST_ACCOUNT or origin.phone_number_id == TEST_PHONE_NUMBER_ID
    contacts: dict[str, Contact] = {}
    for contact in value.contacts or ():
        if contact.wa_id and "." in contact.wa_id:
            contact.wa_id, contact.user_id = person_ids(contact.wa_id, contact.user_id)
        if contact.wa_id:
            contacts[contact.wa_id] = contact
        if contact.user_id:
            contacts[contact.user_id] = contact
    for status in value.statuses:
        known = contacts.get(status.recipient_id or "") or contacts.get(status.recipient_user_id or "")
        receipts.append(_receipt(origin, status, known or NO_CONTACT))


def _receipt(origin: Origin, status: Status, contact: Contact) -> Response:
    kind = KINDS[status.status]
    occurred_at, source = origin.when(status.timestamp)
    pricing = status.pricing or NO_PRICE
    raw, user_id = status.recipient_id or None, status.recipient_user_id
    phone = e164(raw)
    if phone is None:  # no user id is a phone, so only another address can be one
        raw, user_id = person_ids(raw, user_id)
    receipt = replace(
        origin.blank(),
        key=make_key(WHATSAPP, kind, status.id),
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        message_id=status.id,
        phone=phone,
        phone_raw=raw,
        user_id=user_id or contact.user_id or None,
        client_reference=status.biz_opaque_callback_data or None,
        profile_name=contact.profile.name if contact.profile is not None else None,
        pricing_category=pricing.category,
        pricing_model=pricing.pricing_model,
        pricing_type=pricing.type or None,
        billable=pricing.billable,
    )
    if status.conversation is not msgspec.UNSET:
        receipt = replace(receipt, details=as_json({"conversation": status.conversation}))
    return receipt
