"""The state of all inboxes and of the target: one inbox that cannot be read does not hide the others."""

from datetime import datetime
from typing import Any

from gatherer import config
from gatherer.app.gather import worst_exit_code
from gatherer.app.resources import inbox_room, open_inbox, open_target
from gatherer.config import Configuration
from gatherer.inbox.base import Bounds, Inbox
from gatherer.model import timestamps
from gatherer.model.errors import GathererError
from gatherer.server.http import certificate
from gatherer.targets.base import Target


def status(configuration: Configuration) -> tuple[dict[str, Any], int]:
    """Return where things stand, as plain values, and an exit code.

    Raises:
        GathererError: the target cannot be read, or the only inbox of an `[inbox]`.

    """
    codes = []
    if not configuration.has_several_inboxes:
        with open_inbox(configuration) as inbox, open_target(configuration, dry_run=True) as target:
            state = _of_one_inbox(inbox, target)
        state["inbox"] |= inbox_room(configuration.inbox) or {}
        return state | _certificate(configuration), 0
    with open_target(configuration, dry_run=True) as target:
        inboxes: list[dict[str, Any]] = []
        for name, settings in configuration.named_inboxes.items():
            where = settings.url if isinstance(settings, config.OfferedInbox) else str(settings.path)
            described: dict[str, Any] = {"name": name, "where": where}
            try:
                with open_inbox(configuration, name) as inbox:
                    described |= of_inbox(inbox, target) | {"problem": None}
                if isinstance(settings, config.Inbox):
                    described |= inbox_room(settings) or {}
            except GathererError as error:
                described["problem"] = str(error)
                codes.append(error.exit_code)
            inboxes.append(described)
        return {"inboxes": inboxes, **of_target(target), **_certificate(configuration)}, worst_exit_code(
            codes
        )


def _certificate(configuration: Configuration) -> dict[str, Any]:
    path = configuration.server.tls_certificate
    return {} if path is None else {"certificate": certificate.state(path)}


def _of_one_inbox(inbox: Inbox, target: Target) -> dict[str, Any]:
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
    """Return what `target` holds, and how the last run into it went."""
    state = target.status()
    run = state.last_run
    return {
        "target": {
            "name": target.name,
            "rows": state.rows,
            "rejected_open": state.rejected_open,
        },
        "last_run": run
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
