"""Measure the decoder of `meta`: statuses per second on one core, beside bare `msgspec.json.decode` of the same bytes.

Receipts come one per body and in batches of 100. `unusual` receipts carry a key that the fast path for everyday
bodies does not know, so they take the general path, as answers and failures do. The decoder and the bare decoder
alternate in this process, so that other processes slow down both; the figures are medians of the rounds.
"""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import msgspec

from gatherer.model.notification import Notification
from gatherer.providers import meta

STATUSES = 30_000
ROUNDS = 9
WORDS = ("sent", "delivered", "read")
PER_SECOND = 30  # receipts of a campaign that share one second


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
    received_at = datetime(2026, 11, 21, tzinfo=UTC)
    notifications = [
        Notification(i, "inbox", received_at, "e", "meta", content) for i, content in enumerate(bodies)
    ]

    def decode_bare() -> None:
        for content in bodies:
            msgspec.json.decode(content)

    def decode_notifications() -> None:
        for notification in notifications:
            meta.decode(notification)

    rounds = [(seconds(decode_bare), seconds(decode_notifications)) for _ in range(ROUNDS)]
    bare = median(bare_seconds for bare_seconds, _ in rounds)
    full = median(full_seconds for _, full_seconds in rounds)
    return {
        "statuses_per_body": per_body,
        "bytes_per_body": len(bodies[0]),
        "statuses_per_second": round(STATUSES / full),
        "bare_decode_per_second": round(STATUSES / bare),
        "ratio": round(median(bare_seconds / full_seconds for bare_seconds, full_seconds in rounds), 3),
    }


def run() -> dict[str, object]:
    """Return the figures for one status per body and for 100."""
    return {
        "single": measure(1),
        "batch": measure(100),
        "unusual_single": measure(1, unusual),
        "unusual_batch": measure(100, unusual),
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(json.dumps(run(), indent=2))
