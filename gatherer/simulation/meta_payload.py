"""Request bodies as Meta sends them: its envelope, its JSON escapes, its signature.

https://developers.facebook.com/docs/messenger-platform/webhooks#validate-payloads
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

# The account and phone number that the Test button of Meta's dashboard uses. The decoder marks rows from this account
# as tests.
TEST_ACCOUNT: Final = "0"
TEST_PHONE_NUMBER_ID: Final = "123456123"
TEST_BUSINESS_PHONE: Final = "16505551111"

Value = dict[str, Any]


def encode(payload: object) -> bytes:
    r"""Return `payload` in Meta's form of JSON: `\u` escapes in lower case, and `\/` for every slash."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode("ascii")


def envelope(*entries: Sequence[Value]) -> dict[str, Any]:
    """Return one notification with `entries`; each is a list of the values of its changes."""
    return {
        "object": "whatsapp_business_account",
        "entry": [
            {"id": TEST_ACCOUNT, "changes": [{"value": value, "field": "messages"} for value in values]}
            for values in entries
        ],
    }


def value(*, contacts: Sequence[Value] = (), **elements: Sequence[Value]) -> Value:
    """Return the value of a change of the field `messages`: the business number, `contacts`, and `elements` by name."""
    metadata = {"display_phone_number": TEST_BUSINESS_PHONE, "phone_number_id": TEST_PHONE_NUMBER_ID}
    result: Value = {"messaging_product": "whatsapp", "metadata": metadata}
    if contacts:
        result["contacts"] = list(contacts)
    return result | {name: list(array) for name, array in elements.items()}


def signature(body: bytes, app_secret: str) -> str:
    """Return the value of the header `X-Hub-Signature-256` for `body`."""
    return "sha256=" + hmac.digest(app_secret.encode(), body, hashlib.sha256).hex()


def message_id(phone: str, random: bytes, *, outgoing: bool) -> str:
    """Return a message id in WhatsApp's form: Base64 of the person's number, the direction and 9 bytes.

    Args:
        phone: the number of the person.
        random: 9 bytes.
        outgoing: whether the business sent the message.

    """
    number = phone.encode("ascii")
    direction = b"\x11" if outgoing else b"\x12"
    unique = random.hex().upper().encode("ascii")
    packed = b"\x1c\x18" + bytes([len(number)]) + number + b"\x15\x02\x00" + direction + b"\x18\x12" + unique
    return "wamid." + base64.b64encode(packed + b"\x00").decode("ascii")
