"""Checks the pages and the ids of an inbox. Ids ascend by one, and purging removes only the oldest notifications."""

import sqlite3
from dataclasses import dataclass, field
from typing import Final

MAX_PROBLEMS: Final = 20  # of one kind


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of a check."""

    count: int
    first_id: int | None
    last_id: int  # highest ever assigned
    purged_to: int  # highest id that was purged
    purged_unread: int  # how many were purged before every consumer had acknowledged them
    problems: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(
        default_factory=list
    )  # first and last id of each missing range; at most MAX_PROBLEMS


def check(connection: sqlite3.Connection) -> CheckResult:
    """Check the whole inbox through the read-only `connection`. Takes as long as reading all of it.

    Raises:
        sqlite3.Error: the file cannot be read at all.

    """
    connection.execute("BEGIN")  # one consistent state
    try:
        problems = [text for (text,) in connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})")]
        count, first = connection.execute("SELECT count(*), min(id) FROM notification").fetchone()
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'notification'").fetchone()
        purged_to, purged_unread = connection.execute("SELECT purged_to, purged_unread FROM inbox").fetchone()
        last = row[0] if row else 0
        gaps = connection.execute(
            "SELECT before + 1, id - 1 FROM ("
            "  SELECT id, lag(id, 1, :purged_to) OVER (ORDER BY id) AS before FROM notification"
            "  UNION ALL SELECT :last + 1, max(coalesce((SELECT max(id) FROM notification), 0), :purged_to)"
            ") WHERE id > before + 1 ORDER BY id LIMIT :limit",
            {"purged_to": purged_to, "last": last, "limit": MAX_PROBLEMS},
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    return CheckResult(
        count=count,
        first_id=first,
        last_id=last,
        purged_to=purged_to,
        purged_unread=purged_unread,
        problems=[] if problems == ["ok"] else problems,
        gaps=gaps,
    )
