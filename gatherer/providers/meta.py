"""Meta's WhatsApp Business Platform (Cloud API), directly or through a relay that leaves the body alone.

Set-up
    In the Meta App Dashboard, WhatsApp → Configuration, enter the callback URL and the verify token that
    `gatherer init` printed, and subscribe to the field `messages`. The app must also be subscribed to the
    WhatsApp Business Account (`POST /{waba-id}/subscribed_apps`); without it only the dashboard's Test
    button gets through. Put the App Secret into `app_secrets`.

Mapping
    `statuses[]` → sent, delivered, read, failed, played. `messages[]` → replied or reacted. What is not
    modelled becomes an other event, what cannot be read is rejected; neither costs its siblings.

Quirks
    A post carries up to 1000 updates in any order and is redelivered for up to seven days. `contacts`,
    `from`, `recipient_id`, `context` and `pricing` are each absent in real traffic. A `read` often comes
    without its `delivered`. Nothing but the payload's own ids tells a redelivery from a new fact.
"""

from typing import Any, Final

from gatherer import timestamps
from gatherer.notification import Notification
from gatherer.phones import e164
from gatherer.providers.base import BadElement, Decoded, Provider, reject
from gatherer.providers.elements import items, mapping, text
from gatherer.providers.payload import Unreadable, load_json
from gatherer.providers.whatsapp import Origin, decode_message, decode_status, index_contacts, other
from gatherer.records import Reason

NAME: Final = "meta"

# The dashboard's Test button sends this account, number and message id; `gatherer simulate` marks its
# traffic the same way. https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks
TEST_ACCOUNT: Final = "0"
TEST_PHONE_NUMBER_ID: Final = "123456123"

ELEMENTS: Final = {"statuses": decode_status, "messages": decode_message}
ABOUT_THE_ELEMENTS: Final = frozenset({"messaging_product", "metadata", "contacts"})


def decode(notification: Notification) -> Decoded:
    """Return every element of one post of Meta's as a record or a rejection."""
    try:
        body = load_json(notification.body)
    except Unreadable as problem:
        return [reject(notification, NAME, "$", str(problem), Reason.UNREADABLE)]
    if type(body) is not dict or "entry" not in body:
        return [reject(notification, NAME, "$", "this is no WhatsApp webhook: it has no entry", Reason.SHAPE)]
    decoded: Decoded = []
    for e, entry in enumerate(items(body["entry"])):
        if type(entry) is not dict:
            decoded.append(reject(notification, NAME, f"$.entry[{e}]", "an entry must be an object"))
            continue
        account = text(entry.get("id"))
        entry_at = timestamps.parse(entry.get("time"))
        for c, change in enumerate(items(entry.get("changes"))):
            path = f"$.entry[{e}].changes[{c}]"
            if type(change) is not dict:
                decoded.append(reject(notification, NAME, path, "a change must be an object"))
                continue
            origin = Origin(notification, NAME)
            origin.account_id = account
            origin.entry_at = entry_at
            origin.is_test = account == TEST_ACCOUNT
            value = change.get("value")
            if change.get("field") == "messages" and type(value) is dict:
                _decode_value(origin, value, path + ".value", decoded)
            else:
                decoded.append(other(origin, change, text(change.get("field")) or "change", None))
    return decoded


def _decode_value(origin: Origin, value: dict[str, Any], path: str, decoded: Decoded) -> None:
    """Add everything in the `value` of the field `messages` to `decoded`."""
    metadata = mapping(value.get("metadata"))
    origin.phone_number_id = text(metadata.get("phone_number_id"))
    origin.business_phone = e164(text(metadata.get("display_phone_number")))
    origin.is_test = origin.is_test or origin.phone_number_id == TEST_PHONE_NUMBER_ID
    if "contacts" in value:
        origin.contacts = index_contacts(value["contacts"])
    for name, elements in value.items():
        if name in ABOUT_THE_ELEMENTS:
            continue
        decode_element = ELEMENTS.get(name)
        for i, element in enumerate(items(elements)):
            try:
                if decode_element is None:
                    decoded.append(other(origin, element, name, None))
                else:
                    decoded.append(decode_element(origin, element))
            except BadElement as problem:
                where = f"{path}.{name}[{i}]"
                decoded.append(reject(origin.notification, NAME, where, str(problem), problem.reason_class))
            except Exception as defect:  # noqa: BLE001 - a defect of ours must not cost the siblings
                where = f"{path}.{name}[{i}]"
                reason = f"the decoder failed: {type(defect).__name__}"
                decoded.append(reject(origin.notification, NAME, where, reason, Reason.DECODER))


PROVIDER: Final = Provider(
    name=NAME,
    title="Meta WhatsApp Cloud API",
    decode=decode,
    reports=frozenset({"sent", "delivered", "read", "failed", "played", "replied", "reacted", "other"}),
    authentication="X-Hub-Signature-256 over the body (app_secrets); verify token for the handshake",
    on_refusal="sends the post again",
    retries="up to 7 days, less and less often",
    documentation=__doc__,
)
