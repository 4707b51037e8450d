"""Infobip's WhatsApp: delivery reports, seen reports, incoming messages and notices.

Set-up
    Have the endpoint's URL set for your WhatsApp sender: for incoming messages in the portal (the sender →
    Forward to HTTP), for delivery and seen reports by Infobip's support, as a subscription, or as `notifyUrl` in
    each send call. One URL serves all. The security settings of a subscription can be HTTP Basic; everything
    else is without: put a url_key into the URL. Send with `callbackData` to get a reference of yours back.

Mapping
    `status.groupName` PENDING → sent, DELIVERED → delivered, UNDELIVERABLE, EXPIRED and REJECTED → failed;
    `seenAt` → read. Incoming messages → replied, REACTION → reacted (REMOVED: taken back).
    A marketing preference STOP → opted_out, RESUME → opted_in.
    Other events: PENDING_ACCEPTED (Infobip has it, WhatsApp not yet), deletions (`deletedAt`), templates,
    payments, changed identities, unsupported messages, other channels such as SMS, and words not known here.

Quirks
    Our ids are UUIDs of Infobip's, or what the sender chose as `messageId`, and no post names an account: choose
    ids that are unique across your accounts. Ids of incoming messages are WhatsApp's own where they look like it.
    Seen reports name both numbers, and two pages contradict each other in which is the person's: such a record
    has no phone, and both numbers stay in its details. What an answer is about says its `context`, else the
    message that Infobip paired it with. Zone offsets come without a colon.
"""

from typing import Any, Final

from gatherer.model.notification import Notification
from gatherer.model.records import Reason, Record
from gatherer.providers.base import Decoded, ElementError, Provider, reject
from gatherer.providers.elements import identifier, items, mapping, text
from gatherer.providers.infobip_messages import decode_answer
from gatherer.providers.infobip_receipts import KINDS, decode_deleted, decode_delivery, decode_seen
from gatherer.providers.infobip_results import NAME, PREFERENCES, decode_notice, decode_template, elsewhere
from gatherer.providers.origin import Origin, decode_each, decode_one, other
from gatherer.providers.payload import UnreadableBodyError, load_json

# Sources: infobip.com/docs/api/channels/whatsapp, the pages receive-whatsapp-delivery-reports, -seen-reports and
# -inbound-messages; the models WhatsAppWebhook* of Infobip's own Java client (31 March 2026).


def decode(notification: Notification) -> Decoded:
    """Return every element of one post as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except UnreadableBodyError as problem:
        return [reject(notification, NAME, "$", str(problem), Reason.UNREADABLE)]
    decoded: Decoded = []
    origin = Origin(notification, NAME)
    post = mapping(body)
    if "results" in post:
        decode_each(origin, items(post["results"]), _decode_result, "$.results", decoded)
    elif "messageId" in post or "messageTemplateId" in post or {"content", "createdAt"} <= post.keys():
        decode_one(origin, post, _decode_result, "$", decoded)  # notices come without an envelope
    else:
        decoded.append(reject(notification, NAME, "$", "the body is no post of Infobip's", Reason.SHAPE))
    return decoded


def _decode_result(origin: Origin, result: Any) -> Record:
    """Return the record that one report, message or notice amounts to.

    Raises:
        ElementError: it is no object, has no id, or an id of the wrong type.

    """
    if type(result) is not dict:
        raise ElementError("a result must be an object")
    if (event := elsewhere(origin, result)) is not None:
        return event
    for telling, decode_it in SHAPES:
        if result.get(telling) is not None:
            return decode_it(origin, result)
    message_id = identifier(result.get("messageId"), "messageId")
    return other(origin, result, "reports", text(result.get("event")), id_space=NAME, message_id=message_id)


# The field that tells what a result is; the first that is there counts.
SHAPES: Final = (
    ("message", decode_answer),
    ("receivedAt", decode_answer),
    ("seenAt", decode_seen),
    ("deletedAt", decode_deleted),
    ("status", decode_delivery),
    ("messageTemplateId", decode_template),
    ("content", decode_notice),
)

PROVIDER: Final = Provider(
    name=NAME,
    title="Infobip WhatsApp",
    decode=decode,
    reports=frozenset({*KINDS.values(), *PREFERENCES.values(), "read", "replied", "reacted", "other"}),
    authentication="none of its own: HTTP Basic by a subscription's security settings, or a url_key",
    on_refusal="not documented",
    retries="not documented",
    documentation=__doc__,
)
