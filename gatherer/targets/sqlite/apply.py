"""One batch into the tables of the embedded target, inside a transaction that somebody else ends."""

import sqlite3
from typing import Any, Final

import msgspec

from gatherer.model import timestamps
from gatherer.model.records import Kind, Record, Rejected, Response
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlite.schema import sql
from gatherer.targets.sqlite.upsert import upsert

Row = list[Any]

_RECEIVED_AT: Final = Record.__struct_fields__.index("received_at")
_OCCURRED_AT: Final = Record.__struct_fields__.index("occurred_at")

# What only answers and failures say. Most rows say none of it, and binding NULLs is a good part of a row's cost.
_SAID = slice(Response.__struct_fields__.index("group_id"), Response.__struct_fields__.index("errors") + 1)
_SAID_COLUMNS: Final = frozenset(Response.__struct_fields__[_SAID])
_NOTHING: Final[Row] = [None] * len(_SAID_COLUMNS)

# Values of any other type than int, float, str and bytearray are handed to an adapter, which sqlite3 searches
# long for when there is none: together these make a row a third cheaper.
sqlite3.register_adapter(type(None), lambda value: value)
sqlite3.register_adapter(bytes, bytes)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(Kind, str.__str__)  # half of what asking for its value costs


def apply(connection: sqlite3.Connection, batch: Batch) -> Outcome:
    """Upsert what `batch` holds, advance the position, and return what that changed."""
    # Also where the clock goes back: whoever reads by changed_at must not miss what is written now.
    (latest,) = connection.execute("SELECT max(changed_at) FROM response").fetchone()
    now = max(sql_datetime.text(timestamps.now()), latest or "")
    outcome = Outcome(duplicates=batch.folded)
    by_table: dict[type[Record], list[Record]] = {}
    for record in batch.records:
        by_table.setdefault(type(record), []).append(record)
    for table, records in by_table.items():
        _upsert(connection, table, records, now, outcome)
    _reject(connection, batch.rejected, now, outcome)
    if batch.decoded_bodies:
        _resolve(connection, batch, now, outcome)
    if batch.position is not None:
        connection.execute(sql("advance_position"), (*batch.position, now))
    return outcome


def _upsert(
    connection: sqlite3.Connection, table: type[Record], records: list[Record], now: str, outcome: Outcome
) -> None:
    before = _highest(connection, table.table)
    whole: list[Row] = []
    bare: list[Row] = []
    # In order of arrival, in which the receipts of one message follow each other: sorted by key, which looks better
    # for the index of keys, an insert costs a seventh more, and about the same where there are a million rows already.
    for record in records:
        row = as_row(record, now)
        if table is Response and row[_SAID] == _NOTHING:
            del row[_SAID]
            bare.append(row)
        else:
            whole.append(row)
    changed = 0
    for rows, left_out in ((whole, frozenset()), (bare, _SAID_COLUMNS)):
        if rows:
            changed += connection.executemany(upsert(table, left_out), rows).rowcount
    word = "kind" if table is Response else f"'{table.table}'"
    inserted = 0
    for kind, count in connection.execute(
        f"SELECT {word}, count(*) FROM {table.table} WHERE id > ? GROUP BY 1", (before,)
    ):
        outcome.inserted[kind] = outcome.inserted.get(kind, 0) + count
        inserted += count
    outcome.filled += changed - inserted
    outcome.duplicates += len(records) - changed


def _reject(connection: sqlite3.Connection, rejected: list[Rejected], now: str, outcome: Outcome) -> None:
    if not rejected:
        return
    before = _highest(connection, Rejected.table)
    bodies = {
        refusal.body_key: (refusal.body_key, refusal.content_type, refusal.body) for refusal in rejected
    }
    connection.executemany(
        "INSERT INTO rejected_notification (body_key, content_type, body) VALUES (?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        bodies.values(),
    )
    rows = [
        (
            refusal.key,
            refusal.provider,
            refusal.endpoint,
            refusal.inbox_id,
            refusal.notification_id,
            sql_datetime.text(refusal.received_at),
            refusal.path,
            str(refusal.reason_class),
            refusal.reason,
            refusal.body_key,
            now,
        )
        for refusal in rejected
    ]
    connection.executemany(sql("upsert_rejected"), rows)
    outcome.rejected += connection.execute(
        "SELECT count(*) FROM rejected WHERE id > ?", (before,)
    ).fetchone()[0]


def _resolve(connection: sqlite3.Connection, batch: Batch, now: str, outcome: Outcome) -> None:
    """Settle the open rejections of bodies that were decoded, but for those rejected again."""
    again = {refusal.key for refusal in batch.rejected}
    for body in batch.decoded_bodies:
        rows = connection.execute(
            "SELECT id, key FROM rejected WHERE body_key = ? AND resolved_at IS NULL", (body,)
        ).fetchall()
        settled = [(now, number) for number, key in rows if key not in again]
        connection.executemany("UPDATE rejected SET resolved_at = ? WHERE id = ?", settled)
        outcome.resolved += len(settled)


def _highest(connection: sqlite3.Connection, table: str) -> int:
    return connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # type: ignore[no-any-return]


def as_row(record: Record, now: str) -> Row:
    """Return the columns of `record` in the order of its fields, as SQLite stores them, written at `now`."""
    row: Row = list(msgspec.structs.astuple(record))
    row[_RECEIVED_AT] = sql_datetime.text(record.received_at)
    row[_OCCURRED_AT] = sql_datetime.text(record.occurred_at)
    row += (now, now)
    return row
