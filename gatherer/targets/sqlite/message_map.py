"""The campaign map in the file: import, and what is missing in it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from gatherer.model.errors import ConfigurationError
from gatherer.model.message_map import MapRow
from gatherer.targets import sql_datetime
from gatherer.targets.base import MapStatus
from gatherer.targets.sqlite.schema import sql

_COLUMNS: Final = ", ".join(MapRow._fields)
# By the first word of `MapRow.identity`: the condition for the rest of it.
_SAME: Final = {
    "message_id": "message_id = ?",
    "client_reference": "message_id IS NULL AND client_reference = ? AND phone IS ?",
    "phone": "message_id IS NULL AND client_reference IS NULL AND phone = ? AND sent_at = ? "
    "AND communication_key IS ? AND urn IS ?",
}


def write(connection: sqlite3.Connection, rows: Sequence[MapRow]) -> tuple[int, int]:
    """Insert or change `rows` in the open transaction; return how many were inserted, and how many changed."""
    inserted = changed = 0
    for row in rows:
        kind, *values = row.identity
        query = f"SELECT id, {_COLUMNS} FROM message_map WHERE {_SAME[str(kind)]} ORDER BY id DESC LIMIT 1"
        found = connection.execute(query, values).fetchone()
        if found is None:
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO message_map ({_COLUMNS}) VALUES ({places})", row)
            inserted += 1
        elif (merged := row.over(stored := MapRow(*found[1:]))) != stored:
            assignments = ", ".join(f"{name} = ?" for name in MapRow._fields)
            connection.execute(f"UPDATE message_map SET {assignments} WHERE id = ?", (*merged, found[0]))
            changed += 1
    return inserted, changed


def status(connection: sqlite3.Connection, since: datetime, until: datetime) -> MapStatus:
    """Return what is missing in the map."""
    times = {"since": sql_datetime.text(since), "until": sql_datetime.text(until)}
    (unbound,) = connection.execute(sql("count_unbound")).fetchone()
    return MapStatus(
        without_campaign=dict(connection.execute(sql("count_without_campaign"), times)),
        campaigns=connection.execute(sql("count_without_receipt"), times).fetchall(),
        unbound=unbound,
    )


def query_rows(path: Path, query: str) -> Iterator[Sequence[object]]:
    """Yield the names of the columns of `query`, then its rows. It can read the file, and change nothing.

    Raises:
        ConfigurationError: the query fails, or returns no rows.

    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise ConfigurationError("the query is not a SELECT")
            yield [column[0] for column in cursor.description]
            yield from cursor
    except sqlite3.Error as error:
        raise ConfigurationError(f"the query failed: {error}") from None
