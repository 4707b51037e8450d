"""The rows to which chosen notifications contributed: their keys, and their removal. For `replay --rebuild`."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final

from gatherer.model.records import TABLES, Rejected
from gatherer.targets.base import Contributor
from gatherer.targets.sqlite.apply import restore_ids

_RECORDS: Final = tuple(record.table for record in TABLES)
_WITH_KEYS: Final = (*_RECORDS, Rejected.table)
_CHOSEN: Final = "(inbox_id, notification_id) IN (SELECT * FROM temp.chosen)"


def choose(
    connection: sqlite3.Connection,
    notifications: Iterable[tuple[str, int]],
    keep: Collection[bytes] = (),
) -> None:
    """Put the keys of the rows to which `notifications` contributed into the table that the statements below read.

    `notifications` are pairs of inbox id and notification id. Rows with one of the keys in `keep` are not removed.
    """
    for name in ("chosen", "kept", "affected"):
        connection.execute(f"DROP TABLE IF EXISTS temp.{name}")
    connection.execute(
        "CREATE TEMP TABLE chosen (inbox_id TEXT, notification_id INTEGER, "
        "PRIMARY KEY (inbox_id, notification_id)) WITHOUT ROWID"
    )
    connection.executemany("INSERT OR IGNORE INTO temp.chosen VALUES (?, ?)", notifications)
    connection.execute("CREATE TEMP TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID")
    connection.executemany("INSERT OR IGNORE INTO temp.kept VALUES (?)", ((key,) for key in keep))
    connection.execute("CREATE TEMP TABLE affected (key BLOB PRIMARY KEY) WITHOUT ROWID")
    for table in (*_WITH_KEYS, "contributor"):
        connection.execute(f"INSERT OR IGNORE INTO temp.affected SELECT key FROM {table} WHERE {_CHOSEN}")


def keys(connection: sqlite3.Connection) -> set[bytes]:
    """Return the keys of the records to which the chosen notifications contributed."""
    query = " UNION ALL ".join(
        f"SELECT key FROM {table} JOIN temp.affected USING (key)" for table in _RECORDS
    )
    return {key for (key,) in connection.execute(query)}


def other_contributors(connection: sqlite3.Connection) -> list[Contributor]:
    """Return which other notifications contributed to these rows and rejections."""
    query = " UNION ALL ".join(
        f"SELECT key, inbox_id, notification_id FROM {table} JOIN temp.affected USING (key) WHERE NOT {_CHOSEN}"
        for table in (*_WITH_KEYS, "contributor")
    )
    return [Contributor(*row) for row in connection.execute(query)]


def remove(connection: sqlite3.Connection) -> int:
    """Delete the rows to which the chosen notifications contributed, and return how many rows that were."""
    removed = sum(
        connection.execute(
            f"DELETE FROM {table} "
            "WHERE key IN (SELECT key FROM temp.affected) AND key NOT IN (SELECT key FROM temp.kept)"
        ).rowcount
        for table in _WITH_KEYS
    )
    restore_ids(connection)
    return removed


def remove_bodies(connection: sqlite3.Connection) -> None:
    """Delete the bodies that no rejection refers to."""
    connection.execute(
        "DELETE FROM rejected_notification WHERE body_key NOT IN (SELECT body_key FROM rejected)"
    )
