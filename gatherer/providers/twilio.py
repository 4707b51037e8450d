"""Twilio's WhatsApp: status callbacks and incoming messages, as forms.

Set-up
    Give the endpoint's URL to Twilio as “Webhook URL for incoming messages” and as “Status callback URL” of the
    WhatsApp sender (Console → Messaging → Senders), or in the Messaging Service, which then takes precedence;
    a `StatusCallback` in the send call replaces both. Method POST. Put the Auth Token into
    `twilio_auth_tokens` and the URL, exactly as given to Twilio but without the url_key, into `public_url`.
    Append `#rc=5&rp=all` to the URL given to Twilio (and not to `public_url`): without it nothing but a failed
    connection is tried again.

Mapping
    `MessageStatus` sent, delivered, read → the same; undelivered and failed → failed. `EventType` READ → read;
    beside a status that is understood, any other `EventType` changes nothing, and without one it stands in for it.
    Incoming messages → replied: text, media, button, list, flow, location, call_permission, contacts.
    `MessageType` reaction → reacted, should Twilio ever send one: its pages know none.
    queued, accepted, sending, scheduled, canceled and every unknown word are other events, and so are requests
    about SMS and other channels, calls and conversations, because none of them is an answer to a WhatsApp
    message. A message of an unknown type is replied if there is something to read in it, else an other event.

Quirks
    Twilio says of no event when it happened; the time of receipt stands in, and the record says so.
    `ExternalUserId` is the person's user id; where WhatsApp withholds the phone, `From` holds it too.
    Ids are Twilio's (`SM…`, `MM…`), never WhatsApp's. They are unique across accounts, so the account is no
    part of the key. Parameters come and go without notice; what has no column is kept in the details.
    With Advanced Opt-Out, `OptOutType` in the details says what Twilio made of a word; Twilio answers such a
    word itself. STOP makes the reply an opt-out, whatever the word. Traffic of the shared sandbox number is marked as a test.
    An answer that is not 2xx shows up in Twilio's debugger as error 11200. The signature needs the Auth Token
    that is primary: list the new one before it is promoted. Event Streams send JSON and are not understood.
"""

import base64
import hashlib
import hmac
import re
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import Kind, Reason, Record, Response, make_key
from gatherer.providers.base import Acknowledgement, Decoded, Provider, reject_body
from gatherer.providers.elements import (
    as_json,
    identifier,
    integer,
    object_of,
    person_columns,
    reference,
    text,
)
from gatherer.providers.origin import Origin, decode_one, other
from gatherer.providers.paths import WHOLE_BODY
from gatherer.providers.payload import UnreadableBodyError, load_form, load_json
from gatherer.providers.signatures import BodyCheck, Headers, SignatureSettings, equals_any, header_bytes

# Sources, all below twilio.com/docs: [S] messaging/guides/track-outbound-message-status,
# [I] messaging/guides/webhook-request (incoming messages), [C] the page on WhatsApp Business Calling.
# [P] a real request that its receiver published.

NAME: Final = "twilio"
SANDBOX: Final = "+14155238886"  # Twilio's number for trying out WhatsApp; all customers share it

Form: TypeAlias = dict[str, str | list[str]]  # a list: the parameter came with different values
Columns: TypeAlias = dict[str, Any]

KINDS: Final = {
    "sent": Kind.SENT,
    "delivered": Kind.DELIVERED,
    "read": Kind.READ,
    "undelivered": Kind.FAILED,  # WhatsApp refused it, with an ErrorCode such as 63016
    "failed": Kind.FAILED,  # Twilio itself did
    # Every other word is an other event: Twilio alone has the message then, or has given up on it.
}
INBOUND: Final = frozenset({"received", "receiving"})  # only in SmsStatus
STATUSES: Final = INBOUND | KINDS.keys()

# MessageSid has had three names; Twilio sends all three with the same value [I].
IDS: Final = ("MessageSid", "SmsSid", "SmsMessageSid")
# Without an id of a message, one of these tells that the form is Twilio's all the same.
OTHER_IDS: Final = ("CallSid", "ConversationSid", "Sid")
TELLING: Final = frozenset(
    [*IDS, *OTHER_IDS, "AccountSid", "MessageStatus", "SmsStatus", "MessagingServiceSid", "WaId"]
)
CONTENT: Final = frozenset({"Body", "NumMedia", "ButtonPayload", "ListId", "Latitude", "MessageType"})

# The parameters that columns hold, in their values or in their names. All others go into the details.
WHO: Final = frozenset({"AccountSid", "From", "To", "ChannelPrefix", "ProfileName", "ExternalUserId"})
WHAT: Final = frozenset({"MessageStatus", "SmsStatus", "MessageType", "OriginalRepliedMessageSid"})
COUNTS: Final = frozenset({"NumMedia", "NumSegments", "ReferralNumMedia"})  # of other parameters
IN_COLUMNS: Final = WHO | WHAT | COUNTS | {*IDS, "ApiVersion"}
ERRORS: Final = ("ErrorCode", "ErrorMessage", "ChannelStatusMessage")


def decode(notification: Notification) -> Decoded:
    """Return the one element of the body, which is a form, as a record or a rejection."""
    try:
        form = load_form(notification.body)
    except UnreadableBodyError as problem:
        return reject_body(notification, NAME, str(problem), Reason.UNREADABLE)
    if TELLING.isdisjoint(form):
        return reject_body(notification, NAME, "the form has none of the parameters of Twilio", Reason.SHAPE)
    decoded = Decoded()
    decode_one(
        Origin(notification, NAME, text(form.get("AccountSid"))), form, _decode_form, WHOLE_BODY, decoded
    )
    return decoded


def _decode_form(origin: Origin, form: Form) -> Record:
    """Return the record of `form`.

    Raises:
        ElementError: it has no id or no status, or several.

    """
    sid = next((form[name] for name in IDS if form.get(name)), None)
    event = (text(form.get("EventType")) or "").lower()
    status = form.get("MessageStatus") or form.get("SmsStatus")
    understood = (text(status) or "").lower() in STATUSES
    has_other_id = sid is None and any(form.get(name) for name in OTHER_IDS)
    # A conversation's onMessageAdded has a MessageSid too, but no status.
    if has_other_id or (event and event not in KINDS and not understood):
        name = text(form.get("EventType")) or text(form.get("CallStatus"))
        return other(origin, form, "events", name, id_space=NAME)
    message_id = identifier(sid, "MessageSid")
    if status is None and not CONTENT.isdisjoint(form):
        status = "received"
    word = identifier(status or event, "MessageStatus").lower()
    inbound = word in INBOUND
    channel, columns = _person(form, "From" if inbound else "To")
    business_phone = e164(_address(form.get("To" if inbound else "From"))[1])
    columns |= {
        "message_id": message_id,
        "business_phone": business_phone,
        "profile_name": text(form.get("ProfileName")),
    }
    origin.is_test = business_phone == SANDBOX
    if channel != "whatsapp":
        return other(origin, form, channel, word, f"{message_id}\x1f{word}", **_event_columns(columns))
    if inbound:
        return _decode_answer(origin, form, columns)
    kind = KINDS.get(word) or KINDS.get(event)
    if event == "read" and kind in (Kind.SENT, Kind.DELIVERED):  # the status may still be the one before
        kind = Kind.READ
    if kind is None:
        return other(origin, form, "statuses", word, f"{message_id}\x1f{word}", **_event_columns(columns))
    in_columns: tuple[str, ...] = ()
    if kind is Kind.FAILED:
        in_columns = ERRORS
        columns |= _error_columns(form)
    rest = _rest(form, in_columns, columns["phone"])
    if word != kind:
        rest["MessageStatus"] = word
    if KINDS.get(event) is kind:
        rest.pop("EventType", None)
    return _response(origin, kind, columns, rest)


def _event_columns(columns: Columns) -> Any:
    """Return the arguments of :func:`other` for a form with these `columns` that is no response."""
    return {"id_space": NAME, **{column: columns[column] for column in ("message_id", "phone", "user_id")}}


def _response(origin: Origin, kind: Kind, columns: Columns, rest: dict[str, Any]) -> Response:
    key = make_key(NAME, kind, columns["message_id"])
    return origin.record(Response, key, None, kind=kind, details=object_of(**rest), **columns)


def _error_columns(form: Form) -> Columns:
    """Return the error columns. ChannelStatusMessage is WhatsApp's own word for it [S]."""
    parameters = {name: form[name] for name in ERRORS if form.get(name)}
    return {
        "error_code": integer(form.get("ErrorCode")),
        "error_title": text(form.get("ErrorMessage")) or None,
        "error_details": text(form.get("ChannelStatusMessage")) or None,
        "errors": as_json([parameters]) if parameters else None,
    }


def _person(form: Form, name: str) -> tuple[str, Columns]:
    """Return the channel, and the columns of the person whose address is the parameter `name`."""
    channel, number = _address(form.get(name))
    user_id = _address(form.get("ExternalUserId"))[1]  # `whatsapp:ID.4566…` [P]
    columns = person_columns(number, user_id)
    if columns["phone_raw"] is None and name == "From" and form.get("WaId"):
        columns = person_columns(form["WaId"], columns["user_id"])
    return text(form.get("ChannelPrefix")) or channel, columns


def _address(value: object) -> tuple[str, str | None]:
    """Return the channel and the number in `whatsapp:+447700900123`; a bare number is an SMS."""
    address = text(value)
    if not address:
        return "whatsapp", None  # a lean form: the endpoint is there for WhatsApp
    channel, colon, number = address.rpartition(":")
    return (channel.lower() if colon else "sms"), number.strip()


def _rest(form: Form, in_columns: tuple[str, ...], phone: str | None) -> dict[str, Any]:
    """Return the parameters for the details: those that no column holds, and those with several values.

    Args:
        form: the form.
        in_columns: the parameters that columns hold, beside the usual ones.
        phone: the phone of the record.

    """
    rest: dict[str, Any] = {
        name: value
        for name, value in form.items()
        if value and (type(value) is list or (name not in IN_COLUMNS and name not in in_columns))
    }
    wa_id = rest.get("WaId")  # differs from the number in Brazil, Mexico and Argentina
    if type(wa_id) is str and e164(wa_id) == phone:
        del rest["WaId"]
    return rest


# Incoming messages

# A parameter that tells what was sent → our reply_type, the text for a person, the text for a program; the first
# parameter that is there counts. [I], except FlowData and InteractiveData, which only receivers' code names.
CHOICES: Final = (
    ("ListId", "list", ("ListTitle", "Body"), ("ListId",)),
    ("ButtonPayload", "button", ("ButtonText", "Body"), ("ButtonPayload",)),
    ("ButtonText", "button", ("ButtonText", "Body"), ("ButtonPayload",)),
    ("FlowData", "flow", ("Body",), ("FlowData",)),
    ("InteractiveData", "flow", ("Body",), ("InteractiveData",)),
)
LOCATION: Final = ("Latitude", "Longitude", "Address", "Label")
MEDIA: Final = frozenset({"image", "video", "audio", "voice", "document", "sticker", "contacts"})
TYPES: Final = MEDIA | {"text", "button", "interactive", "location"}
CALL_PERMISSION: Final = "VOICE_CALL_REQUEST"  # the Body; ButtonPayload is ACCEPTED or REJECTED [C]

_MEDIA_SID: Final = re.compile(r"/Media/(ME\w+)\Z")


def _decode_answer(origin: Origin, form: Form, columns: Columns) -> Record:
    """Return the record of what a person sent. `columns` hold the person and the message."""
    message_type = (text(form.get("MessageType")) or "").lower()
    columns["about_message_id"] = reference(
        form.get("OriginalRepliedMessageSid"), "OriginalRepliedMessageSid"
    )
    if message_type == "reaction":  # on no page of Twilio's: should it come, the Body can only be the emoji
        columns["emoji"] = text(form.get("Body"))
        return _response(origin, Kind.REACTED, columns, _rest(form, ("Body",), columns["phone"]))
    content, in_columns = _read_content(form, message_type)
    readable = any(content.get(name) for name in ("reply_text", "reply_payload", "media_id"))
    if message_type and message_type not in TYPES and not readable:
        message_id = columns["message_id"]
        return other(origin, form, "messages", message_type, message_id, **_event_columns(columns))
    rest = _rest(form, in_columns, columns["phone"]) | content.pop("details", {})
    return _response(origin, Kind.REPLIED, columns | content, rest)


def _read_content(form: Form, message_type: str) -> tuple[Columns, tuple[str, ...]]:
    """Return the reply columns of a message of `message_type`, and the parameters that they hold in full."""
    for telling, reply_type, readable, payload in CHOICES:
        if form.get(telling):
            columns: Columns = {
                "reply_type": reply_type,
                "reply_text": _first(form, readable),
                "reply_payload": _first(form, payload),
            }
            if form.get("Body") == CALL_PERMISSION:
                columns |= {"reply_type": "call_permission", "reply_text": columns["reply_payload"]}
            if reply_type == "flow":
                columns["details"] = {"flow": _parse(columns["reply_payload"])}
            in_columns = (columns["reply_text"], columns["reply_payload"], CALL_PERMISSION)
            return columns, tuple(name for name in (*readable, *payload) if form.get(name) in in_columns)
    if form.get("Latitude"):
        place = {name.lower(): form[name] for name in LOCATION if form.get(name)}
        label = _first(form, ("Label", "Address", "Body"))
        parameters = (*LOCATION, "Body") if form.get("Body") in (label, "") else LOCATION
        return {"reply_type": "location", "reply_text": label, "reply_payload": as_json(place)}, parameters
    if form.get("MediaUrl0") or (integer(form.get("NumMedia")) or 0) > 0:
        return _read_media(form, message_type)
    reply_type = message_type if message_type not in ("", "interactive") else "text"
    return {"reply_type": reply_type, "reply_text": _first(form, ("Body",))}, ("Body",)


def _read_media(form: Form, message_type: str) -> tuple[Columns, tuple[str, ...]]:
    """Return the reply columns of the first medium; WhatsApp sends one per message. Body is its caption."""
    url = text(form.get("MediaUrl0"))
    mime_type = text(form.get("MediaContentType0"))
    sid = _MEDIA_SID.search(url or "")
    if message_type not in MEDIA:
        family, _, subtype = (mime_type or "").partition("/")
        message_type = family if family in MEDIA else "contacts" if "vcard" in subtype else "document"
    columns = {
        "reply_type": message_type,
        "reply_text": _first(form, ("Body",)),
        "media_id": sid[1] if sid else url,
        "media_type": mime_type,
    }
    return columns, ("Body", "MediaContentType0", *(() if sid else ("MediaUrl0",)))


def _first(form: Form, names: tuple[str, ...]) -> str | None:
    return next((value for name in names if (value := text(form.get(name)))), None)


def _parse(payload: str | None) -> Any:
    """Return the answers of a Flow as JSON, or None if `payload` is not JSON."""
    try:
        return load_json((payload or "").encode())
    except UnreadableBodyError:
        return None


# The signature, `X-Twilio-Signature`: HMAC-SHA1 of the URL and the parameters, with the Auth Token.
# https://www.twilio.com/docs/usage/webhooks/webhooks-security, and what Twilio's own libraries do beyond it:
# each different value of a repeated parameter counts once, and the URL may or may not name its port. Where
# Twilio sends something else than a form, the URL carries the SHA-256 of the body in place of the parameters.

SECRETS: Final = "twilio_auth_tokens"
SIGNATURE_HEADER: Final = "X-Twilio-Signature"
MAX_PARAMETERS: Final = 1000  # of a signed form; Twilio sends a few dozen
_PORT: Final = re.compile(r":\d+\Z")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_BODY_HASH: Final = re.compile(r"[?&]bodySHA256=([0-9A-Fa-f]{64})(?:&|\Z)")


def _signature(settings: SignatureSettings) -> BodyCheck:
    """Return the check of the signature, with any of the Auth Tokens."""
    tokens = [token.encode() for token in settings.secrets[SECRETS]]
    basic = f"{settings.basic}@" if settings.basic else ""

    def check(headers: Headers, body: bytes, url: str) -> bool:
        given = headers.get(SIGNATURE_HEADER)
        if not given:
            return False
        form = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        claimed = _BODY_HASH.search(url)
        if claimed and form != "application/x-www-form-urlencoded":
            parameters: bytes | None = b""
            intact = hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed[1].lower())
        else:
            parameters = _sorted_parameters(body)
            intact = parameters is not None
        accepted = [
            base64.b64encode(hmac.digest(token, header_bytes(signed) + (parameters or b""), hashlib.sha1))
            for signed in _spellings(_public_url(url, settings), basic)
            for token in tokens
        ]
        return equals_any(header_bytes(given), accepted) and intact

    return check


def _sorted_parameters(body: bytes) -> bytes | None:
    """Return the names and values of a form as Twilio signs them; None if it has more than `MAX_PARAMETERS`."""
    fields = body.split(b"&", MAX_PARAMETERS)
    if len(fields) > MAX_PARAMETERS:
        return None
    halves = (field.replace(b"+", b" ").partition(b"=") for field in fields)
    pairs = {(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in halves}
    return b"".join(name + value for name, value in sorted(pairs))


def _public_url(requested: str, settings: SignatureSettings) -> str:
    """Return the URL that Twilio was given: `public_url` with the key and the query of the `requested` URL."""
    if settings.public_url is None:
        return requested
    base, _, query = settings.public_url.partition("#")[0].partition("?")
    query = requested.partition("?")[2] or query
    if settings.url_key is not None and not base.endswith(f"/{settings.url_key}"):
        base += f"/{settings.url_key}"
    return f"{base}?{query}" if query else base


def _spellings(url: str, basic: str) -> list[str]:
    """Return `url` with and without its port, and with and without `basic` (user and password) if not empty."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = _PORT.sub("", authority)
    authorities = dict.fromkeys((authority, host, host + _DEFAULT_PORTS.get(scheme, "")))
    users = dict.fromkeys(("", basic))
    return [f"{scheme}://{user}{authority}{slash}{path}" for user in users for authority in authorities]


PROVIDER: Final = Provider(
    name=NAME,
    title="Twilio WhatsApp",
    decode=decode,
    reports=frozenset(["sent", "delivered", "read", "failed", "replied", "reacted", "other"]),
    authentication="X-Twilio-Signature over the URL and the parameters (twilio_auth_tokens, public_url)",
    on_refusal="does not repeat the request, unless the URL given to Twilio ends in #rp=all",
    retries="once, and only when the connection fails; up to 5 times within 15 seconds with #rc=5&rp=all",
    documentation=__doc__,
    secrets=(SECRETS,),
    signature=_signature,
    signature_headers=(SIGNATURE_HEADER,),
    # Twilio reads each response as TwiML, and this one sends the person nothing. An empty body is an error:
    # https://www.twilio.com/docs/api/errors/12300
    posts_forms=True,
    acknowledgement=Acknowledgement(body=b"<Response/>", content_type="text/xml"),
)
