"""Records: the normalised facts that providers decode and targets store.

Each field declares the column of the same name in the target: its type, its width, and whether it may be NULL. A text
without a width is unlimited. `None` means that the provider did not give the value. Times end in `_at` and are aware
UTC; phones are E.164; ids are opaque, case-sensitive text.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, ClassVar, Literal, NamedTuple

import msgspec

WHATSAPP = "whatsapp"  # the id space of every id that WhatsApp assigned, whichever provider reports it


class Width(NamedTuple):
    """How much of a field a target stores. `gatherer.model.widths` makes longer texts fit, the same for all targets."""

    units: int  # bytes of bytes, UTF-16 code units of text
    is_id: bool = False  # two values must stay different when they are made to fit


# What many fields hold.
Key = Annotated[bytes, Width(16)]
Name = Annotated[str, Width(64)]  # of a provider, an inbox, a language
Term = Annotated[str, Width(100)]  # a fixed word of the provider, or the name of an endpoint
Word = Annotated[str, Width(255)]  # a word or short phrase of the provider
Id = Annotated[
    str, Width(450, is_id=True)
]  # 900 bytes, which is the longest key that every index of SQL Server takes
Phone = Annotated[str, Width(64)]


class Kind(StrEnum):
    """What happened to a message, or what the person did."""

    SENT = "sent"  # left WhatsApp's servers (one tick)
    DELIVERED = "delivered"  # reached a device (two ticks)
    READ = "read"  # shown in an open chat; only from people with read receipts on
    FAILED = "failed"  # could not be sent or delivered; see the error columns
    REACTED = "reacted"  # an emoji put on a message, changed, or taken back
    REPLIED = "replied"  # anything the person wrote, tapped or sent
    PLAYED = "played"  # one of our voice messages was listened to; implies read
    EDITED = "edited"  # the person changed what they had written
    REVOKED = "revoked"  # the person deleted what they had written
    OPTED_OUT = "opted_out"  # the person wants no more marketing
    OPTED_IN = "opted_in"  # the person wants marketing (again)
    CLICKED = "clicked"  # a link in our message was opened
    REPLY_MARKER = "reply_marker"  # the provider says there was a reply, without the reply


# The element itself, the entry around it, or only our clock. The sort order is the order of trust.
TimeSource = Literal["element", "entry", "receipt"]


def make_key(id_space: str, kind: str, id: str, participant: str = "") -> bytes:  # noqa: A002
    """Return the key of a fact: the first 16 bytes of a SHA-256 over the ids of the fact.

    Args:
        id_space: :data:`WHATSAPP`, or `provider:account` for ids that only that provider knows.
        kind: the response kind or event family.
        id: the provider's id of the message, or of what a notice is about.
        participant: the member of a group that a receipt is about; empty for one-to-one messages.

    """
    text = "\x1f".join((id_space, kind, id, participant))
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every record carries: its identity, its time, and where it came from."""

    table: ClassVar[str]

    key: Key  # the same for every delivery of one fact
    provider: Name  # the provider whose decoder made it
    endpoint: Term  # where it was received first
    inbox_id: Name  # the inbox and
    notification_id: int  # the notification it was received in first
    received_at: datetime  # when that was
    occurred_at: datetime  # when it happened
    occurred_at_source: Annotated[TimeSource, Width(16)]  # what gave that time
    account_id: Id | None = None  # our account at the provider (Meta: WABA id)
    is_test: bool = False  # dashboard tests and simulated traffic


class Response(Record, frozen=True, kw_only=True, gc=False):
    """A fact about one message and one person: a receipt or an answer."""

    table: ClassVar[str] = "response"

    kind: Annotated[Kind, Width(32)]
    message_id: Id | None = None  # receipts: our message. Answers: the person's own message
    # The provider's own id of that message, if the notification tells it beside WhatsApp's id, which is `message_id`
    provider_message_id: Id | None = None
    about_message_id: Id | None = None  # answers: the message reacted or replied to
    phone: Phone | None = None  # the person, E.164; None where WhatsApp withholds it
    phone_raw: Id | None = None  # the digits as they were received
    user_id: Id | None = None  # the person's business-scoped user id (BSUID)
    phone_number_id: Id | None = None  # our number's id at the provider
    business_phone: Phone | None = None  # our number, E.164
    client_reference: Annotated[str, Width(850, is_id=True)] | None = (
        None  # what the sender attached to our message
    )
    profile_name: str | None = None  # what the person calls themselves
    group_id: Id | None = None  # the group the message was written in
    emoji: Word | None = None  # reactions: '' = taken back; None = none, or unreadable
    reply_type: Term | None = None  # text, button, list, flow, image, … as the provider's type
    reply_text: str | None = None  # what a person would read: body, caption, button title
    reply_payload: str | None = None  # what a program would read: button id, Flow response_json verbatim
    media_id: Id | None = None
    media_type: Word | None = None  # MIME type
    error_code: int | None = None  # of the first error, and so are
    error_title: str | None = None
    error_details: str | None = None
    errors: str | None = None  # all errors as JSON; set whenever any error column is
    pricing_category: Term | None = None
    pricing_model: Term | None = None
    pricing_type: Term | None = None
    billable: bool | None = None
    details: str | None = None  # JSON: what else the element said (referral, context, conversation, …)


class TemplateEvent(Record, frozen=True, kw_only=True, gc=False):
    """A notice about a message template: status, quality, category or content."""

    table: ClassVar[str] = "template_event"

    field: Word  # the kind of notice, in the provider's own word
    event: Word | None = None  # APPROVED, REJECTED, PAUSED, …
    template_id: Id | None = None
    template_name: Annotated[str, Width(512)] | None = None
    template_language: Name | None = None
    template_category: Word | None = None
    reason: str | None = None
    old_value: str | None = None  # quality score, category or status before
    new_value: str | None = None  # and after
    details: str | None = None  # the whole notice as JSON


class FlowEvent(Record, frozen=True, kw_only=True, gc=False):
    """A notice about a Flow: a change of status, or an alert with its figures."""

    table: ClassVar[str] = "flow_event"

    event: Word | None = None  # FLOW_STATUS_CHANGE, ENDPOINT_LATENCY, …
    flow_id: Id | None = None
    message: str | None = None
    old_status: Word | None = None
    new_status: Word | None = None
    alert_state: Word | None = None  # ACTIVATED or DEACTIVATED
    threshold: float | None = None  # percent or milliseconds, as the alert has it
    error_rate: float | None = None  # percent
    availability: float | None = None  # percent
    p50_latency_ms: float | None = None
    p90_latency_ms: float | None = None
    requests_count: int | None = None
    errors: str | None = None  # JSON list of error types with rates and counts
    warning: str | None = None
    details: str | None = None  # the whole notice as JSON


class AccountEvent(Record, frozen=True, kw_only=True, gc=False):
    """A notice about our account, one of our numbers, or what we may do with them."""

    table: ClassVar[str] = "account_event"

    field: Word  # the kind of notice, in the provider's own word
    event: Word | None = None
    entity_type: Word | None = None
    entity_id: Id | None = None
    business_phone: Phone | None = None
    severity: Word | None = None
    old_value: str | None = None
    new_value: str | None = None
    reason: str | None = None
    details: str | None = None  # the whole notice as JSON


class OtherEvent(Record, frozen=True, kw_only=True, gc=False):
    """An element that is real but not modelled: kept whole, so that nothing disappears."""

    table: ClassVar[str] = "other_event"

    family: Word  # where it was found: messages, statuses, calls, history, …
    name: Word | None = None  # its type, status or event word
    message_id: Id | None = None
    phone: Phone | None = None
    user_id: Id | None = None
    details: str | None = None  # the element as JSON


class MessageIdPair(Record, frozen=True, kw_only=True, gc=False):
    """Two ids of one message: a response had both. Ids count whichever provider told them."""

    table: ClassVar[str] = "message_id_pair"

    provider_message_id: Id
    message_id: Id  # WhatsApp's, or the one by which the message goes where WhatsApp gave none


class Reason(StrEnum):
    """Why something was rejected, as classes that stay the same when the wording changes."""

    UNREADABLE = "unreadable"  # the body is not valid JSON (or not a valid form)
    SHAPE = "shape"  # JSON, but not the provider's envelope
    ELEMENT = "element"  # one element is not what it claims to be
    MISSING_ID = "missing_id"  # an element without the id that would make it a fact
    UNKNOWN_PROVIDER = "unknown_provider"  # a provider, or a mapping, that this installation does not have
    DECODER = "decoder"  # the decoder itself failed: a defect of gatherer
    LIMIT = "limit"  # more elements or rejections than one notification may have
    REFUSED = "refused"  # the target did not accept the record


class Rejected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One element or notification that could not be decoded or stored, and why."""

    table: ClassVar[str] = "rejected"
    body_fields: ClassVar = ("body", "content_type")  # columns of `rejected_notification`, not of this table

    key: Key  # over provider, path, class of reason and bytes: redelivery does not double it
    provider: Name
    endpoint: Term
    inbox_id: Name
    notification_id: int
    received_at: datetime
    path: str  # JSON path of the element in the body; "$" is the whole
    reason_class: Annotated[Reason, Width(32)]
    reason: str  # one sentence
    body_key: Key  # identifies the bytes of the notification
    body: bytes  # those bytes, of which a target keeps one copy
    content_type: str | None = None


TABLES: tuple[type[Record], ...] = (
    Response,
    TemplateEvent,
    FlowEvent,
    AccountEvent,
    OtherEvent,
    MessageIdPair,
)
