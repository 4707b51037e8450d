"""The rows that were first received in chosen notifications: their keys, and their removal. For `replay --rebuild`."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from gatherer.model.records import TABLES, Rejected
from gatherer.targets.sqlite.apply import restore_ids

_RECORDS: Final = tuple(record.table for record in TABLES)
_WITH_KEYS: Final = (*_RECORDS, Rejected.table)
_CHOSEN: Final = "WHERE (inbox_id, notification_id) IN (SELECT * FROM temp.chosen)"
_NOT_KEPT: Final = "AND key NOT IN (SELECT key FROM temp.kept)"


def choose(
    connection: sqlite3.Connection,
    notifications: Iterable[tuple[str, int]],
    keep: Collection[bytes] = (),
) -> None:
    """Put `notifications`, pairs of inbox id and notification id, into the table that the statements below read.

    Records with one of the keys in `keep` are not removed.
    """
    connection.execute("DROP TABLE IF EXISTS temp.chosen")
    connection.execute(
        "CREATE TEMP TABLE chosen (inbox_id TEXT, notification_id INTEGER, "
        "PRIMARY KEY (inbox_id, notification_id)) WITHOUT ROWID"
    )
    connection.executemany("INSERT OR IGNORE INTO temp.chosen VALUES (?, ?)", notifications)
    connection.execute("DROP TABLE IF EXISTS temp.kept")
    connection.execute("CREATE TEMP TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID")
    connection.executemany("INSERT OR IGNORE INTO temp.kept VALUES (?)", ((key,) for key in keep))


def keys(connection: sqlite3.Connection) -> set[bytes]:
    """Return the keys of the records and rejections first received in the chosen notifications."""
    query = " UNION ALL ".join(f"SELECT key FROM {table} {_CHOSEN}" for table in _WITH_KEYS)
    return {key for (key,) in connection.execute(query)}


def remove(connection: sqlite3.Connection) -> int:
    """Delete the rows first received in the chosen notifications, and return how many rows that were."""
    removed = sum(
        connection.execute(f"DELETE FROM {table} {_CHOSEN} {_NOT_KEPT if table in _RECORDS else ''}").rowcount
        for table in _WITH_KEYS
    )
    restore_ids(connection)
    return removed


def remove_bodies(connection: sqlite3.Connection) -> None:
    """Delete the bodies that no rejection refers to."""
    connection.execute(
        "DELETE FROM rejected_notification WHERE body_key NOT IN (SELECT body_key FROM rejected)"
    )
