"""Is an inbox whole? Its pages, and the ids in it: they ascend by one, and only the oldest are ever purged."""

import sqlite3
from dataclasses import dataclass, field
from typing import Final

MOST: Final = 20  # problems of one kind that are worth reading


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a check found."""

    count: int
    first_id: int | None
    last_id: int  # highest ever given out
    purged_to: int  # highest id that was purged on purpose
    purged_unread: int  # how many of them some consumer did not have
    problems: list[str] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)  # first and last id of each; the first of them


def check(connection: sqlite3.Connection) -> Findings:
    """Look through the whole inbox behind the reading `connection`. Takes as long as reading all of it.

    Raises:
        sqlite3.Error: it cannot even be read.

    """
    connection.execute("BEGIN")  # all of it as of one moment
    try:
        problems = [text for (text,) in connection.execute(f"PRAGMA integrity_check({MOST})")]
        count, first = connection.execute("SELECT count(*), min(id) FROM notification").fetchone()
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'notification'").fetchone()
        purged_to, purged_unread = connection.execute("SELECT purged_to, purged_unread FROM inbox").fetchone()
        last = row[0] if row else 0
        gaps = connection.execute(
            "SELECT before + 1, id - 1 FROM ("
            "  SELECT id, lag(id, 1, :purged_to) OVER (ORDER BY id) AS before FROM notification"
            "  UNION ALL SELECT :last + 1, max(coalesce((SELECT max(id) FROM notification), 0), :purged_to)"
            ") WHERE id > before + 1 ORDER BY id LIMIT :most",
            {"purged_to": purged_to, "last": last, "most": MOST},
        ).fetchall()
    finally:
        connection.execute("ROLLBACK")
    return Findings(
        count=count,
        first_id=first,
        last_id=last,
        purged_to=purged_to,
        purged_unread=purged_unread,
        problems=[] if problems == ["ok"] else problems,
        gaps=gaps,
    )
