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
    Events that end in `_bsuid` have the person's user id in `bsuid` and may lack `waId`; the facts are the same.
    provider_message_id is the localMessageId, which the send call returned; of a person's message it is Wati's `id`.
    Wati's ids of conversation, ticket and record stay in the details.

Quirks
    Wati signs nothing and sends no header of its own: the key in the URL is all that tells it from others.
    Anything but 200 is sent again every 10 minutes, up to 144 times; after more than 100 failures in a row
    Wati marks the webhook Defective and mails the owner. Requests that cannot be decoded are therefore accepted.
    An inbound message says `SENT`. Only sent and answers carry the person's waId; `channelPhoneNumber` is
    ours. `templateMessageSent` has no timestamp, only when Wati stored it. Template notices have no time:
    two with the same content are one. What failed before WhatsApp took it goes by Wati's record
    id. Requests of “Trigger sample callback” that carry ids of Wati's documentation are marked as tests.
"""

import re
from typing import Any, Final

from msgspec.structs import replace

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Reason, Record, Response, TemplateEvent, make_key
from gatherer.providers.base import Decoded, ElementError, Provider, reject_body
from gatherer.providers.elements import (
    as_json,
    business_e164,
    identifier,
    integer,
    is_user_id,
    mapping,
    object_of,
    person_ids,
    reference,
    text,
)
from gatherer.providers.origin import Origin, decode_one, items_with_paths, other
from gatherer.providers.paths import WHOLE_BODY
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.whatsapp.envelope import BodyDecoder, is_body
from gatherer.providers.whatsapp.statuses import read_errors

NAME: Final = "wati"

VERSION: Final = re.compile(
    r"_(?:v\d|bsuid).*", re.IGNORECASE | re.DOTALL
)  # _v2, _bsuid, _v2_bsuid, later ones

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
TEMPLATES: Final = frozenset({"templatereviewed", "templatequalityupdated", "templatecategoryupdated"})

# The parts of an event that columns hold, or that do not last. Everything else goes into the details.
IN_COLUMNS: Final = frozenset(
    [
        "eventType",
        "whatsappMessageId",
        "localMessageId",
        "waId",
        "channelId",
        "channelPhoneNumber",
        "timestamp",
        "created",
        "owner",
        "type",
        "statusString",
        "failedCode",
        "failedDetail",
    ]
)
# Where the person's business-scoped user id may be. Its form tells it from an operator's id.
USER_IDS: Final = ("bsuid", "userId", "user_id")
# Ids in the samples of Wati's documentation
SAMPLES: Final = frozenset({"abcdefghi_jklmnop", "gBEGkXmJQZVJAgkRHwjjZsITS6M", "634930ab82538bf0845a116a"})


def decode(notification: Notification) -> Decoded:
    """Return every event of the body, or of an array of events, as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        return reject_body(notification, NAME, str(problem), Reason.UNREADABLE)
    decoder = BodyDecoder(notification, NAME, Decoded())
    for path, event in items_with_paths(body, WHOLE_BODY):
        if type(event) is dict and event.get("eventType") in (None, "") and is_body(event):
            decoder.decode_body(event, path)  # Wati passes it on from WhatsApp as it is
        else:
            decode_one(Origin(notification, NAME), event, _decode_event, path, decoder.decoded)
    return decoder.decoded


def _decode_event(origin: Origin, event: Any) -> Record:
    """Return the record of one event in Wati's own form.

    Raises:
        ElementError: it has no eventType, no id, or an id of the wrong type.

    """
    word = text(mapping(event).get("eventType"))
    if not word:
        raise ElementError("this is no Wati webhook: eventType is missing or no text", Reason.SHAPE)
    get = event.get
    origin.account_id = text(get("wabaId"))
    origin.phone_number_id = text(get("channelId"))
    origin.business_phone = business_e164(text(get("channelPhoneNumber")))
    origin.entry_at = timestamps.parse(get("created"))
    origin.is_test = not SAMPLES.isdisjoint(text(get(name)) for name in ("id", "whatsappMessageId"))
    stem = (name := VERSION.sub("", word)).lower()
    if stem in RECEIPTS:
        return _decode_receipt(origin, event, RECEIPTS[stem])
    if stem in MESSAGES:
        return _decode_message(origin, event)
    if stem in TEMPLATES:
        return _decode_template(origin, event, name)
    if stem == CLICK and get("whatsappMessageId") and get("waId"):
        key = make_key(NAME, Kind.CLICKED, _content(event))  # the content tells one tap from the next
        about = _identity(event)[1]
        return replace(_response(origin, event, Kind.CLICKED, key), about_message_id=about)
    # newContactMessageReceived among them: no text and no WhatsApp id; the words come as `message` too.
    return _other_event(origin, event, "events", name, (NAME, f"{stem}\x1f{_content(event)}"))


def _response(
    origin: Origin,
    event: dict[str, Any],
    kind: Kind,
    key: bytes,
    message_id: str | None = None,
    own_id: str | None = None,
) -> Response:
    """Return the columns that all responses have in common. What no column holds goes into the details.

    Args:
        origin: where the event comes from.
        event: the event, or what the caller has left of it.
        kind: what the response says.
        key: of the response.
        message_id: the message that a receipt or answer is of; None: the event is about a message.
        own_id: Wati's own id of that message.

    """
    occurred_at, source = origin.when(_time(event))
    raw, user_id = person_ids(reference(event.get("waId"), "waId"), _user_id(event))
    rest = {name: part for name, part in event.items() if name not in IN_COLUMNS and part not in (False, "")}
    if message_id is None and event.get("localMessageId"):
        rest["localMessageId"] = event["localMessageId"]
    return replace(
        origin.blank(),
        key=key,
        occurred_at=occurred_at,
        occurred_at_source=source,
        kind=kind,
        message_id=message_id,
        provider_message_id=own_id if own_id != message_id else None,
        phone=e164(raw),
        phone_raw=raw,
        user_id=user_id,
        details=object_of(**rest),
    )


def _other_event(
    origin: Origin, event: dict[str, Any], family: str, name: str, fact: tuple[str, str]
) -> Record:
    """Return `event` whole. `fact` is an id space and what identifies the event in it."""
    raw, user_id = person_ids(text(event.get("waId")), _user_id(event))
    return other(
        origin,
        event,
        family,
        name or None,
        fact[1],
        id_space=fact[0],
        at=_time(event),
        message_id=text(event.get("whatsappMessageId"))
        or text(event.get("id"))
        or text(event.get("localMessageId")),
        phone=e164(raw),
        user_id=user_id,
    )


def _identity(event: dict[str, Any]) -> tuple[str, str]:
    """Return id space and id of the message that `event` is about.

    Where WhatsApp has given it no id, it is one of Wati's: the record's, which v1 and v2 share, before the one
    that only v2 has. Both are unique without an account.

    Raises:
        ElementError: the event has no id, or one of the wrong type.

    """
    if message_id := reference(event.get("whatsappMessageId"), "whatsappMessageId"):
        return WHATSAPP, message_id
    return NAME, identifier(event.get("id") or event.get("localMessageId"), "whatsappMessageId")


def _time(event: dict[str, Any]) -> object:
    """Return when it happened (`timestamp`, Unix seconds as text), else when Wati stored it (`created`)."""
    claimed = event.get("timestamp")
    return event.get("created") if timestamps.parse(claimed) is None else claimed


def _content(event: dict[str, Any]) -> str:
    """Return all that v1 and v2 of one event have in common, as JSON."""
    return as_json(
        {name: part for name, part in event.items() if name not in ("eventType", "localMessageId")}
    )


def _user_id(event: dict[str, Any]) -> str | None:
    texts = (text(event.get(name)) for name in USER_IDS)
    return next((user_id for user_id in texts if user_id and is_user_id(user_id)), None)


def _decode_receipt(origin: Origin, event: dict[str, Any], kind: Kind) -> Response:
    """Return the receipt for our message, or that the person replied to it."""
    id_space, message_id = _identity(event)
    key = make_key(id_space, kind, message_id)
    if kind is Kind.REPLY_MARKER:
        return replace(_response(origin, event, kind, key), about_message_id=message_id)
    own_id = reference(event.get("localMessageId"), "localMessageId")
    response = _response(origin, event, kind, key, message_id, own_id)
    failure = {"code": event.get("failedCode"), "details": event.get("failedDetail")}
    errors = read_errors(failure) if any(failure.values()) else {}
    return replace(response, **errors) if errors else response


# Templates

# what changed → the words, Meta's, behind Wati's integers: https://support.wati.io/en/articles/15068845
CHANGES: Final = {
    "Status": "DRAFT PENDING APPROVED REJECTED DELETED PENDING_INTERNAL DISABLED PAUSED".split(),  # noqa: SIM905
    "Quality": ["UNKNOWN", "GREEN", "RED", "YELLOW"],
    "Category": [],  # has the word itself
}


def _decode_template(origin: Origin, event: dict[str, Any], field: str) -> Record:
    """Return a notice about a template: its status, its quality or its category. It may carry any of CHANGES."""
    change = next((change for change in CHANGES if f"newTemplate{change}" in event), "Status")
    old_value, new_value = (
        _word(event.get(f"{age}Template{change}"), CHANGES[change]) for age in ("old", "new")
    )
    return origin.record(
        TemplateEvent,
        make_key(NAME, "template", f"{origin.notice_time()}\x1f{field.lower()}\x1f{_content(event)}"),
        _time(event),
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
    """Return the word behind one of Wati's integers; an integer without a word stays, and so does a word."""
    number = integer(value)
    if number is not None and 0 <= number < len(words):
        return words[number]
    return (text(value) or "").upper() or None


# The event `message`: the person wrote, tapped or sent something, or reacted

# `type` of an inbound message: https://docs.wati.io/reference/message-received
# The `data` of media is a link to the file, and their `text`, which ought to be the caption, sometimes is too.
# The `text` of a document is its file name.
MEDIA: Final = frozenset(["image", "video", "document", "audio", "voice", "sticker"])
LINK_TO_A_FILE: Final = "showFile?fileName="
MOST_LETTERS_OF_AN_EXTENSION: Final = 5  # as in .xhtml
REPLIES: Final = frozenset(
    [*MEDIA, "text", "button", "interactive", "location", "contacts", "order", "catalog", "media_placeholder"]
)
# What was tapped → our reply_type, the text for a person, the text for a program. All three are null elsewhere.
CHOICES: Final = {
    "buttonReply": ("button", "text", "payload"),  # quick reply of a template; payload is JSON of Wati's
    "interactiveButtonReply": ("button", "title", "id"),
    "listReply": ("list", "title", "id"),
}


def _decode_message(origin: Origin, event: dict[str, Any]) -> Record:
    """Return the answer in an event `message`, or an other event if it is ours or of an unknown type."""
    id_space, message_id = _identity(event)
    message_type = text(event.get("type")) or ("text" if event.get("text") else "")
    if str(event.get("owner")).lower() == "true":  # a boolean in the documentation, seen as text
        return _other_event(origin, event, "message_echoes", message_type, (id_space, message_id))
    if message_type != "reaction" and message_type not in REPLIES:
        return _other_event(origin, event, "messages", message_type, (id_space, message_id))
    kind = Kind.REACTED if message_type == "reaction" else Kind.REPLIED
    rest = dict(event)  # the parts of the event without those that the columns below hold
    columns = {"profile_name": text(rest.pop("senderName", None))}
    columns |= _take_reaction(rest) if kind is Kind.REACTED else _take_reply(rest, message_type)
    key, own_id = make_key(id_space, kind, message_id), text(event.get("id")) or None
    return replace(_response(origin, rest, kind, key, message_id, own_id), **columns)


def _take_reaction(event: dict[str, Any]) -> dict[str, Any]:
    """Take the columns of a reaction out of `event`.

    The emoji is the `text`; empty or null when it was taken back. Any other value there, or something in
    `data` that could be the emoji, is an emoji that cannot be read: never one that was taken back.
    """
    inner = event.get("data") or event.get("reaction")
    emoji = event.get("text")
    if emoji is None:
        emoji = mapping(inner).get("emoji") if inner else ""
    elif type(emoji) is str:
        del event["text"]
    about = reference(event.pop("replyContextId", None) or mapping(inner).get("message_id"), "replyContextId")
    return {"emoji": emoji if type(emoji) is str else None, "about_message_id": about}


def _take_reply(event: dict[str, Any], message_type: str) -> dict[str, Any]:
    """Take the columns of a reply of `message_type` out of `event`."""
    about = reference(event.pop("replyContextId", None), "replyContextId")
    columns: dict[str, Any] = {"reply_type": message_type, "about_message_id": about}
    body = text(event.get("text"))
    is_file = message_type in MEDIA and body is not None and _is_file(body, text(event.get("data")))
    if body is not None and not is_file:
        columns["reply_text"] = text(event.pop("text"))
    for name, (reply_type, readable, payload) in CHOICES.items():
        choice = mapping(event.get(name))
        if choice:
            columns["reply_type"] = reply_type
            columns["reply_text"] = text(choice.get(readable)) or body
            columns["reply_payload"] = text(choice.get(payload))
            event[name] = {key: choice[key] for key in choice if key not in (readable, payload)} or None
    if (
        message_type not in MEDIA
        and type(event.get("data")) in (dict, list)
        and "reply_payload" not in columns
    ):
        columns["reply_payload"] = as_json(event.pop("data"))
    return columns


def _is_file(body: str, link: str | None) -> bool:
    """Return whether the `body` of a medium is a link to the file or its name, which the person did not write."""
    if LINK_TO_A_FILE in body:
        return True
    stem, _, extension = body.rpartition(".")
    if not stem or not extension.isalnum() or len(extension) > MOST_LETTERS_OF_AN_EXTENSION:
        return False
    has_same_extension = (link or "").lower().endswith(f".{extension.lower()}")
    return has_same_extension or not any(character.isspace() for character in body)


PROVIDER: Final = Provider(
    name=NAME,
    title="Wati",
    decode=decode,
    reports=frozenset([*RECEIPTS.values(), "replied", "reacted", "clicked", "template_event", "other"]),
    authentication="none of its own: a secret in the URL (url_key)",
    on_refusal="repeats the request; after more than 100 failures in a row marks the webhook Defective and mails you",
    retries="144 times, every 10 minutes: one day",
    documentation=__doc__,
)
