"""`gatherer status`: the state of all inboxes and of the target. An inbox that cannot be read does not hide the others."""

import sqlite3
from contextlib import closing
from datetime import datetime
from typing import Any

from gatherer import config
from gatherer.app.gather import worst_exit_code
from gatherer.app.resources import disk_space_limits, open_inbox, open_target
from gatherer.config import Configuration
from gatherer.inbox import disk_space, quarantine, sqlite_file
from gatherer.inbox.base import Bounds, Inbox
from gatherer.model import timestamps
from gatherer.model.errors import GathererError
from gatherer.server.http import certificate
from gatherer.targets.base import Run, Target


def status(configuration: Configuration) -> tuple[dict[str, Any], int]:
    """Return the state as values that JSON can carry, and an exit code.

    Of several inboxes, each that cannot be read has its `problem` in the state.

    Raises:
        GathererError: the target cannot be read, or the only inbox.

    """
    if configuration.has_several_inboxes:
        return _status_of_several(configuration)
    with open_inbox(configuration) as inbox, open_target(configuration, dry_run=True) as target:
        state = {
            "inbox": _inbox_state(inbox, target) | _disk_space_state(configuration.inbox),
            **_target_state(target),
        }
    return state | _certificate_state(configuration), 0


def _status_of_several(configuration: Configuration) -> tuple[dict[str, Any], int]:
    inboxes: list[dict[str, Any]] = []
    exit_codes: list[int] = []
    with open_target(configuration, dry_run=True) as target:
        for name, settings in configuration.named_inboxes.items():
            location = settings.url if isinstance(settings, config.OfferedInbox) else str(settings.path)
            state: dict[str, Any] = {"name": name, "where": location}
            try:
                with open_inbox(configuration, name) as inbox:
                    state |= _inbox_state(inbox, target) | {"problem": None}
                if isinstance(settings, config.Inbox):
                    state |= _disk_space_state(settings)
            except GathererError as error:
                state["problem"] = str(error)
                exit_codes.append(error.exit_code)
            inboxes.append(state)
        whole = {"inboxes": inboxes, **_target_state(target), **_certificate_state(configuration)}
    return whole, worst_exit_code(exit_codes)


def _inbox_state(inbox: Inbox, target: Target) -> dict[str, Any]:
    """Return what `inbox` holds, and how far `target` has read it. Times are ISO-8601 in UTC."""
    contents = inbox.status()
    position = target.position(inbox.identity)
    last_read = position.notification_id if position else 0
    oldest_waiting = next(iter(inbox.read(last_read, Bounds(rows=1))), None)
    return {
        "identity": contents.identity,
        "notifications": contents.count,
        "bytes": contents.bytes,
        "first_id": contents.first_id,
        "last_id": contents.last_id,
        "missing": contents.missing,
        "position": last_read,
        "backlog": max(0, contents.last_id - max(last_read, (contents.first_id or 1) - 1)),
        "oldest_waiting_at": timestamps.iso(oldest_waiting.received_at) if oldest_waiting else None,
        "oldest_waiting_seconds": _age_seconds(oldest_waiting.received_at) if oldest_waiting else None,
    }


def _disk_space_state(settings: config.Inbox) -> dict[str, Any]:
    """Return the disk space of a local inbox, and whether `serve` refuses requests; empty if it cannot be read."""
    path = settings.path.resolve()
    try:
        with closing(sqlite_file.open_readable(path)) as connection:
            usage = disk_space.usage(connection, path)
    except (sqlite3.Error, OSError):
        return {}
    return {
        "held_bytes": usage.held,
        "max_inbox_bytes": settings.max_inbox_bytes,
        "disk_free_bytes": usage.free,
        "min_free_bytes": settings.min_free_bytes,
        "in_quarantine": len(quarantine.entries(quarantine.path_of(path))),
        "refusing_because": disk_space_limits(settings).shortage(usage, 0),
    }


def _target_state(target: Target) -> dict[str, Any]:
    """Return what `target` holds, and what its last run did."""
    state = target.status()
    run = state.last_run
    return {
        "target": {
            "name": target.name,
            "rows": state.rows,
            "test_responses": state.tests,
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
            "times_ahead": run.times_ahead,
            "purged_unread": run.purged_unread,
            "missing": run.missing,
            "exit_code": run.exit_code,
            "problem": run.problem,
        },
        **({"after_run": {step.step: _step_state(step) for step in state.steps}} if state.steps else {}),
    }


def _step_state(step: Run) -> dict[str, Any]:
    """Return how a step of `[[after_run]]` went last time."""
    return {
        "exit_code": step.exit_code,
        "finished_at": timestamps.iso(step.finished_at),
        "last_line": step.last_line,
    }


def _certificate_state(configuration: Configuration) -> dict[str, Any]:
    path = configuration.server.tls_certificate
    return {} if path is None else {"certificate": certificate.state(path)}


def _age_seconds(moment: datetime) -> float:
    return round((timestamps.now() - moment).total_seconds(), 3)
