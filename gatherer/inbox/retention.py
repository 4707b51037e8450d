"""Purging: old notifications that every consumer has are deleted, in steps so small that no request waits long.

Each function here is one step on the writer's connection. The oldest notifications are deleted first: so the
remaining ids have no gap, and a reader can tell from the first of them what it has missed.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gatherer.inbox import consumers
from gatherer.model import timestamps

STEP_ROWS: Final = 500
STEP_BYTES: Final = 4_000_000  # of bodies in one step, unless a single one is larger
STEP_PAGES: Final = 256  # returned to the file system in one step
RESERVE_PAGES: Final = 1024  # free pages that stay in the file for the next notifications, at least
RESERVE_SHARE: Final = 10  # one page in ten stays as well: otherwise a vacuum would only move pages around


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long notifications are kept."""

    keep_days: int  # at least, and longer until every consumer has them
    keep_days_at_most: int | None = None  # no longer, also if a consumer does not have them


@dataclass(frozen=True)
class PurgeStep:
    """What one step of purging deleted."""

    first: int  # the lowest id; 0: nothing was purged
    last: int
    count: int
    unread: int  # of `count`: those that not every consumer had acknowledged
    keep_days: int = 0  # the limit `keep_days_at_most` that caused their deletion


NOTHING_PURGED: Final = PurgeStep(0, 0, 0, 0)


def purge_step(
    connection: sqlite3.Connection,
    retention: Retention,
    known: Sequence[consumers.Consumer],
    now: datetime,
) -> PurgeStep:
    """Delete some of the oldest notifications that need not be kept. Return :data:`NOTHING_PURGED` when there is none.

    Args:
        connection: the writer's; not in a transaction.
        retention: how long they are kept.
        known: the consumers of this inbox. Without a consumer, nothing is deleted for `keep_days` alone.
        now: the present time.

    Raises:
        sqlite3.Error: the file cannot be written; nothing was deleted.

    """
    with transaction(connection):
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        due = _due(connection, retention, *consumers.acknowledged_by_all(known, identity), now)
        if not due:
            return NOTHING_PURGED
        (first, _), (last, _) = due[0], due[-1]
        unread = sum(not is_read for _, is_read in due)
        connection.execute("DELETE FROM notification WHERE id <= ?", (last,))
        connection.execute(
            "UPDATE inbox SET purged_to = ?, purged_unread = purged_unread + ?", (last, unread)
        )
    return PurgeStep(first, last, len(due), unread, retention.keep_days_at_most or 0)


def _due(
    connection: sqlite3.Connection,
    retention: Retention,
    acknowledged: int,
    acknowledged_at: datetime,
    now: datetime,
) -> list[tuple[int, bool]]:
    """Return the ids at the beginning of the inbox to delete in one step, each with whether every consumer has it."""
    present = timestamps.to_milliseconds(now)
    acknowledged_until = timestamps.to_milliseconds(acknowledged_at)
    read_before = _before(now, retention.keep_days)
    unread_before = _before(now, retention.keep_days_at_most)
    rows: list[tuple[int, bool]] = []
    due = size = 0  # due: how many of `rows`
    with contextlib.closing(
        connection.execute(
            "SELECT id, received_at, length(body) FROM notification ORDER BY id LIMIT ?", (STEP_ROWS,)
        )
    ) as cursor:
        for number, received_at, length in cursor:
            # An acknowledgement does not cover notifications that were received after it, even with a lower id: an
            # inbox that was restored from a copy assigns ids again.
            is_read = number <= acknowledged and (received_at <= acknowledged_until or received_at > present)
            rows.append((number, is_read))
            size += length
            if (
                received_at > present
            ):  # written while the clock was wrong: the next notifications tell its age
                continue
            if received_at >= (read_before if is_read else unread_before):
                break
            due = len(rows)
            if size > STEP_BYTES:
                break
    return rows[:due]


def _before(now: datetime, days: int | None) -> int:
    return 0 if days is None else timestamps.to_milliseconds(now - timedelta(days=days))


def vacuum_step(connection: sqlite3.Connection) -> int:
    """Return some free pages of the file to the file system; return how many.

    The file shrinks with the next checkpoint.

    Raises:
        sqlite3.Error: the file cannot be written.

    """
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    surplus = min(STEP_PAGES, free - max(RESERVE_PAGES, pages // RESERVE_SHARE))
    if surplus <= 0 or connection.execute("PRAGMA auto_vacuum").fetchone() == (0,):
        return 0
    # As a script: Python before 3.12 stops a statement without rows after its first step, which is one page.
    connection.executescript(f"PRAGMA incremental_vacuum({surplus})")
    return int(surplus)


def try_truncate_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and truncate it, without a wait; return False if a reader prevents it.

    Raises:
        sqlite3.Error: the file cannot be written.

    """
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(
        "PRAGMA busy_timeout = 0"
    )  # notifications wait for this step: it must not wait for readers
    try:
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return False
        raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one transaction; if it raises, nothing is changed."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
