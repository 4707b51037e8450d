"""Acme: a provider as another author would write it. `test_external_provider.py` installs it as a package.

Set-up
    Enter the URL at Acme and put the signing key into `acme_signing_keys`.

Mapping
    `{"delivered": [{"id": …, "to": …}]}` → delivered.

Quirks
    Acme signs the requested URL and the body, and expects `{"ok": true}`.
"""

import hashlib
import hmac
import json

from gatherer.model.notification import Notification
from gatherer.model.records import Kind, Response, make_key
from gatherer.providers.base import Acknowledgement, Decoded, Provider
from gatherer.providers.signatures import BodyCheck, Headers, SignatureSettings, equals_any, header_bytes


def decode(notification: Notification) -> Decoded:
    """Return one response for each element of `delivered`."""
    decoded = Decoded()
    for i, element in enumerate(json.loads(notification.body)["delivered"]):
        response = Response(
            key=make_key("acme", Kind.DELIVERED, element["id"]),
            provider="acme",
            endpoint=notification.endpoint,
            inbox_id=notification.inbox_id,
            notification_id=notification.id,
            received_at=notification.received_at,
            occurred_at=notification.received_at,
            occurred_at_source="receipt",
            kind=Kind.DELIVERED,
            message_id=element["id"],
            phone=element["to"],
        )
        decoded.add(response, ("delivered", i))
    return decoded


def signature(settings: SignatureSettings) -> BodyCheck:
    """Return the check of `X-Acme-Signature`: HMAC-SHA512 of the public URL, a line break and the body."""
    keys = [key.encode() for key in settings.secrets["acme_signing_keys"]]

    def check(headers: Headers, body: bytes, url: str) -> bool:
        signed = (settings.public_url or url).encode() + b"\n" + body
        accepted = [hmac.new(key, signed, hashlib.sha512).hexdigest().encode() for key in keys]
        return equals_any(header_bytes(headers.get("X-Acme-Signature") or ""), accepted)

    return check


PROVIDER = Provider(
    name="acme",
    title="Acme",
    decode=decode,
    reports=frozenset({"delivered"}),
    authentication="X-Acme-Signature over the URL and the body (acme_signing_keys, public_url)",
    on_refusal="sends the request again",
    retries="once an hour",
    documentation=__doc__,
    secrets=("acme_signing_keys",),
    signature=signature,
    signature_headers=("X-Acme-Signature", "X-Acme-Key-Id"),
    acknowledgement=Acknowledgement(body=b'{"ok": true}', content_type="application/json"),
)
