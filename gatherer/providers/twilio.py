"""Twilio's WhatsApp: status callbacks and incoming messages, as forms.

Set-up
    Give the endpoint's URL to Twilio as “Webhook URL for incoming messages” and as “Status callback URL” of the
    WhatsApp sender (Console → Messaging → Senders), or in the Messaging Service, which then takes precedence;
    a `StatusCallback` in the send call replaces both. Method POST. Put the Auth Token into
    `twilio_auth_tokens` and the URL, exactly as given to Twilio but without the url_key, into `public_url`.
    Append `#rc=5&rp=all` to the URL given to Twilio (and not to `public_url`): without it nothing but a failed
    connection is tried again.

Mapping
    `MessageStatus` sent, delivered, read → the same; undelivered and failed → failed. `EventType` READ → read.
    Incoming messages → replied: text, media, button, list, flow, location, call_permission, contacts.
    `MessageType` reaction → reacted, should Twilio ever post one: its pages know none.
    queued, accepted, sending, scheduled, canceled and every unknown word are other events, and so are posts
    about SMS and other channels, calls and conversations, because none of them is an answer to a WhatsApp
    message. A message of an unknown type is replied if there is something to read in it, else an other event.

Quirks
    Twilio says of no event when it happened; the time of receipt stands in, and the record says so.
    Ids are Twilio's (`SM…`, `MM…`), never WhatsApp's. They are unique across accounts, so the account is no
    part of the key. Parameters come and go without notice; what has no column is kept in the details.
    With Advanced Opt-Out, `OptOutType` in the details says what Twilio made of a word; Twilio answers such a
    word itself. Traffic of the shared sandbox number is marked as a test.
    An answer that is not 2xx shows up in Twilio's debugger as error 11200. The signature needs the Auth Token
    that is primary: list the new one before it is promoted. Event Streams post JSON and are not understood.
"""

from typing import Any, Final

from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import Kind, Reason, Record, Response, make_key
from gatherer.providers import twilio_signature
from gatherer.providers.base import Acknowledgement, Decoded, Provider, reject
from gatherer.providers.elements import as_json, identifier, integer, kept, reference, text
from gatherer.providers.origin import Origin, decode_one, other
from gatherer.providers.payload import UnreadableBodyError, load_form
from gatherer.providers.people import person_columns
from gatherer.providers.twilio_contents import TYPES, Columns, Form, read_content

# Sources, all below twilio.com/docs: [S] messaging/guides/track-outbound-message-status,
# [I] messaging/guides/webhook-request (incoming messages). [P] a real post that its receiver published.

NAME: Final = "twilio"
SANDBOX: Final = "+14155238886"  # shared by everybody who tries WhatsApp at Twilio

KINDS: Final = {
    "sent": Kind.SENT,
    "delivered": Kind.DELIVERED,
    "read": Kind.READ,
    "undelivered": Kind.FAILED,  # WhatsApp refused it, with an ErrorCode such as 63016
    "failed": Kind.FAILED,  # Twilio itself did
    # Every other word is an other event: Twilio alone has the message then, or has given up on it.
}
INBOUND: Final = frozenset({"received", "receiving"})  # only in SmsStatus

# MessageSid has had three names; all three are posted with the same value [I].
IDS: Final = ("MessageSid", "SmsSid", "SmsMessageSid")
# Without an id of a message, one of these tells that the post is Twilio's all the same.
ABOUT_OTHER_THINGS: Final = ("CallSid", "ConversationSid", "Sid")
TELLING: Final = frozenset(
    [*IDS, *ABOUT_OTHER_THINGS, "AccountSid", "MessageStatus", "SmsStatus", "MessagingServiceSid", "WaId"]
)
CONTENT: Final = frozenset({"Body", "NumMedia", "ButtonPayload", "ListId", "Latitude", "MessageType"})

# What is said by columns, or by what the columns are called. All else a post carries goes into its details.
WHO: Final = frozenset({"AccountSid", "From", "To", "ChannelPrefix", "ProfileName", "ExternalUserId"})
WHAT: Final = frozenset(
    {"MessageStatus", "SmsStatus", "EventType", "MessageType", "OriginalRepliedMessageSid"}
)
COUNTS: Final = frozenset({"NumMedia", "NumSegments", "ReferralNumMedia"})  # of what is there to be counted
IN_COLUMNS: Final = WHO | WHAT | COUNTS | {*IDS, "ApiVersion"}
ERRORS: Final = ("ErrorCode", "ErrorMessage", "ChannelStatusMessage")


def decode(notification: Notification) -> Decoded:
    """Return the one element of a post as a record or a rejection."""
    try:
        form = load_form(notification.body)
    except UnreadableBodyError as problem:
        return [reject(notification, NAME, "$", str(problem), Reason.UNREADABLE)]
    if TELLING.isdisjoint(form):
        return [reject(notification, NAME, "$", "the form is no post of Twilio's", Reason.SHAPE)]
    decoded: Decoded = []
    decode_one(Origin(notification, NAME, text(form.get("AccountSid"))), form, _decode_post, "$", decoded)
    return decoded


def _decode_post(origin: Origin, form: Form) -> Record:
    """Return the record that `form` amounts to.

    Raises:
        ElementError: it has no id or no status, or several.

    """
    sid = next((form[name] for name in IDS if form.get(name)), None)
    event = text(form.get("EventType"))
    about_else = sid is None and any(form.get(name) for name in ABOUT_OTHER_THINGS)
    if about_else or event not in (None, "", "READ"):  # a conversation's onMessageAdded has a MessageSid too
        name = event or text(form.get("CallStatus"))
        return other(origin, form, "events", name, id_space=NAME)
    message_id = identifier(sid, "MessageSid")
    word = form.get("MessageStatus") or form.get("SmsStatus")
    if word is None and not CONTENT.isdisjoint(form):
        word = "received"
    word = identifier(word, "MessageStatus").lower()
    inbound = word in INBOUND
    channel, columns = _person(form, "From" if inbound else "To")
    ours = e164(_address(form.get("To" if inbound else "From"))[1])
    columns |= {
        "message_id": message_id,
        "business_phone": ours,
        "profile_name": text(form.get("ProfileName")),
    }
    origin.is_test = ours == SANDBOX
    if channel != "whatsapp":
        return other(origin, form, channel, word, f"{message_id}\x1f{word}", **_aside(columns))
    if inbound:
        return _answer(origin, form, columns)
    kind = Kind.READ if event == "READ" and word in ("sent", "delivered", "read") else KINDS.get(word)
    if kind is None:
        return other(origin, form, "statuses", word, f"{message_id}\x1f{word}", **_aside(columns))
    used: tuple[str, ...] = ()
    if kind is Kind.FAILED:
        used = ERRORS
        columns |= _errors(form)
    rest = _rest(form, used, columns["phone"])
    if word != kind:
        rest["MessageStatus"] = word
    return _response(origin, kind, columns, rest)


def _aside(columns: Columns) -> Any:
    """Return what an other event shares with the response that it is not."""
    return {"id_space": NAME, **{column: columns[column] for column in ("message_id", "phone", "user_id")}}


def _response(origin: Origin, kind: Kind, columns: Columns, rest: dict[str, Any]) -> Response:
    key = make_key(NAME, kind, columns["message_id"])
    return origin.record(Response, key, None, kind=kind, details=kept(**rest), **columns)


def _errors(form: Form) -> Columns:
    """Return the error columns. ChannelStatusMessage is WhatsApp's own word for it [S]."""
    said = {name: form[name] for name in ERRORS if form.get(name)}
    return {
        "error_code": integer(form.get("ErrorCode")),
        "error_title": text(form.get("ErrorMessage")) or None,
        "error_details": text(form.get("ChannelStatusMessage")) or None,
        "errors": as_json([said]) if said else None,
    }


def _answer(origin: Origin, form: Form, columns: Columns) -> Record:
    """Return what a person sent. `columns` say who and in which message."""
    what = (text(form.get("MessageType")) or "").lower()
    columns["about_message_id"] = reference(
        form.get("OriginalRepliedMessageSid"), "OriginalRepliedMessageSid"
    )
    body = text(form.get("Body"))
    if what == "reaction":  # no page of Twilio's has one: should it come, the Body can only be the emoji
        return _response(
            origin, Kind.REACTED, columns | {"emoji": body}, _rest(form, ("Body",), columns["phone"])
        )
    content, used = read_content(form, what)
    readable = any(content.get(name) for name in ("reply_text", "reply_payload", "media_id"))
    if what and what not in TYPES and not readable:
        return other(origin, form, "messages", what, columns["message_id"], **_aside(columns))
    rest = _rest(form, used, columns["phone"]) | content.pop("details", {})
    return _response(origin, Kind.REPLIED, columns | content, rest)


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
        return "whatsapp", None  # a lean post: the endpoint is there for WhatsApp
    channel, colon, number = address.rpartition(":")
    return (channel.lower() if colon else "sms"), number.strip()


def _rest(form: Form, used: tuple[str, ...], phone: str | None) -> dict[str, Any]:
    """Return what no column says: all but the parameters `used`, or repeated with another value."""
    rest: dict[str, Any] = {
        name: value
        for name, value in form.items()
        if value and (type(value) is list or (name not in IN_COLUMNS and name not in used))
    }
    wa_id = rest.get("WaId")  # differs from the number in Brazil, Mexico and Argentina
    if type(wa_id) is str and e164(wa_id) == phone:
        del rest["WaId"]
    return rest


PROVIDER: Final = Provider(
    name=NAME,
    title="Twilio WhatsApp",
    decode=decode,
    reports=frozenset(["sent", "delivered", "read", "failed", "replied", "reacted", "other"]),
    authentication="X-Twilio-Signature over the URL and the parameters (twilio_auth_tokens, public_url)",
    on_refusal="does not send the post again, unless the URL given to Twilio ends in #rp=all",
    retries="once, and only when the connection fails; up to 5 times within 15 seconds with #rc=5&rp=all",
    documentation=__doc__,
    secrets=(twilio_signature.SECRETS,),
    signature=twilio_signature.signature,
    signature_headers=(twilio_signature.HEADER,),
    # Twilio reads each response as TwiML, and this one sends the person nothing. An empty body is an error:
    # https://www.twilio.com/docs/api/errors/12300
    acknowledgement=Acknowledgement(body=b"<Response/>", content_type="text/xml"),
)
