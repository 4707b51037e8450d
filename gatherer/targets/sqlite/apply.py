"""One batch into the tables of the embedded target, inside a transaction that the caller begins and ends."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gatherer.model import merge, timestamps
from gatherer.model.records import Kind, MessageIdPair, Record, Rejected, Response
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Contributor, Outcome
from gatherer.targets.columns import ORIGINAL
from gatherer.targets.sql_template import render
from gatherer.targets.sqlite.schema import sql
from gatherer.targets.sqlite.upsert import upsert

Row = list[Any]

_RECEIVED_AT: Final = Record.__struct_fields__.index("received_at")
_OCCURRED_AT: Final = Record.__struct_fields__.index("occurred_at")

# Columns that only answers and failures fill. In most rows all of them are NULL, and binding NULLs is a large part of
# the cost of a row.
_ANSWER = slice(Response.__struct_fields__.index("group_id"), Response.__struct_fields__.index("errors") + 1)
_ANSWER_COLUMNS: Final = frozenset(Response.__struct_fields__[_ANSWER])
_NO_ANSWER: Final[Row] = [None] * len(_ANSWER_COLUMNS)

# sqlite3 looks for an adapter of each value that is not an int, float, str or bytearray, and looks longest where there
# is none: together these make a row a third cheaper.
sqlite3.register_adapter(type(None), lambda value: value)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(Kind, str.__str__)  # costs half as much as reading `value`


def apply(connection: sqlite3.Connection, batch: Batch) -> Outcome:
    """Upsert the records and rejections of `batch`, advance the position, and return what that changed."""
    now = written_now(connection)
    outcome = Outcome(duplicates=batch.folded)
    by_table: dict[type[Record], list[Record]] = {}
    for record in batch.records:
        by_table.setdefault(type(record), []).append(record)
    for table, records in by_table.items():
        _upsert(connection, table, records, now, outcome)
    if batch.pairs:
        _upsert(connection, MessageIdPair, batch.pairs, now, Outcome())
    for name, contributors in batch.contributors.items():
        if name != Rejected.table:
            _contribute(connection, name, contributors)
    if connection.execute("SELECT EXISTS (SELECT 1 FROM message_id_pair)").fetchone()[0]:
        _for_ids(connection, "replace_ids", now)
    _reject(connection, batch, now.at, outcome)
    if batch.decoded_bodies:
        _resolve(connection, batch, now.at, outcome)
    if batch.position is not None:
        connection.execute(sql("advance_position"), (*batch.position, now.at))
    return outcome


class Written(NamedTuple):
    """What a transaction notes in the rows that it writes: the time, and its number."""

    at: str
    number: int


def written_now(connection: sqlite3.Connection) -> Written:
    """Return the present time, and the number of the open transaction."""
    (number,) = connection.execute("SELECT number FROM commit_sequence").fetchone()
    return Written(sql_datetime.text(timestamps.now()), number)


def restore_ids(connection: sqlite3.Connection) -> None:
    """Give the rows that had an id of a pair that was removed the id that they have without it."""
    _for_ids(connection, "restore_ids", written_now(connection))


def _for_ids(connection: sqlite3.Connection, name: str, now: Written) -> None:
    """Execute `sql/<name>.sql` for each column with the id of a message that a pair may replace."""
    for column, original in ORIGINAL.items():
        statement = render(sql(name), {"column": column, "original": original})
        connection.execute(statement, {"now": now.at, "number": now.number})


def _upsert(
    connection: sqlite3.Connection,
    table: type[Record],
    records: Sequence[Record],
    now: Written,
    outcome: Outcome,
) -> None:
    """Upsert `records` into `table`, and count in `outcome` what that changed."""
    before = _highest_id(connection, table.table)
    full_rows: list[Row] = []
    receipt_rows: list[Row] = []
    # In order of arrival, in which the receipts of one message follow each other. Sorted by key, as the index of keys
    # is, an insert costs a seventh more, and about the same in a table of a million rows.
    for record in records:
        row = as_row(record, now)
        if table is Response and row[_ANSWER] == _NO_ANSWER:
            del row[_ANSWER]
            receipt_rows.append(row)
        else:
            full_rows.append(row)
    parts = [
        (upsert(table, left_out), rows)
        for rows, left_out in ((full_rows, frozenset()), (receipt_rows, _ANSWER_COLUMNS))
        if rows
    ]
    changed = 0
    if not _seem_stored(connection, table.table, records):
        for statement, rows in parts:
            insert, conflict, _ = statement.partition("ON CONFLICT")
            changed += connection.executemany(f"{insert}{conflict} DO NOTHING", rows).rowcount
    if changed < len(records):
        # Before the upsert, which may replace the receipt of a row. A first run has no such rows, and costs no more.
        _store_receipts(connection, table.table, records)
        changed += sum(connection.executemany(statement, rows).rowcount for statement, rows in parts)
    word = "kind" if table is Response else f"'{table.table}'"
    inserted = 0
    for kind, count in connection.execute(
        f"SELECT {word}, count(*) FROM {table.table} WHERE id > ? GROUP BY 1", (before,)
    ):
        outcome.inserted[kind] = outcome.inserted.get(kind, 0) + count
        inserted += count
    outcome.filled += changed - inserted
    outcome.duplicates += len(records) - changed


def _seem_stored(connection: sqlite3.Connection, table: str, records: Sequence[Record]) -> bool:
    """Return whether the first, the middle and the last of `records` are in `table`: then it is faster to update."""
    keys = {records[index].key for index in (0, len(records) // 2, -1)}
    (found,) = connection.execute(
        f"SELECT count(*) FROM {table} WHERE key IN ({', '.join('?' * len(keys))})", [*keys]
    ).fetchone()
    return bool(found == len(keys))


def _store_receipts(
    connection: sqlite3.Connection, table: str, facts: Sequence[Record] | Sequence[Rejected]
) -> None:
    """Store a contributor of each row of `table` that one of `facts` tells again: of both receipts, the later one.

    The other one is going to be in the row.
    """
    statement = render(sql("store_receipts"), {"table": table})
    connection.executemany(
        statement,
        [
            (fact.key, fact.inbox_id, fact.notification_id, sql_datetime.text(fact.received_at))
            for fact in facts
        ],
    )


def _contribute(connection: sqlite3.Connection, table: str, contributors: Sequence[Contributor]) -> None:
    """Store `contributors` of rows of `table`, except those that the rows name themselves."""
    connection.executemany(
        f"INSERT OR IGNORE INTO contributor SELECT key, ?2, ?3 FROM {table} "
        "WHERE key = ?1 AND (notification_id <> ?3 OR inbox_id <> ?2)",
        contributors,
    )


def _reject(connection: sqlite3.Connection, batch: Batch, now: str, outcome: Outcome) -> None:
    """Upsert the rejections of `batch` with the bodies that they keep, and count the new ones in `outcome`.

    A resolved rejection of which there is one more notification is open again.
    """
    rejections = batch.rejected
    if not rejections:
        return
    contributors = [
        *(Contributor(rejected.key, rejected.inbox_id, rejected.notification_id) for rejected in rejections),
        *batch.contributors.get(Rejected.table, ()),
    ]
    connection.executemany(sql("reopen_rejected"), contributors)
    before = _highest_id(connection, Rejected.table)
    bodies = {rejected.body_key: rejected.body for rejected in rejections}
    connection.executemany(
        sql("upsert_rejected_notification"),
        [(key, content_type, bodies[key]) for key, content_type in merge.content_types(rejections).items()],
    )
    rows = [
        (
            rejected.key,
            rejected.provider,
            rejected.endpoint,
            rejected.inbox_id,
            rejected.notification_id,
            sql_datetime.text(rejected.received_at),
            rejected.path,
            str(rejected.reason_class),
            rejected.reason,
            rejected.body_key,
            now,
        )
        for rejected in rejections
    ]
    _store_receipts(connection, Rejected.table, rejections)
    connection.executemany(sql("upsert_rejected"), rows)
    _contribute(connection, Rejected.table, batch.contributors.get(Rejected.table, ()))
    outcome.rejected += connection.execute(
        "SELECT count(*) FROM rejected WHERE id > ?", (before,)
    ).fetchone()[0]


def _resolve(connection: sqlite3.Connection, batch: Batch, now: str, outcome: Outcome) -> None:
    """Resolve the open rejections of which `batch` decoded the element to a record, and did not reject it again."""
    still_rejected = {rejected.key for rejected in batch.rejected}
    for decoded in batch.decoded_bodies:
        rows = connection.execute(
            "SELECT id, key, path FROM rejected "
            "WHERE body_key = ? AND endpoint = ? AND provider = ? AND resolved_at IS NULL",
            (decoded.body_key, decoded.endpoint, decoded.provider),
        ).fetchall()
        resolved = [
            (now, row_id)
            for row_id, key, path in rows
            if key not in still_rejected and decoded.has_record(path)
        ]
        connection.executemany("UPDATE rejected SET resolved_at = ? WHERE id = ?", resolved)
        outcome.resolved += len(resolved)


def _highest_id(connection: sqlite3.Connection, table: str) -> int:
    return connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # type: ignore[no-any-return]


def as_row(record: Record, now: Written) -> Row:
    """Return the columns of `record` in the order of its fields, as SQLite stores them, written at `now`."""
    row: Row = list(msgspec.structs.astuple(record))
    row[_RECEIVED_AT] = sql_datetime.text(record.received_at)
    row[_OCCURRED_AT] = sql_datetime.text(record.occurred_at)
    row += (now.at, now.at, now.number)
    return row
