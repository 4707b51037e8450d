"""The bytes that Meta would send: its envelope, its way of escaping, its signature.

https://developers.facebook.com/docs/messenger-platform/webhooks#validate-payloads
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

# What the Test button of Meta's dashboard sends. The decoder marks rows from this account as tests.
TEST_ACCOUNT: Final = "0"
TEST_PHONE_NUMBER_ID: Final = "123456123"
TEST_BUSINESS_PHONE: Final = "16505551111"

Value = dict[str, Any]


def encode(payload: object) -> bytes:
    r"""Return `payload` as Meta writes JSON: `\u` escapes in lower case, and `\/` for every slash."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def envelope(*entries: Sequence[Value]) -> dict[str, Any]:
    """Return one notification with `entries`, each of which has the values of its changes."""
    return {
        "object": "whatsapp_business_account",
        "entry": [
            {"id": TEST_ACCOUNT, "changes": [{"value": value, "field": "messages"} for value in values]}
            for values in entries
        ],
    }


def value(*, contacts: Sequence[Value] = (), **elements: Sequence[Value]) -> Value:
    """Return the value of a change of the field `messages`: our number, then `elements` by name."""
    metadata = {"display_phone_number": TEST_BUSINESS_PHONE, "phone_number_id": TEST_PHONE_NUMBER_ID}
    about = {"messaging_product": "whatsapp", "metadata": metadata}
    return (
        about | ({"contacts": list(contacts)} if contacts else {}) | {n: list(e) for n, e in elements.items()}
    )


def signature(body: bytes, app_secret: str) -> str:
    """Return the header `X-Hub-Signature-256` for `body`."""
    return "sha256=" + hmac.digest(app_secret.encode(), body, hashlib.sha256).hex()


def message_id(phone: str, random: bytes, *, outgoing: bool) -> str:
    """Return an id built as WhatsApp builds them: base64 of the person's number, the direction, 9 bytes."""
    number = phone.encode("ascii")
    direction = b"\x11" if outgoing else b"\x12"
    unique = random.hex().upper().encode("ascii")
    packed = b"\x1c\x18" + bytes([len(number)]) + number + b"\x15\x02\x00" + direction + b"\x18\x12" + unique
    return "wamid." + base64.b64encode(packed + b"\x00").decode("ascii")
