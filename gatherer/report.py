"""What there is, for people and for monitoring: the state of the inbox and of the target."""

from datetime import datetime
from typing import Any, Final

import msgspec

from gatherer import providers, timestamps
from gatherer.inbox.base import Bounds, Inbox
from gatherer.providers.base import Provider
from gatherer.records import Kind, OtherEvent, Record, Rejected, Response
from gatherer.targets.base import Target


def status(inbox: Inbox, target: Target) -> dict[str, Any]:
    """Return the state of `inbox` and `target` as plain values; times as ISO-8601 in UTC."""
    return {"inbox": of_inbox(inbox, target), **of_target(target)}


def of_inbox(inbox: Inbox, target: Target) -> dict[str, Any]:
    """Return what `inbox` holds, and how far `target` has got with it."""
    held = inbox.status()
    position = target.position(inbox.identity)
    reached = position.notification_id if position else 0
    waiting = next(iter(inbox.read(reached, Bounds(rows=1))), None)
    return {
        "identity": held.identity,
        "notifications": held.count,
        "bytes": held.bytes,
        "first_id": held.first_id,
        "last_id": held.last_id,
        "position": reached,
        "backlog": max(0, held.last_id - max(reached, (held.first_id or 1) - 1)),
        "oldest_waiting_at": timestamps.iso(waiting.received_at) if waiting else None,
        "oldest_waiting_seconds": _age(waiting.received_at) if waiting else None,
    }


def of_target(target: Target) -> dict[str, Any]:
    """Return what `target` holds, and how the last pass into it went."""
    state = target.status()
    run = state.last_run
    return {
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


# The six of the mission first, then the rest, then notices.
_REPORTABLE: Final = (
    *(str(kind) for kind in Kind),
    "template_event",
    "flow_event",
    "account_event",
    "other",
)

WILL_NOT_COME: Final = (
    "What will not come: notices about templates, flows and accounts always go to the app's default URL. "
    "A callback-override URL (per number or per account) and a relay never see them. `read` comes only from "
    "people with read receipts on. `opted_out` also comes from the words in opt_out_keywords, with any "
    "provider."
)


def provider_row(provider: Provider) -> dict[str, str]:
    """Return what `provider` can report and how it behaves, as one row of the matrix."""
    return {
        "provider": provider.name,
        "service": provider.title,
        "reports": ", ".join(word for word in _REPORTABLE if word in provider.reports),
        "authentication": provider.authentication,
        "when_refused": provider.on_refusal,
        "retries": provider.retries,
    }


def provider_matrix() -> list[dict[str, str]]:
    """Return a row for every provider: what it can report and how it behaves."""
    return [provider_row(providers.get(name)) for name in providers.names()]
