"""Wati: one JSON object per event, in a form of its own.

Set-up
    In Wati, Webhooks → Add Webhook: enter the URL with its key (`url_key` of the endpoint), status Enabled,
    and tick Message Received, Session and Template Message Sent, Sent Message is DELIVERED, READ and REPLIED,
    Template Message FAILED and the template events. The v2 forms are enough, and carry the localMessageId of
    the send call; ticking both does no harm. Keep the URL: Wati's API cannot delete a webhook.

Mapping
    An event is known by its stem: `sentMessageREAD`, `sentMessageREAD_v2` and `_v2_bsuid` are the same fact.
    sessionMessageSent, templateMessageSent → sent. sentMessageDELIVERED → delivered. sentMessageREAD → read.
    templateMessageFailed, sessionMessageFailed → failed. message → replied or reacted, by its type; our own
    ones (owner) are other events. sentMessageREPLIED → reply_marker: the reply itself comes as `message`.
    ctaButtonClicked → clicked if it names message and person. templateReviewed, templateQualityUpdated,
    templateCategoryUpdated → template events. newContactMessageReceived and every other word → other events;
    so are payments, which arrive as WhatsApp's own `statuses` without eventType.
    localMessageId → client_reference. Wati's ids of conversation, ticket and record stay in the details.

Quirks
    Wati signs nothing and sends no header of its own: the key in the URL is all that tells it from others.
    Anything but 200 is sent again every 10 minutes, up to 144 times; after more than 100 failures in a row
    Wati marks the webhook Defective and mails the owner. Posts that cannot be decoded are therefore accepted.
    An inbound message says `SENT`. Only sent and answers carry the person's waId; `channelPhoneNumber` is
    ours. `templateMessageSent` has no timestamp, only when Wati stored it. Template notices have no time: the
    day of receipt is part of what tells them apart. What failed before WhatsApp took it goes by Wati's record
    id. “Trigger sample callback” posts that carry ids of Wati's documentation are marked as tests.
"""

import re
from typing import Any, Final

from msgspec.structs import replace

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import Kind, Reason, Record, Response, TemplateEvent, make_key
from gatherer.providers import wati_events
from gatherer.providers.base import Decoded, ElementError, Provider, reject
from gatherer.providers.elements import as_json, integer, mapping, reference, text
from gatherer.providers.origin import Origin, decode_one
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.wati_events import NAME
from gatherer.providers.wati_messages import decode_message
from gatherer.providers.whatsapp_envelope import Post, is_body
from gatherer.providers.whatsapp_statuses import read_errors

VERSION: Final = re.compile(r"_v\d.*", re.IGNORECASE | re.DOTALL)  # _v2, _v2_bsuid, whatever comes next

# stem of the eventType → what it says about our message
RECEIPTS: Final = {
    "sessionmessagesent": Kind.SENT,
    "templatemessagesent": Kind.SENT,
    "sentmessagedelivered": Kind.DELIVERED,
    "sentmessageread": Kind.READ,
    "sentmessagereplied": Kind.REPLY_MARKER,  # also on a page about template messages that failed: a slip
    "templatemessagefailed": Kind.FAILED,  # also written templateMessageFAILED_v2 in public set-up scripts
    "sessionmessagefailed": Kind.FAILED,  # undocumented, seen live
}
MESSAGES: Final = frozenset({"message", "messagereceived"})  # the second in public handlers only
CLICK: Final = "ctabuttonclicked"  # undocumented, seen live

# notices about templates; each may carry any of CHANGES
TEMPLATES: Final = frozenset({"templatereviewed", "templatequalityupdated", "templatecategoryupdated"})
# what changed → the words, Meta's, behind Wati's integers: https://support.wati.io/en/articles/15068845
CHANGES: Final = {
    "Status": "DRAFT PENDING APPROVED REJECTED DELETED PENDING_INTERNAL DISABLED PAUSED".split(),  # noqa: SIM905
    "Quality": ["UNKNOWN", "GREEN", "RED", "YELLOW"],
    "Category": [],  # says the word itself
}
# Ids in the samples of Wati's documentation
SAMPLES: Final = frozenset({"abcdefghi_jklmnop", "gBEGkXmJQZVJAgkRHwjjZsITS6M", "634930ab82538bf0845a116a"})


def decode(notification: Notification) -> Decoded:
    """Return every event of one post, or of an array of events, as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        return [reject(notification, NAME, "$", str(problem), Reason.UNREADABLE)]
    post = Post(notification, NAME)
    for i, event in enumerate(body if type(body) is list else [body]):
        path = f"$[{i}]" if type(body) is list else "$"
        if type(event) is dict and event.get("eventType") in (None, "") and is_body(event):
            post.decode_body(event, path)  # passed on from WhatsApp as it is
        else:
            decode_one(Origin(notification, NAME), event, _decode, path, post.decoded)
    return post.decoded


def _decode(origin: Origin, event: Any) -> Record:
    """Return what one event of Wati's says."""
    word = text(mapping(event).get("eventType"))
    if not word:
        raise ElementError("this is no Wati webhook: eventType is missing or no text", Reason.SHAPE)
    get = event.get
    origin.account_id = text(get("wabaId"))
    origin.phone_number_id = text(get("channelId"))
    origin.business_phone = e164(text(get("channelPhoneNumber")))
    origin.entry_at = timestamps.parse(get("created"))
    origin.is_test = not SAMPLES.isdisjoint(text(get(name)) for name in ("id", "whatsappMessageId"))
    stem = (name := VERSION.sub("", word)).lower()
    if stem in RECEIPTS:
        return _receipt(origin, event, RECEIPTS[stem])
    if stem in MESSAGES:
        return decode_message(origin, event)
    if stem in TEMPLATES:
        return _template(origin, event, name)
    if stem == CLICK and get("whatsappMessageId") and get("waId"):
        # the content tells one tap from the next
        key = make_key(NAME, Kind.CLICKED, wati_events.content(event))
        return replace(
            wati_events.response(origin, event, Kind.CLICKED, key),
            about_message_id=wati_events.identity(event)[1],
        )
    # newContactMessageReceived among them: no text and no WhatsApp id; the words come as `message` too.
    return wati_events.other_event(
        origin, event, "events", name, (NAME, f"{stem}\x1f{wati_events.content(event)}")
    )


def _receipt(origin: Origin, event: dict[str, Any], kind: Kind) -> Response:
    """Return what became of our message, or that somebody replied to it."""
    id_space, message_id = wati_events.identity(event)
    response = wati_events.response(origin, event, kind, make_key(id_space, kind, message_id))
    if kind is Kind.REPLY_MARKER:
        return replace(response, about_message_id=message_id)
    failure = {"code": event.get("failedCode"), "details": event.get("failedDetail")}
    errors = read_errors(failure) if any(failure.values()) else {}
    return replace(response, message_id=message_id, **errors)


def _template(origin: Origin, event: dict[str, Any], field: str) -> Record:
    """Return a notice about a template: its status, its quality or its category."""
    change = next((what for what in CHANGES if f"newTemplate{what}" in event), "Status")
    old_value, new_value = (
        _word(event.get(f"{age}Template{change}"), CHANGES[change]) for age in ("old", "new")
    )
    return origin.record(
        TemplateEvent,
        make_key(
            NAME, "template", f"{origin.notice_time()}\x1f{field.lower()}\x1f{wati_events.content(event)}"
        ),
        wati_events.when(event),
        field=field,
        event=new_value if change == "Status" else None,
        template_id=reference(event.get("templateId"), "templateId"),
        template_name=text(event.get("templateName")),
        template_category=new_value if change == "Category" else None,
        old_value=old_value,
        new_value=new_value,
        details=as_json(event),
    )


def _word(value: object, words: list[str]) -> str | None:
    """Return the word behind one of Wati's integers; an integer without one stays, and so does a word."""
    number = integer(value)
    if number is not None and 0 <= number < len(words):
        return words[number]
    return (text(value) or "").upper() or None


PROVIDER: Final = Provider(
    name=NAME,
    title="Wati",
    decode=decode,
    reports=frozenset([*RECEIPTS.values(), "replied", "reacted", "clicked", "template_event", "other"]),
    authentication="none of its own: a secret in the URL (url_key)",
    on_refusal="sends the post again; after more than 100 failures in a row marks the webhook Defective and mails you",
    retries="144 times, every 10 minutes: one day",
    documentation=__doc__,
)
