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

from gatherer import timestamps
from gatherer.notification import Notification
from gatherer.phones import e164
from gatherer.providers.base import BadElement, Decoded, Provider, reject
from gatherer.providers.elements import as_json, identifier, integer, kept, mapping, reference, text
from gatherer.providers.origin import Origin, decode_one, other
from gatherer.providers.payload import Unreadable, load_json
from gatherer.providers.whatsapp_envelope import Post, is_body
from gatherer.providers.whatsapp_statuses import read_errors
from gatherer.records import WHATSAPP, Kind, Reason, Record, Response, TemplateEvent, make_key

NAME: Final = "wati"
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

# `type` of an inbound message: https://docs.wati.io/reference/message-received
# The `data` of media is a link to the file, and their `text`, which ought to be the caption, sometimes is too.
MEDIA: Final = frozenset(["image", "video", "document", "audio", "voice", "sticker"])
LINK_TO_A_FILE: Final = "showFile?fileName="
REPLIES: Final = frozenset(
    [*MEDIA, "text", "button", "interactive", "location", "contacts", "order", "catalog", "media_placeholder"]
)
# What was tapped → our reply_type, what the person read, what a program reads. All three are null elsewhere.
CHOICES: Final = {
    "buttonReply": ("button", "text", "payload"),  # quick reply of a template; payload is JSON of Wati's
    "interactiveButtonReply": ("button", "title", "id"),
    "listReply": ("list", "title", "id"),
}
# notices about templates; each may carry any of CHANGES
TEMPLATES: Final = frozenset({"templatereviewed", "templatequalityupdated", "templatecategoryupdated"})
# what changed → the words, Meta's, behind Wati's integers: https://support.wati.io/en/articles/15068845
CHANGES: Final = {
    "Status": "DRAFT PENDING APPROVED REJECTED DELETED PENDING_INTERNAL DISABLED PAUSED".split(),  # noqa: SIM905
    "Quality": ["UNKNOWN", "GREEN", "RED", "YELLOW"],
    "Category": [],  # says the word itself
}
# Said by columns, or by nothing that lasts. Everything else that an event says goes into the details.
COLUMNS: Final = (
    "eventType whatsappMessageId localMessageId waId channelId channelPhoneNumber timestamp created owner type"
    " statusString failedCode failedDetail"
)
IN_COLUMNS: Final = frozenset(COLUMNS.split())
# The person's business-scoped user id: which key `_v2_bsuid` puts it under is not public. Its form tells it
# from an operator's id; where WhatsApp withholds the phone it may also stand in for it.
USER_ID: Final = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}\Z", re.ASCII)
# Ids in the samples of Wati's documentation
SAMPLES: Final = frozenset({"abcdefghi_jklmnop", "gBEGkXmJQZVJAgkRHwjjZsITS6M", "634930ab82538bf0845a116a"})


def decode(notification: Notification) -> Decoded:
    """Return every event of one post, or of an array of events, as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except Unreadable as problem:
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
        raise BadElement("this is no Wati webhook: eventType is missing or no text", Reason.SHAPE)
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
        return _message(origin, event)
    if stem in TEMPLATES:
        return _template(origin, event, name)
    if stem == CLICK and get("whatsappMessageId") and get("waId"):
        key = make_key(NAME, Kind.CLICKED, _content(event))  # the content tells one tap from the next
        return replace(_response(origin, event, Kind.CLICKED, key), about_message_id=_identity(event)[1])
    # newContactMessageReceived among them: no text and no WhatsApp id; the words come as `message` too.
    return _other(origin, event, "events", name, (NAME, f"{stem}\x1f{_content(event)}"))


def _receipt(origin: Origin, event: dict[str, Any], kind: Kind) -> Response:
    """Return what became of our message, or that somebody replied to it."""
    id_space, message_id = _identity(event)
    response = _response(origin, event, kind, make_key(id_space, kind, message_id))
    if kind is Kind.REPLY_MARKER:
        return replace(response, about_message_id=message_id)
    failure = {"code": event.get("failedCode"), "details": event.get("failedDetail")}
    errors = read_errors(failure) if any(failure.values()) else {}
    return replace(response, message_id=message_id, **errors)


def _message(origin: Origin, event: dict[str, Any]) -> Record:
    """Return the answer in an event `message`, or an other event if it is ours or of an unknown type."""
    id_space, message_id = _identity(event)
    what = text(event.get("type")) or ("text" if event.get("text") else "")
    if str(event.get("owner")).lower() == "true":  # a boolean in the documentation, seen as text
        return _other(origin, event, "message_echoes", what, (id_space, message_id))
    if what != "reaction" and what not in REPLIES:
        return _other(origin, event, "messages", what, (id_space, message_id))
    kind = Kind.REACTED if what == "reaction" else Kind.REPLIED
    rest = dict(event)  # what no column says, once the columns are taken out
    columns = {"message_id": message_id, "profile_name": text(rest.pop("senderName", None))}
    columns |= _take_reaction(rest) if kind is Kind.REACTED else _take_reply(rest, what)
    return replace(_response(origin, rest, kind, make_key(id_space, kind, message_id)), **columns)


def _take_reaction(event: dict[str, Any]) -> dict[str, Any]:
    """Take the columns of a reaction out of `event`.

    The emoji is the `text`; empty or null when it was taken back. Anything else there, or something in
    `data` that could be the emoji, is one that cannot be read: never one that was taken back.
    """
    inner = event.get("data") or event.get("reaction")
    emoji = event.get("text")
    if emoji is None:
        emoji = mapping(inner).get("emoji") if inner else ""
    elif type(emoji) is str:
        del event["text"]
    about = reference(event.pop("replyContextId", None) or mapping(inner).get("message_id"), "replyContextId")
    return {"emoji": emoji if type(emoji) is str else None, "about_message_id": about}


def _take_reply(event: dict[str, Any], what: str) -> dict[str, Any]:
    """Take the columns of a reply of type `what` out of `event`."""
    about = reference(event.pop("replyContextId", None), "replyContextId")
    columns: dict[str, Any] = {"reply_type": what, "about_message_id": about}
    said = text(event.get("text"))
    if said is not None and not (what in MEDIA and LINK_TO_A_FILE in said):
        columns["reply_text"] = text(event.pop("text"))
    for name, (reply_type, readable, payload) in CHOICES.items():
        chosen = mapping(event.get(name))
        if chosen:
            columns["reply_type"] = reply_type
            columns["reply_text"] = text(chosen.get(readable)) or said
            columns["reply_payload"] = text(chosen.get(payload))
            event[name] = {key: chosen[key] for key in chosen if key not in (readable, payload)} or None
    if what not in MEDIA and type(event.get("data")) in (dict, list) and "reply_payload" not in columns:
        columns["reply_payload"] = as_json(event.pop("data"))
    return columns


def _template(origin: Origin, event: dict[str, Any], field: str) -> Record:
    """Return a notice about a template: its status, its quality or its category."""
    change = next((what for what in CHANGES if f"newTemplate{what}" in event), "Status")
    old_value, new_value = (
        _word(event.get(f"{age}Template{change}"), CHANGES[change]) for age in ("old", "new")
    )
    return origin.record(
        TemplateEvent,
        make_key(NAME, "template", f"{origin.notice_time()}\x1f{field.lower()}\x1f{_content(event)}"),
        _when(event),
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


def _response(origin: Origin, event: dict[str, Any], kind: Kind, key: bytes) -> Response:
    """Return what all responses have in common. What no column says goes into the details."""
    occurred_at, source = origin.when(_when(event))
    user_id = _user_id(event)
    raw = None if event.get("waId") == user_id else reference(event.get("waId"), "waId")
    rest = {name: part for name, part in event.items() if name not in IN_COLUMNS and part not in (False, "")}
    return replace(
        origin.blank(),
        key=key,
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id,
        client_reference=reference(event.get("localMessageId"), "localMessageId"),
        details=kept(**rest),
    )


def _other(origin: Origin, event: dict[str, Any], family: str, name: str, fact: tuple[str, str]) -> Record:
    """Return `event` whole. `fact` is an id space, and what makes the event this one and no other there."""
    return other(
        origin,
        event,
        family,
        name or None,
        fact[1],
        id_space=fact[0],
        at=_when(event),
        message_id=text(event.get("whatsappMessageId")),
        phone=e164(text(event.get("waId"))),
        user_id=_user_id(event),
    )


def _identity(event: dict[str, Any]) -> tuple[str, str]:
    """Return id space and id of the message that `event` is about. It must have one.

    Where WhatsApp has given it none, it is Wati's own: the record's, which v1 and v2 share, before the one
    that only v2 has. Both are unique without an account.
    """
    if message_id := reference(event.get("whatsappMessageId"), "whatsappMessageId"):
        return WHATSAPP, message_id
    return NAME, identifier(event.get("id") or event.get("localMessageId"), "whatsappMessageId")


def _when(event: dict[str, Any]) -> object:
    """Return when it happened (`timestamp`, Unix seconds as text), else when Wati stored it (`created`)."""
    claimed = event.get("timestamp")
    return event.get("created") if timestamps.parse(claimed) is None else claimed


def _content(event: dict[str, Any]) -> str:
    """Return all that v1 and v2 of one event have in common."""
    return as_json(
        {name: part for name, part in event.items() if name not in ("eventType", "localMessageId")}
    )


def _user_id(event: dict[str, Any]) -> str | None:
    told = (text(event.get(name)) for name in ("waId", "bsuid", "userId", "user_id"))
    return next((one for one in told if one and USER_ID.match(one)), None)


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
