"""Records: the normalised facts that providers decode and targets store.

Every field is a promise about a column of the same name in the target. `None` means the provider did
not say. Times end in `_at` and are aware UTC; phones are E.164; ids are opaque, case-sensitive text.
"""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import ClassVar, Literal

import msgspec

WHATSAPP = "whatsapp"  # the id space of every id that WhatsApp itself gave out, whoever reports it


class Kind(StrEnum):
    """What a response says about a message and a person."""

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


TimeSource = Literal["element", "entry", "receipt"]  # the sort order is the order of trust


def make_key(id_space: str, kind: str, id: str, participant: str = "") -> bytes:  # noqa: A002
    """Return the 16 bytes that identify a fact: the first of the SHA-256 of what makes it one.

    Args:
        id_space: :data:`WHATSAPP`, or `provider:account` for ids that only that provider knows.
        kind: the response kind or event family.
        id: the provider's own id of the message, or what else identifies a notice.
        participant: the member of a group that a receipt is about; empty for one-to-one messages.

    """
    text = "\x1f".join((id_space, kind, id, participant))
    return sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every record carries: its identity, its time, and where it came from."""

    table: ClassVar[str]

    key: bytes  # 16 bytes: same fact, same key
    provider: str  # whose decoder made it
    endpoint: str  # where it was received first
    inbox_id: str  # the inbox and
    notification_id: int  # the notification it was received in first
    received_at: datetime  # when that was
    occurred_at: datetime  # when it happened
    occurred_at_source: TimeSource  # who says so: the element, its entry, or only our clock
    account_id: str | None = None  # the provider's account of ours (Meta: WABA id)
    is_test: bool = False  # dashboard tests and simulated traffic


class Response(Record, frozen=True, kw_only=True, gc=False):
    """A fact about one message and one person: a receipt or an answer."""

    table: ClassVar[str] = "response"

    kind: Kind
    message_id: str | None = None  # receipts: our message. Answers: the person's own message
    about_message_id: str | None = None  # answers: the message reacted or replied to
    phone: str | None = None  # the person, E.164; None where WhatsApp withholds it
    phone_raw: str | None = None  # the digits as they were received
    user_id: str | None = None  # the person's business-scoped user id (BSUID)
    phone_number_id: str | None = None  # our number's id at the provider
    business_phone: str | None = None  # our number, E.164
    client_reference: str | None = None  # what the sender attached to our message
    profile_name: str | None = None  # what the person calls themselves
    group_id: str | None = None  # the group the message was written in
    emoji: str | None = None  # reactions: '' = taken back; None = none, or unreadable
    reply_type: str | None = None  # text, button, list, flow, image, … as the provider's type
    reply_text: str | None = None  # what a person would read: body, caption, button title
    reply_payload: str | None = None  # what a program would read: button id, Flow response_json verbatim
    media_id: str | None = None
    media_type: str | None = None  # MIME type
    error_code: int | None = None  # of the first error, and so are
    error_title: str | None = None
    error_details: str | None = None
    errors: str | None = None  # all errors as JSON; set whenever any error column is
    pricing_category: str | None = None
    pricing_model: str | None = None
    pricing_type: str | None = None
    billable: bool | None = None
    details: str | None = None  # JSON: what else the element said (referral, context, conversation, …)


class TemplateEvent(Record, frozen=True, kw_only=True, gc=False):
    """A notice about a message template: status, quality, category or content."""

    table: ClassVar[str] = "template_event"

    field: str  # which notice: the provider's own word
    event: str | None = None  # APPROVED, REJECTED, PAUSED, …
    template_id: str | None = None
    template_name: str | None = None
    template_language: str | None = None
    template_category: str | None = None
    reason: str | None = None
    old_value: str | None = None  # quality score, category or status before
    new_value: str | None = None  # and after
    details: str | None = None  # the whole notice as JSON


class FlowEvent(Record, frozen=True, kw_only=True, gc=False):
    """A notice about a Flow: a change of status, or an alert with its figures."""

    table: ClassVar[str] = "flow_event"

    event: str | None = None  # FLOW_STATUS_CHANGE, ENDPOINT_LATENCY, …
    flow_id: str | None = None
    message: str | None = None
    old_status: str | None = None
    new_status: str | None = None
    alert_state: str | None = None  # ACTIVATED or DEACTIVATED
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

    field: str  # which notice: the provider's own word
    event: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    business_phone: str | None = None
    severity: str | None = None
    old_value: str | None = None
    new_value: str | None = None
    reason: str | None = None
    details: str | None = None  # the whole notice as JSON


class OtherEvent(Record, frozen=True, kw_only=True, gc=False):
    """An element that is real but not modelled: kept whole, so that nothing disappears."""

    table: ClassVar[str] = "other_event"

    family: str  # where it stood: messages, statuses, calls, history, …
    name: str | None = None  # its type, status or event word
    message_id: str | None = None
    phone: str | None = None
    user_id: str | None = None
    details: str | None = None  # the element as JSON


class Reason(StrEnum):
    """Why something was rejected, as classes that stay the same when the wording changes."""

    UNREADABLE = "unreadable"  # the body is no JSON (or form) at all
    SHAPE = "shape"  # JSON, but not the provider's envelope
    ELEMENT = "element"  # one element is not what it claims to be
    MISSING_ID = "missing_id"  # an element without the id that would make it a fact
    UNKNOWN_PROVIDER = "unknown_provider"  # stored for a provider that this installation does not have
    DECODER = "decoder"  # the decoder itself failed: a defect of ours
    REFUSED = "refused"  # the target would not take the record


class Rejected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One element or notification that could not be decoded or stored, and why."""

    table: ClassVar[str] = "rejected"

    key: bytes  # over provider, path, class of reason and bytes: redelivery does not double it
    provider: str
    endpoint: str
    inbox_id: str
    notification_id: int
    received_at: datetime
    path: str  # JSON path of the element in the body; "$" is the whole
    reason_class: Reason
    reason: str  # one sentence
    body_key: bytes  # identifies the bytes of the notification, which are kept once
    body: bytes  # those bytes
    content_type: str | None = None


TABLES: tuple[type[Record], ...] = (Response, TemplateEvent, FlowEvent, AccountEvent, OtherEvent)
