"""Meta's WhatsApp Business Platform (Cloud API), directly or through a relay that leaves the body alone.

Set-up
    In the Meta App Dashboard, WhatsApp → Configuration, enter the callback URL and the verify token that
    `gatherer init` printed, and subscribe to the field `messages`, and to `user_preferences`, which alone tells
    who stops marketing messages in WhatsApp itself; also to the `message_template_*` fields,
    `template_category_update`, `flows` and the `account_*` fields for notices. The app must also be subscribed
    to the WhatsApp Business Account (`POST /{waba-id}/subscribed_apps`); without it only the dashboard's Test
    button gets through. Put the App Secret into `app_secrets`.
    Through 360dialog's Cloud API: the same, but authenticated by a header or HTTP Basic set there.
    Gupshup's version 3 sends Meta's form with a `gs_id` beside each id, which becomes provider_message_id; `enqueued` is
    an other event with Gupshup's id, and the times in milliseconds are understood. It signs nothing: use a url_key.

Mapping
    `statuses[]` → sent, delivered, read, failed, played. `messages[]` → replied, reacted, edited, revoked.
    `user_preferences[]` → opted_out (stop), opted_in (resume, signup). `user_actions[]` → clicked.
    Fields of templates, Flows and the account → template, flow and account events.
    A message that is unsupported because its content is unavailable (131060) is replied, without text; other
    unsupported ones (131051), system messages, calls, payments, groups, echoes of our own messages, history
    and errors of the account are other events. So is every word not known here.
    Standby messages, which another app handles, are answers all the same.

Quirks
    A request carries up to 1000 updates in any order and is repeated for up to seven days. `contacts`,
    `from`, `recipient_id`, `context` and `pricing` are each absent in real traffic. A `read` often comes
    without its `delivered`. Nothing but the payload's own ids tells a redelivery from a new fact.
    Template, flow and account notices always go to the app's own URL: an endpoint behind a callback override
    or a relay never sees them. With “Include Values” switched off at Meta, requests carry no data at all.
"""

from typing import Final

from gatherer.model.notification import Notification
from gatherer.providers.base import Decoded, Provider
from gatherer.providers.signatures import HUB_HEADERS, HUB_SECRETS, hub_signature
from gatherer.providers.whatsapp import envelope, everyday_receipts

NAME: Final = "meta"

# What the dashboard's Test button sends; simulated traffic carries it too.
TEST_ACCOUNT: Final = everyday_receipts.TEST_ACCOUNT
TEST_PHONE_NUMBER_ID: Final = everyday_receipts.TEST_PHONE_NUMBER_ID


def decode(notification: Notification) -> Decoded:
    """Return every element of the body as a record or a rejection."""
    return envelope.decode(notification, NAME)


PROVIDER: Final = Provider(
    name=NAME,
    title="Meta WhatsApp Cloud API",
    decode=decode,
    reports=envelope.REPORTS,
    authentication="X-Hub-Signature-256 over the body (app_secrets); verify token for the handshake",
    on_refusal="sends the request again",
    retries="less and less often, up to 7 days; other pages of Meta's say 36 hours: count on those",
    documentation=__doc__,
    secrets=(HUB_SECRETS,),
    signature=hub_signature,
    signature_headers=HUB_HEADERS,
    verifies_url=True,
)
