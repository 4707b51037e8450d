"""What leaves an inbox: what is old and everybody has, in steps so small that no arrival notices.

Each function here is one step on the writer's connection. What goes is always the oldest: so the ids
that are left have no gap, and a reader can tell from the first of them what it has missed.
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
STEP_PAGES: Final = 256  # given back to the file system in one step
RESERVE_PAGES: Final = 1024  # free pages that stay for the next arrivals, and so does
RESERVE_SHARE: Final = 10  # one in so many: in steady state, giving back would only move pages about


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long notifications are kept."""

    keep_days: int  # at least, and then until every consumer has them
    keep_days_at_most: int | None = None  # and no longer than this, whoever still needs them


@dataclass(frozen=True)
class Step:
    """What one step purged."""

    first: int  # the lowest id of all that were there; 0: nothing was purged
    last: int
    count: int
    unread: int  # of `count`: those that some consumer had not acknowledged
    keep_days: int = 0  # the limit that was overstepped, where there are unread ones


NOTHING: Final = Step(0, 0, 0, 0)


def purge_step(
    connection: sqlite3.Connection,
    retention: Retention,
    known: Sequence[consumers.Consumer],
    now: datetime,
) -> Step:
    """Delete the oldest notifications that need not be kept, a few at a time; nothing: :data:`NOTHING`.

    Args:
        connection: the writer's; not in a transaction.
        retention: how long they are kept.
        known: who reads this inbox, and how far each has got. Without anybody, age alone is no reason.
        now: the present moment.

    Raises:
        sqlite3.Error: it cannot be written; nothing was deleted.

    """
    with transaction(connection):
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        due = _due(connection, retention, *consumers.reached(known, identity), now)
        if not due:
            return NOTHING
        (first, _), (last, _) = due[0], due[-1]
        unread = sum(not has_been_read for _, has_been_read in due)
        connection.execute("DELETE FROM notification WHERE id <= ?", (last,))
        connection.execute(
            "UPDATE inbox SET purged_to = ?, purged_unread = purged_unread + ?", (last, unread)
        )
    return Step(first, last, len(due), unread, retention.keep_days_at_most or 0)


def _due(
    connection: sqlite3.Connection,
    retention: Retention,
    acknowledged: int,
    acknowledged_at: datetime,
    now: datetime,
) -> list[tuple[int, bool]]:
    """Return which ids at the beginning of the inbox may go, and whether everybody has them; at most one step's."""
    present, said_at = timestamps.to_milliseconds(now), timestamps.to_milliseconds(acknowledged_at)
    read_before = _before(now, retention.keep_days)
    unread_before = _before(now, retention.keep_days_at_most)
    seen: list[tuple[int, bool]] = []
    due = size = 0  # due: how many of `seen`
    with contextlib.closing(
        connection.execute(
            "SELECT id, received_at, length(body) FROM notification ORDER BY id LIMIT ?", (STEP_ROWS,)
        )
    ) as cursor:
        for number, received_at, length in cursor:
            # Nobody has what came after they said so: an inbox restored from a copy gives ids out again.
            has_been_read = number <= acknowledged and (received_at <= said_at or received_at > present)
            seen.append((number, has_been_read))
            size += length
            if received_at > present:  # written while the clock was wrong: what follows tells how old it is
                continue
            if received_at >= (read_before if has_been_read else unread_before):
                break
            due = len(seen)
            if size > STEP_BYTES:
                break
    return seen[:due]


def _before(now: datetime, days: int | None) -> int:
    return 0 if days is None else timestamps.to_milliseconds(now - timedelta(days=days))


def vacuum_step(connection: sqlite3.Connection) -> int:
    """Give free pages of the file back to the file system, a few at a time; return how many.

    The file shrinks with the next checkpoint.

    Raises:
        sqlite3.Error: it cannot be written.

    """
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    surplus = min(STEP_PAGES, free - max(RESERVE_PAGES, pages // RESERVE_SHARE))
    if surplus <= 0 or connection.execute("PRAGMA auto_vacuum").fetchone() == (0,):
        return 0
    # A script, as Python before 3.12 ends a statement that returns nothing after its first page.
    connection.executescript(f"PRAGMA incremental_vacuum({surplus})")
    return int(surplus)


def try_truncate_log(connection: sqlite3.Connection) -> bool:
    """Move what the write-ahead log holds into the file and empty it; False if a reader is in the way.

    Raises:
        sqlite3.Error: it cannot be written.

    """
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # arrivals wait for us: so do not wait for readers
    try:
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError as problem:
        if getattr(problem, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return False
        raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do the block in one transaction, or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
