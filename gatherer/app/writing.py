"""Opening what `serve` writes, with the limits that the configuration sets."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from gatherer import config
from gatherer.config import Configuration

if TYPE_CHECKING:
    from gatherer.inbox.purging import Retention
    from gatherer.inbox.quarantine import Quarantine
    from gatherer.inbox.queue import Limits
    from gatherer.inbox.room import Room
    from gatherer.inbox.writer import InboxWriter


def open_writer(
    settings: config.Inbox, *, committed: Callable[[int], None] = lambda rows: None
) -> "InboxWriter":
    """Return the writer of the inbox that `settings` describe; somebody has to close it."""
    from gatherer.inbox import housekeeping
    from gatherer.inbox.writer import InboxWriter

    return InboxWriter(
        settings.path,
        limits=_limits(settings),
        space=_room(settings),
        make_room=partial(housekeeping.make_room, settings.path.resolve()),
        committed=committed,
        group=settings.group,
    )


def open_quarantine(configuration: Configuration, inbox: config.Inbox) -> "Quarantine | None":
    """Return the writer of the quarantine of `inbox`, to be closed; None if no endpoint has one and none is left over."""
    from gatherer.inbox import quarantine
    from gatherer.inbox.room import Room

    path = quarantine.path_of(inbox.path)
    wanted = any(one.on_failed_authentication == "quarantine" for one in configuration.endpoint)
    if not (wanted or path.exists()):
        return None
    settings = configuration.quarantine
    return quarantine.Quarantine(
        path,
        max_rows=settings.max_rows,
        max_bytes=settings.max_bytes,
        limits=_limits(inbox),
        space=Room(min_free_bytes=inbox.min_free_bytes),
    )


def inbox_room(settings: config.Inbox) -> dict[str, Any] | None:
    """Return how much room the inbox has, as plain values, and what `serve` would say to it; None: not to be found out."""
    from gatherer.inbox import file, quarantine, room

    path = settings.path.resolve()
    try:
        with closing(file.open_readable(path)) as connection:
            usage = room.usage(connection, path)
    except (sqlite3.Error, OSError):
        return None
    return {
        "held_bytes": usage.held,
        "max_inbox_bytes": settings.max_inbox_bytes,
        "disk_free_bytes": usage.free,
        "min_free_bytes": settings.min_free_bytes,
        "in_quarantine": len(quarantine.kept(quarantine.path_of(path))),
        "refusing_because": _room(settings).shortage(usage, 0),
    }


def retention(settings: config.Inbox) -> "Retention":
    """Return how long notifications are kept in the inbox that `settings` describe."""
    from gatherer.inbox.purging import Retention

    return Retention(keep_days=settings.keep_days, keep_days_at_most=settings.keep_days_at_most)


def _limits(settings: config.Inbox) -> "Limits":
    from gatherer.inbox.queue import Limits

    return Limits(
        queue_rows=settings.max_queue_rows,
        queue_bytes=settings.max_queue_bytes,
        commit_bytes=settings.max_commit_bytes,
        commit_seconds=settings.commit_timeout_seconds,
    )


def _room(settings: config.Inbox) -> "Room":
    from gatherer.inbox.room import Room

    return Room(max_inbox_bytes=settings.max_inbox_bytes, min_free_bytes=settings.min_free_bytes)
