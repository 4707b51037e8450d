"""People in the embedded target: find their rows, erase them, and keep tombstones."""

import dataclasses
import json
import logging
import re
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from gatherer.model import phones, timestamps
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.model.records import MessageIdPair
from gatherer.targets import person_query, sql_datetime
from gatherer.targets.base import Texts
from gatherer.targets.sqlite.apply import restore_ids, written_now
from gatherer.targets.sqlite.schema import sql

log = logging.getLogger(__name__)

_FETCHED: Final = 2000
_JSON_ESCAPE: Final = re.compile(r"\\[trn]?")  # of separators: \t, \r, \n, and the backslash before a slash
_UNICODE_ESCAPE: Final = "\\u"  # can stand for any character


def find(connection: sqlite3.Connection, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about `person` by table."""
    query = person_query.person_query(person)
    fragments = json.loads(query.fragments)

    def mentions(*texts: str | None) -> bool:
        present = [text for text in texts if text and fragments]
        return any(
            _UNICODE_ESCAPE in text or any(fragment in _bare(text) for fragment in fragments)
            for text in present
        )

    connection.create_function("bare", 1, lambda text: _bare(text or ""), deterministic=True)
    connection.create_function("mentions", -1, mentions, deterministic=True)
    values = query._asdict() | {"until": sql_datetime.text(until)}
    rows = {}
    for table in person_query.PERSON_TABLES:
        cursor = connection.execute(sql(f"find_{table}"), values)
        names = [column[0] for column in cursor.description]
        rows[table] = [
            {name: _plain(name, value) for name, value in zip(names, row, strict=True)} for row in cursor
        ]
    return rows


def _bare(text: object) -> str:
    """Return `text` without separators of phone numbers, also without those that JSON escapes."""
    bare = phones.bare(str(text))
    return _JSON_ESCAPE.sub("", bare) if "\\" in bare else bare


def _plain(name: str, value: Any) -> Any:
    """Return the value of the column `name`: times as aware UTC; a text of the site that is not a valid time as it is."""
    return timestamps.parse(value) or value if name.endswith("_at") else value


def about_people(
    connection: sqlite3.Connection, since: datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield pairs of table and rows: the rows about people that were written at `since` or later."""
    for table, names in person_query.PERSON_COLUMNS.items():
        query = f"SELECT {', '.join(map(_expression, names))} FROM {table} WHERE {person_query.WRITTEN_AT[table]} >= ?"
        cursor = connection.execute(query, (sql_datetime.text(since),))
        while rows := cursor.fetchmany(_FETCHED):
            yield (
                table,
                [{name: _plain(name, value) for name, value in zip(names, row, strict=True)} for row in rows],
            )


def _expression(name: str) -> str:
    """Return the SQL expression for the column `name`: the site writes `sent_at` in any format that SQLite knows."""
    return "coalesce(strftime('%Y-%m-%d %H:%M:%f', sent_at), sent_at)" if name == "sent_at" else name


def delete_rows(
    connection: sqlite3.Connection, rows: Mapping[str, Collection[int]], bodies: Collection[bytes]
) -> int:
    """Delete rows by id, and stored notifications by key with their rejections; return how many rows."""
    removed = 0
    for table, ids in rows.items():
        removed += connection.executemany(
            f"DELETE FROM {table} WHERE id = ?", ((row_id,) for row_id in ids)
        ).rowcount
    if rows.get(MessageIdPair.table):
        restore_ids(connection)
    keys = [(key,) for key in bodies]
    removed += connection.executemany("DELETE FROM rejected WHERE body_key = ?", keys).rowcount
    connection.executemany("DELETE FROM rejected_notification WHERE body_key = ?", keys)
    return removed


def update_texts(connection: sqlite3.Connection, texts: Texts) -> None:
    """Set the columns of `texts` to their new values."""
    now = written_now(connection)
    for table, rows in texts.items():
        for row_id, columns in rows.items():
            changes = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(
                f"UPDATE {table} SET {changes}, changed_at = ?, commit_number = ? WHERE id = ?",
                [*columns.values(), *now, row_id],
            )


def save_tombstones(connection: sqlite3.Connection, tombstones: Collection[Tombstone]) -> None:
    """Insert `tombstones`; a newer one replaces an older one of the same person."""
    connection.executemany(
        sql("upsert_tombstone"),
        [
            (identifier, scope, sql_datetime.text(erased_at), key_id)
            for identifier, scope, erased_at, key_id in tombstones
        ],
    )


def insert_erasure(connection: sqlite3.Connection, erasure: Erasure) -> None:
    """Insert the row of an erasure."""
    values = dataclasses.asdict(erasure) | {"erased_at": sql_datetime.text(erasure.erased_at)}
    connection.execute(
        f"INSERT INTO erasure ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        list(values.values()),
    )


def vacuum(connection: sqlite3.Connection) -> None:
    """Rewrite the file, so that it contains nothing of deleted rows.

    `PRAGMA secure_delete` is not enough: SQLite leaves copies behind when it moves rows from one page to another.
    An error is only logged, because the rows are deleted in any case.
    """
    try:
        connection.execute("PRAGMA temp_store = FILE")  # the copy may be too large for the memory
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        log.warning(
            "rows were erased, but VACUUM failed, and parts of the rows may be left in the file: run VACUUM (%s)",
            error,
        )
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def tombstones(connection: sqlite3.Connection) -> list[Tombstone]:
    """Return all tombstones."""
    rows = connection.execute("SELECT identifier, scope, erased_at, key_id FROM tombstone")
    return [
        Tombstone(identifier, scope, sql_datetime.parse(erased_at), key_id)
        for identifier, scope, erased_at, key_id in rows
    ]
