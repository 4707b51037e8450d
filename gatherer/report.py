"""What there is, for people and for monitoring: the state of the inbox and of the target."""

from datetime import datetime
from typing import Any, Final

import msgspec

from gatherer import timestamps
from gatherer.inbox.base import Bounds, Inbox
from gatherer.records import OtherEvent, Record, Rejected, Response
from gatherer.targets.base import Target


def status(inbox: Inbox, target: Target) -> dict[str, Any]:
    """Return the state of `inbox` and `target` as plain values; times as ISO-8601 in UTC."""
    held = inbox.status()
    position = target.position(inbox.identity)
    reached = position.notification_id if position else 0
    waiting = next(iter(inbox.read(reached, Bounds(rows=1))), None)
    state = target.status()
    run = state.last_run
    return {
        "inbox": {
            "identity": held.identity,
            "notifications": held.count,
            "bytes": held.bytes,
            "first_id": held.first_id,
            "last_id": held.last_id,
            "position": reached,
            "backlog": max(0, held.last_id - max(reached, (held.first_id or 1) - 1)),
            "oldest_waiting_at": timestamps.iso(waiting.received_at) if waiting else None,
            "oldest_waiting_seconds": _age(waiting.received_at) if waiting else None,
        },
        "target": {
            "name": target.name,
            "rows": state.rows,
            "rejected_open": state.rejected_open,
        },
        "last_pass": run
        and {
            "started_at": timestamps.iso(run.started_at),
            "finished_at": timestamps.iso(run.finished_at),
            "host": run.host,
            "version": run.version,
            "read": run.read,
            "inserted": run.inserted,
            "filled": run.filled,
            "duplicates": run.duplicates,
            "rejected": run.rejected,
            "exit_code": run.exit_code,
            "problem": run.problem,
        },
    }


def _age(moment: datetime) -> float:
    return round((timestamps.now() - moment).total_seconds(), 3)


# What every description of a record has, whatever the record: scripts can rely on it.
_ALWAYS: Final = (
    "message_id",
    "about_message_id",
    "phone",
    "user_id",
    "occurred_at",
    "emoji",
    "reply_text",
    "error_code",
)


def describe(fact: Record | Rejected) -> dict[str, Any]:
    """Return a record or a rejection as plain values: key in hex, times as ISO-8601 in UTC, no bytes."""
    kind = {Response: None, OtherEvent: "other"}.get(type(fact), fact.table)
    described = {"key": fact.key.hex(), "kind": kind, **dict.fromkeys(_ALWAYS)}
    for name, value in msgspec.structs.asdict(fact).items():
        if isinstance(value, datetime):
            described[name] = timestamps.iso(value)
        elif isinstance(value, bytes):
            described[name] = None if name == "body" else value.hex()
        else:
            described[name] = value
    described.pop("body", None)
    return described
