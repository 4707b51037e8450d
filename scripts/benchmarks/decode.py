"""Measure the decoders: receipts per second on one core, beside bare `msgspec.json.decode` of the same bytes.

Receipts of `meta` come one per body and in batches of 100. `unusual` receipts carry a key that the fast path for
everyday bodies does not know, so they take the general path, as answers and failures do. `providers` has the receipts
of each provider, one per body, and those of `json` with each mapping of config/providers; a form is compared with
`urllib.parse.parse_qsl`. The decoder and the bare decoder alternate in this process, so that other processes slow down
both; times are those of the process on the processor, and the figures are medians of the rounds.
"""

import argparse
import json
import time
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from urllib.parse import parse_qsl

import msgspec

from gatherer import providers
from gatherer.config import Endpoint
from gatherer.model.notification import Notification
from gatherer.model.records import Response
from gatherer.providers import mapped_json
from gatherer.providers.base import Decode

ROOT = Path(__file__).resolve().parent.parent.parent
PAYLOADS = ROOT / "tests" / "payloads"
# The receipt of each provider, and of the mappings in config/providers
RECEIPTS = {
    "meta": "meta/status_delivered.json",
    "onprem": "onprem/status_delivered.json",
    "wati": "wati/delivered.json",
    "enablex": "enablex/delivered.json",
    "twilio": "twilio/status_delivered.form",
    "infobip": "infobip/delivery_delivered.json",
    "json/azure": "json/azure_receipts.json",
    "json/bird": "json/bird_delivered.json",
    "json/ycloud": "json/ycloud_delivered.json",
    "json/8x8": "json/8x8_delivered.json",
}

STATUSES = 30_000
ROUNDS = 9
WORDS = ("sent", "delivered", "read")
PER_SECOND = 30  # receipts of a campaign that share one second
OF_EACH_PROVIDER = 5_000


def status(i: int) -> dict[str, object]:
    """Return a receipt as Meta has sent them since 2026; two of three have no pricing."""
    receipt: dict[str, object] = {
        "id": f"wamid.HBgLMTU1NTAwMDExMTEVAgARGBI{i // 3 * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF:016X}AA==",
        "status": WORDS[i % 3],
        "timestamp": str(1_790_000_000 + i // PER_SECOND),
        "recipient_id": f"1555{i // 3:07d}",
        "recipient_user_id": f"US.1{i // 3:019d}",
        "biz_opaque_callback_data": "campaign-7",
    }
    if i % 3 == 0:
        receipt["pricing"] = {
            "billable": True,
            "pricing_model": "PMP",
            "type": "regular",
            "category": "marketing",
        }
    return receipt


def body(statuses: list[dict[str, object]]) -> bytes:
    """Return the body with `statuses` and their contacts."""
    user_ids = {str(receipt["recipient_id"]): receipt["recipient_user_id"] for receipt in statuses}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550002222", "phone_number_id": "100000000000001"},
        "contacts": [
            {"profile": {"name": "Test Person"}, "wa_id": wa_id, "user_id": user_id}
            for wa_id, user_id in user_ids.items()
        ],
        "statuses": statuses,
    }
    change = {"field": "messages", "value": value}
    entry = {"id": "900000000000001", "changes": [change]}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [entry]}, separators=(",", ":")
    ).encode()


def seconds(work: Callable[[], None]) -> float:
    """Return the seconds of CPU time that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def unusual(i: int) -> dict[str, object]:
    """Return a receipt with a key that the fast path does not know."""
    return {**status(i), "recipient_identity_key_hash": "FAKEHASH="}


def measure(per_body: int, make: Callable[[int], dict[str, object]] = status) -> dict[str, float]:
    """Return the figures for bodies of `per_body` statuses."""
    bodies = [
        body([make(i) for i in range(start, start + per_body)]) for start in range(0, STATUSES, per_body)
    ]
    return compare("meta", providers.get("meta").decode, bodies, per_body)


def compare(name: str, decode: Decode, bodies: list[bytes], per_body: int) -> dict[str, float]:
    """Return the figures of `decode` for `bodies` of `per_body` receipts each, stored for the provider `name`."""
    received_at = datetime(2026, 11, 21, tzinfo=UTC)
    notifications = [
        Notification(i, "inbox", received_at, "e", name, content) for i, content in enumerate(bodies)
    ]
    is_form = not bodies[0].startswith((b"{", b"["))

    def decode_bare() -> None:
        for content in bodies:
            if is_form:
                parse_qsl(content.decode())
            else:
                msgspec.json.decode(content)

    def decode_notifications() -> None:
        for notification in notifications:
            decode(notification)

    rounds = [(seconds(decode_bare), seconds(decode_notifications)) for _ in range(ROUNDS)]
    bare = median(bare_seconds for bare_seconds, _ in rounds)
    full = median(full_seconds for _, full_seconds in rounds)
    count = len(bodies) * per_body
    return {
        "statuses_per_body": per_body,
        "bytes_per_body": len(bodies[0]),
        "statuses_per_second": round(count / full),
        "bare_decode_per_second": round(count / bare),
        "ratio": round(median(bare_seconds / full_seconds for bare_seconds, full_seconds in rounds), 3),
    }


def decoder(name: str) -> Decode:
    """Return the decoder of a provider, or of `json` with one of the mappings in config/providers."""
    provider, _, mapping = name.partition("/")
    if not mapping:
        return providers.get(provider).decode
    sample = (ROOT / "config" / "providers" / f"{mapping}.toml").read_text(encoding="utf-8")
    endpoint = Endpoint.model_validate(tomllib.loads(sample)["endpoint"][0])
    assert endpoint.mapping is not None
    return mapped_json.decoder(endpoint.mapping.body_mapping(endpoint.name))


def measure_provider(name: str, file: str) -> dict[str, float]:
    """Return the figures for copies of the payload in `file`, each with a message id of its own."""
    decode, content = decoder(name), (PAYLOADS / file).read_bytes()
    provider = name.partition("/")[0]
    if file.endswith(".json"):
        value = json.loads(content)
        value = value[:1] if isinstance(value, list) else value
        content = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    (receipt,) = decode(Notification(1, "inbox", datetime(2026, 11, 21, tzinfo=UTC), "e", provider, content))
    assert isinstance(receipt, Response)
    assert receipt.message_id
    message_id = receipt.message_id.encode()
    bodies = [content.replace(message_id, message_id[:-6] + b"%06d" % i) for i in range(OF_EACH_PROVIDER)]
    return compare(provider, decode, bodies, 1)


def run() -> dict[str, object]:
    """Return the figures for one status per body and for 100, and those of each provider."""
    return {
        "providers": {name: measure_provider(name, file) for name, file in RECEIPTS.items()},
        "single": measure(1),
        "batch": measure(100),
        "unusual_single": measure(1, unusual),
        "unusual_batch": measure(100, unusual),
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(json.dumps(run(), indent=2))
