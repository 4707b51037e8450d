"""What is held about a person, as plain values to hand out to them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.privacy.holding import Held
from gatherer.privacy.tracing import Found

_INTERNAL: Final = ("id", "key")  # columns that say nothing about anybody


def describe(found: Found) -> dict[str, Any]:
    """Return what was `found` as values that JSON can carry.

    Of notifications, and of rows about others, only the elements about the person, and where somebody else's element
    names them, what names them.
    """
    return {
        "known_by": {
            "phone": sorted(found.person.phones),
            "user_id": sorted(found.person.user_ids),
        },
        "rows": {table: [_plain(row) for row in rows] for table, rows in sorted(found.rows.items()) if rows},
        "mentioned_in": [
            {
                "table": table,
                "occurred_at": timestamps.iso(mention.row["occurred_at"]),
                "endpoint": mention.row["endpoint"],
                "elements": mention.freed.theirs,
            }
            for table, mentions in sorted(found.mentions.items())
            for mention in mentions
        ],
        "rejected": [_of_notification(held) for held in found.rejected],
        "notifications": [
            {"inbox": name, **_of_notification(held)}
            for name, all_held in found.inboxes.items()
            for held in all_held
        ],
    }


def _of_notification(held: Held) -> dict[str, Any]:
    notification = held.notification
    return {
        "id": notification.id,
        "received_at": timestamps.iso(notification.received_at),
        "endpoint": notification.endpoint,
        "elements": held.theirs,
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: timestamps.iso(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if name not in _INTERNAL and value is not None
    }
