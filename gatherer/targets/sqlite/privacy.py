"""People in the embedded target: found, taken out, and remembered as tombstones."""

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
from gatherer.targets import person_query, sql_datetime
from gatherer.targets.base import Texts
from gatherer.targets.sqlite.schema import sql

log = logging.getLogger(__name__)

_FETCHED: Final = 2000
_AS_JSON: Final = re.compile(
    r"\\[trn]?"
)  # before separators that JSON writes in another way, a slash among them
_NUMBERED: Final = "\\u"  # in JSON, before the number of any character


def find(connection: sqlite3.Connection, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about `person` by table."""
    look_for = person_query.of(person)
    fragments = json.loads(look_for.fragments)

    def mentions(*texts: str | None) -> bool:
        said = [text for text in texts if text and fragments]
        return any(_NUMBERED in text or any(part in _bare(text) for part in fragments) for text in said)

    connection.create_function("bare", 1, lambda text: _bare(text or ""), deterministic=True)
    connection.create_function("mentions", -1, mentions, deterministic=True)
    values = look_for._asdict() | {"until": sql_datetime.text(until)}
    found = {}
    for table in person_query.FOUND_IN:
        cursor = connection.execute(sql(f"find_{table}"), values)
        names = [column[0] for column in cursor.description]
        found[table] = [
            {name: _plain(name, value) for name, value in zip(names, row, strict=True)} for row in cursor
        ]
    return found


def _bare(text: object) -> str:
    """Return `text` without what stands between the digits of numbers, be it as JSON writes it."""
    bare = phones.bare(str(text))
    return _AS_JSON.sub("", bare) if "\\" in bare else bare


def _plain(name: str, value: Any) -> Any:
    """Return a time as a moment. What the site wrote as one and is none stays the text that it is."""
    return timestamps.parse(value) or value if name.endswith("_at") else value


def about_people(
    connection: sqlite3.Connection, since: datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows that may be about people, written at `since` or later, in batches, each with its table."""
    for table, names in person_query.TELLING.items():
        query = (
            f"SELECT {', '.join(map(_read, names))} FROM {table} WHERE {person_query.WRITTEN_AT[table]} >= ?"
        )
        cursor = connection.execute(query, (sql_datetime.text(since),))
        while rows := cursor.fetchmany(_FETCHED):
            yield (
                table,
                [{name: _plain(name, value) for name, value in zip(names, row, strict=True)} for row in rows],
            )


def _read(name: str) -> str:
    """Return what reads the column `name`: the site writes `sent_at` in any way that SQLite reads."""
    return "coalesce(strftime('%Y-%m-%d %H:%M:%f', sent_at), sent_at)" if name == "sent_at" else name


def remove(
    connection: sqlite3.Connection, rows: Mapping[str, Collection[int]], bodies: Collection[bytes]
) -> int:
    """Remove rows by their ids and kept notifications by their keys, with their rejections; return how many rows."""
    removed = 0
    for table, ids in rows.items():
        removed += connection.executemany(
            f"DELETE FROM {table} WHERE id = ?", ((number,) for number in ids)
        ).rowcount
    keys = [(key,) for key in bodies]
    removed += connection.executemany("DELETE FROM rejected WHERE body_key = ?", keys).rowcount
    connection.executemany("DELETE FROM rejected_notification WHERE body_key = ?", keys)
    return removed


def rewrite(connection: sqlite3.Connection, texts: Texts) -> None:
    """Write `texts` in place of what stands there."""
    now = sql_datetime.text(timestamps.now())
    for table, rows in texts.items():
        for number, columns in rows.items():
            changes = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(
                f"UPDATE {table} SET {changes}, changed_at = ? WHERE id = ?", [*columns.values(), now, number]
            )


def bury(connection: sqlite3.Connection, tombstones: Collection[Tombstone], erasure: Erasure | None) -> None:
    """Write down who was erased, and that it was done."""
    connection.executemany(
        sql("upsert_tombstone"),
        [
            (identifier, scope, sql_datetime.text(erased_at), key_id)
            for identifier, scope, erased_at, key_id in tombstones
        ],
    )
    if erasure is not None:
        values = dataclasses.asdict(erasure) | {"erased_at": sql_datetime.text(erasure.erased_at)}
        connection.execute(
            f"INSERT INTO erasure ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            list(values.values()),
        )


def write_anew(connection: sqlite3.Connection) -> None:
    """Leave nothing of removed rows in the file.

    Overwriting them where they stood is not enough: SQLite has left copies behind whenever it moved rows from one page
    to another. Where it cannot be done the rows are gone all the same, so that is no error.
    """
    try:
        connection.execute(
            "PRAGMA temp_store = FILE"
        )  # the new file is made beside, too large for the memory
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        log.warning(
            "rows were erased, but the file could not be written anew, and parts of them may be left in it: "
            "run VACUUM there (%s)",
            error,
        )
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def tombstones(connection: sqlite3.Connection) -> list[Tombstone]:
    """Return all tombstones."""
    found = connection.execute("SELECT identifier, scope, erased_at, key_id FROM tombstone")
    return [
        Tombstone(identifier, scope, sql_datetime.parse(erased_at), key_id)
        for identifier, scope, erased_at, key_id in found
    ]
