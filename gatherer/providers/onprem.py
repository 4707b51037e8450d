"""WhatsApp's On-Premises form, which Cbot, 360dialog and other services still forward.

Set-up
    Set the webhook URL at the service (`POST /v1/configs/webhook` with its API key, or its portal) and let it
    send HTTP Basic or a header of its own: the form has no signature. A relay that passes the requests of Meta on
    unchanged passes on Meta's signature: put the App Secret into `app_secrets`. A new API key drops the URL at
    some services: set it again. `sent` receipts are off there by default (`sent_status`).
    Turn.io forwards this form with the user id in `from_bsuid`, beside the phone or in its place; `from` may be
    missing or hold the user id itself. It becomes `user_id`, never a phone. Subscribe to `whatsapp` events alone.
    For 360dialog's Cloud API use the provider `meta` with header authentication. Both providers understand both
    forms, told apart request by request: a number that moves from one API to the other keeps its URL.

Mapping
    `statuses[]` → sent, delivered, read, failed, played. `messages[]` → replied, reacted, edited, revoked.
    `errors[]` at the top are other events: they concern our number, never a message. Deleted and warning are
    other events too. Requests in the form of the Cloud API are decoded as `meta` does, notices included, with
    the same keys.

Quirks
    The shape is told by each body, because numbers migrate to the Cloud API under the same URL. Which number
    a request concerns is not in it. Ids are `gBEG…`, `ABEG…` or hex. `deleted` carries the id of the *person's*
    message, which the view `reply` then leaves out. Recipients are repeated in `message.recipient_id`, and some
    forwarders write `messsage_id`. Voice is a separate type, and a changed number is in `new_wa_id`.
"""

from typing import Final

from gatherer.model.notification import Notification
from gatherer.providers.base import Decoded, Provider
from gatherer.providers.signatures import HUB_HEADERS, HUB_SECRETS, hub_signature
from gatherer.providers.whatsapp import envelope

NAME: Final = "onprem"


def decode(notification: Notification) -> Decoded:
    """Return every element of the body as a record or a rejection."""
    if (
        b'"entry"' not in notification.body
    ):  # not in the form of the Cloud API, so it need not be tried as such
        return envelope.decode_any(notification, NAME)
    return envelope.decode(notification, NAME)


PROVIDER: Final = Provider(
    name=NAME,
    title="WhatsApp On-Premises API form (Cbot, 360dialog, other relays)",
    decode=decode,
    reports=envelope.REPORTS,
    authentication="none of its own: HTTP Basic or a header set at the service; Meta's, if passed on (app_secrets)",
    on_refusal="sends the request again",
    retries="typically 24 hours, with growing delay; 360dialog up to 7 days",
    documentation=__doc__,
    secrets=(HUB_SECRETS,),
    signature=hub_signature,
    signature_headers=HUB_HEADERS,
)
