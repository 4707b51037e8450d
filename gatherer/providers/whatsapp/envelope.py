"""The bodies in which WhatsApp's objects travel. The shape is told by each body, not by its endpoint.

Numbers migrate from one service to another under the same URL, and relays forward whole bodies or parts
of them. Understood are:

    {"object": …, "entry": [{"id", "time", "changes": [{"field", "value"}]}]}     Meta's Cloud API
    {"id", "time", "changes": […]}, {"field", "value"}, or the value alone        parts of it, forwarded
    {"contacts", "messages", "statuses", "errors"}                                On-Premises API
    {"id", "event", "data": {…}}                                                  360dialog's partner hook
    a JSON array of bodies, or one body per line                                  relays that collect
"""

from functools import partial
from typing import Any, Final

import msgspec

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.records import Reason
from gatherer.providers.base import Decoded, reject, reject_body
from gatherer.providers.elements import business_e164, items, mapping, text
from gatherer.providers.origin import DecodeElement, Origin, decode_each, decode_one, other
from gatherer.providers.paths import WHOLE_BODY, Path
from gatherer.providers.payload import UnreadableBodyError, load_json, load_lines
from gatherer.providers.whatsapp import events
from gatherer.providers.whatsapp.contacts import read_contacts, with_only_contact
from gatherer.providers.whatsapp.everyday_receipts import TEST_ACCOUNT, TEST_PHONE_NUMBER_ID, decode_receipts
from gatherer.providers.whatsapp.messages import decode_message
from gatherer.providers.whatsapp.notices import NOTICES, decoder_of_notice, field_of
from gatherer.providers.whatsapp.statuses import decode_status

# Arrays in a value → the decoder of their elements. It holds in every field: statuses also stand under `calls`.
DECODERS: Final[dict[str, DecodeElement]] = {
    "statuses": decode_status,
    "messages": decode_message,
    "user_preferences": events.decode_preference,
    "user_actions": events.decode_action,
    "errors": events.decode_error,
    "calls": events.decode_call,
    "message_echoes": events.decode_echo,
    **{name: events.decoder_of(layout) for name, layout in events.LAYOUTS.items()},
}
RECEIPTS_AND_ANSWERS: Final = frozenset({"statuses", "messages"})
# Keys that are not elements but describe them
AROUND: Final = frozenset(["messaging_product", "metadata", "contacts", "business_phone"])

# Fields whose `messages` are no news: history is months old, echoes are our own.
HISTORY: Final = DECODERS | {"messages": events.decode_old_message}
ECHOES: Final = DECODERS | {"messages": events.decode_echo}
DECODERS_OF: Final = {"history": HISTORY, "message_echoes": ECHOES, "smb_message_echoes": ECHOES}

REPORTS: Final = frozenset(
    [
        "sent",
        "delivered",
        "read",
        "failed",
        "played",
        "replied",
        "reacted",
        "edited",
        "revoked",
        "opted_out",
        "opted_in",
        "clicked",
        "template_event",
        "flow_event",
        "account_event",
        "other",
    ]
)

# A body with one of these is a value without its envelope.
VALUE: Final = frozenset(DECODERS) - {"events", "groups"} | {"contacts", "messaging_product"}
ENTRY: Final = frozenset({"id", "time"})
NOT_WHATSAPP: Final = frozenset({"page", "instagram", "user", "permissions", "ad_account"})

VALUES_ARE_OFF: Final = (
    "the request names changed fields but carries no data:"
    " switch on “Include Values” in the app's webhook settings at Meta"
)


def decode(notification: Notification, provider: str) -> Decoded:
    """Return every element of the body as a record or a rejection, in the name of `provider`."""
    receipts = decode_receipts(notification, provider)
    return decode_any(notification, provider) if receipts is None else receipts


def decode_any(notification: Notification, provider: str) -> Decoded:
    """Do what :func:`decode` does, for a body of any content and shape."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        lines = load_lines(notification.body)
        if not any(type(line) is dict and is_body(line) for line in lines):
            return reject_body(notification, provider, str(problem), Reason.UNREADABLE)
        body = lines
    decoder = BodyDecoder(notification, provider, Decoded())
    if type(body) is list:
        for i, part in enumerate(body):
            decoder.decode_body(part, (i,))
    else:
        decoder.decode_body(body, WHOLE_BODY)
    return decoder.decoded


def is_body(body: dict[str, Any]) -> bool:
    """Return whether `body` has one of the shapes that can be decoded."""
    return (
        "entry" in body
        or "changes" in body
        or ("field" in body and "value" in body)
        or ("event" in body and type(body.get("data")) is dict)
        or not VALUE.isdisjoint(body)
        or field_of(None, body) is not None
    )


class BodyDecoder(msgspec.Struct, gc=False):
    """Decodes bodies of one notification, in any shape; `decoded` holds the records and rejections so far."""

    notification: Notification
    provider: str
    decoded: Decoded

    def reject(self, path: Path, reason: str, reason_class: Reason = Reason.ELEMENT) -> None:
        """Add the rejection of what stands at `path`."""
        self.decoded.add(reject(self.notification, self.provider, path, reason, reason_class), path)

    def decode_body(self, body: Any, path: Path) -> None:
        """Decode a body of any shape."""
        if isinstance(body, UnreadableBodyError):
            self.reject(path, str(body), Reason.UNREADABLE)
        elif type(body) is not dict or not is_body(body):
            self.reject(path, "this is no WhatsApp webhook", Reason.SHAPE)
        elif text(body.get("object")) in NOT_WHATSAPP:
            reason = f"this webhook is about the object {body['object']}, not about WhatsApp"
            self.reject(path, reason, Reason.SHAPE)
        elif "entry" in body:
            entries = body["entry"]
            if type(entries) is list:
                for i, entry in enumerate(entries):
                    self.decode_entry(entry, path + ("entry", i))
            elif entries is not None:
                self.decode_entry(entries, path + ("entry",))
        elif "changes" in body:
            self.decode_entry(body, path)
        elif "field" in body and "value" in body:
            self.decode_change(Origin(self.notification, self.provider), body, path)
        elif "event" in body and type(body.get("data")) is dict:
            origin = Origin(self.notification, self.provider)
            self.decode_value(origin, text(body["event"]), body["data"], path + ("data",))
        else:
            self.decode_value(Origin(self.notification, self.provider), None, body, path)

    def decode_entry(self, entry: Any, path: Path) -> None:
        """Decode the notices about one account."""
        if type(entry) is not dict:
            self.reject(path, "an entry must be an object")
            return
        if "changes" not in entry:
            if "changed_fields" in entry:
                self.reject(path, VALUES_ARE_OFF)
            elif not ENTRY.issuperset(entry):
                self.reject(path, "an entry without changes", Reason.SHAPE)
            return
        account_id = text(entry.get("id"))
        entry_at = timestamps.parse(entry.get("time"))
        is_test = account_id == TEST_ACCOUNT
        changes = entry["changes"]
        if type(changes) is list:
            for i, change in enumerate(changes):
                origin = Origin(self.notification, self.provider, account_id, entry_at, is_test)
                self.decode_change(origin, change, path + ("changes", i))
        elif changes is not None:
            origin = Origin(self.notification, self.provider, account_id, entry_at, is_test)
            self.decode_change(origin, changes, path + ("changes",))

    def decode_change(self, origin: Origin, change: Any, path: Path) -> None:
        """Decode one change: a field and its value."""
        if type(change) is not dict:
            self.reject(path, "a change must be an object")
            return
        value = change.get("value")
        if type(value) is dict:
            self.decode_value(origin, text(change.get("field")), value, path + ("value",))
        else:
            self.reject(path, "a change must have an object as its value")

    def decode_value(self, origin: Origin, field: str | None, value: dict[str, Any], path: Path) -> None:
        """Decode a value: one notice, or the arrays in it. Its keys are asked where `field` is not enough."""
        if field != "messages":
            field = field_of(field, value) or field
            decode = decoder_of_whole(field, value)
            if decode is not None:
                decode_one(origin, value, decode, path, self.decoded)
                return
        metadata = mapping(value.get("metadata"))
        origin.phone_number_id = text(metadata.get("phone_number_id"))
        origin.business_phone = business_e164(
            text(metadata.get("display_phone_number") or value.get("business_phone"))
        )
        origin.is_test = origin.is_test or origin.phone_number_id == TEST_PHONE_NUMBER_ID
        contacts = value.get("contacts")
        if contacts is not None:
            origin.contacts = read_contacts(contacts, path)
            if "statuses" not in value and len(items(value.get("messages"))) == 1:
                origin.contacts = with_only_contact(origin.contacts)
        decoders = DECODERS_OF.get(field or "", DECODERS)
        has_elements = False
        scalars: list[str] = []  # no elements, such as a flag that a relay adds, unless there is nothing else
        for name, elements in value.items():
            if name in AROUND or elements is None:
                continue
            decode = decoders.get(name)
            if decode is None:
                if type(elements) not in (list, dict):
                    scalars.append(name)
                    continue
                decode = decoder_of_unknown(name)
            has_elements = True
            decode_each(origin, elements, decode, path + (name,), self.decoded)
        if has_elements:
            return
        if contacts:
            self.decoded.add(other(origin, value, "contacts", None), path)
            return
        for name in scalars:
            decode_each(origin, value[name], decoder_of_unknown(name), path + (name,), self.decoded)


def decoder_of_whole(field: str | None, value: dict[str, Any]) -> DecodeElement | None:
    """Return the decoder of a value that is itself the element, or None if its arrays hold the elements."""
    if RECEIPTS_AND_ANSWERS.isdisjoint(value):
        notice = None if field is None else decoder_of_notice(field)
        if (
            field is not None
            and notice is not None
            and (field in NOTICES or DECODERS.keys().isdisjoint(value))
        ):
            return partial(notice, field)
        if DECODERS.keys().isdisjoint(value) and (field is not None or VALUE.isdisjoint(value)):
            return lambda origin, element: other(
                origin,
                element,
                field or "change",
                text(element.get("event")) or text(element.get("type")),
                message_id=None,  # the `id` of a value is a channel's or a solution's, not a message's
            )
    return None


def decoder_of_unknown(name: str) -> DecodeElement:
    """Return the decoder of the elements of an unknown array."""
    return lambda origin, element: other(origin, element, name, text(mapping(element).get("type")))
