"""People in SQL Server: find their rows, erase them, and keep tombstones."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.targets import person_query, sql_datetime
from gatherer.targets.base import Texts
from gatherer.targets.sqlserver.apply import proven
from gatherer.targets.sqlserver.queries import as_dictionary
from gatherer.targets.sqlserver.schema import batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import chunks, encode
from gatherer.targets.sqlserver.transaction import ProofRow


def find(session: Session, schema: str, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about `person` by table."""
    query, time = person_query.person_query(person), sql_datetime.text(until)
    people = (query.phones, query.user_ids, query.message_ids)
    parameters = {
        "response": (*people, query.fragments, time),
        "other_event": (*people, query.fragments, time),
        "message_map": (query.phones, query.message_ids),
        "message_id_pair": (query.message_ids,),
    }
    rows = {}
    for table in person_query.PERSON_TABLES:
        (statement,) = batches(f"find_{table}", schema)
        rows[table] = [as_dictionary(row) for row in session.run(statement, *parameters[table])[0]]
    return rows


def about_people(
    session: Session, schema: str, since: datetime
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield pairs of table and rows: the rows about people that were written at `since` or later.

    Raises:
        SQLServerError: a query failed.

    """
    for table, names in person_query.PERSON_COLUMNS.items():
        columns = ", ".join(f"[{name}]" for name in names)
        query = f"SELECT {columns} FROM $(schema).{table} WHERE {person_query.WRITTEN_AT[table]} >= CONVERT(datetime2(3), ?)"
        for rows in session.stream(placed(query, schema), sql_datetime.text(since)):
            yield table, [as_dictionary(row) for row in rows]


@dataclass(frozen=True, kw_only=True)
class ErasureChanges:
    """What the erasure of a person changes; the parameters of :meth:`~gatherer.targets.base.Target.erase`."""

    rows: Mapping[str, Collection[int]]
    texts: Texts
    bodies: Collection[bytes]
    tombstones: Collection[Tombstone]
    erasure: Erasure | None


def erase(session: Session, schema: str, changes: ErasureChanges, now: datetime) -> int:
    """Apply `changes` in the open transaction, written at `now`; return how many rows were deleted."""
    removed = _delete_rows(session, schema, changes.rows, changes.bodies)
    _update_texts(session, schema, changes.texts, now)
    _save_tombstones(session, schema, changes.tombstones)
    if changes.erasure is not None:
        _insert_erasure(session, schema, changes.erasure)
    return removed


def _delete_rows(
    session: Session, schema: str, rows: Mapping[str, Collection[int]], bodies: Collection[bytes]
) -> int:
    """Delete rows by id, and stored notifications by key with their rejections; return how many rows."""
    removed = 0
    for table, ids in rows.items():
        if table != "message_map":
            chosen_keys = (
                f"[key] IN (SELECT [key] FROM $(schema).{table} WHERE id IN (SELECT CAST(value AS bigint)"
            )
            _delete(session, schema, f"contributor WHERE {chosen_keys}", list(ids), closing="))")
        removed += _delete(session, schema, f"{table} WHERE id IN (SELECT CAST(value AS bigint)", list(ids))
    keys = [key.hex() for key in bodies]
    chosen = "WHERE body_key IN (SELECT CONVERT(binary(16), CAST(value AS char(32)), 2)"
    rejected_keys = f"[key] IN (SELECT [key] FROM $(schema).rejected {chosen}"
    _delete(session, schema, f"contributor WHERE {rejected_keys}", keys, closing="))")
    removed += _delete(session, schema, f"rejected {chosen}", keys)
    _delete(session, schema, f"rejected_notification {chosen}", keys)
    return removed


def _update_texts(session: Session, schema: str, texts: Texts, now: datetime) -> None:
    changed_at = sql_datetime.text(now)
    for table, rows in texts.items():
        for row_id, columns in rows.items():
            changes = ", ".join(f"{name} = ?" for name in columns)
            statement = (
                f"SET NOCOUNT ON; UPDATE $(schema).{table} SET {changes}, changed_at = ?, "
                "commit_number = (SELECT number FROM $(schema).commit_sequence) WHERE id = ?; "
                "SELECT 0 AS staged, 0 AS written, @@TRANCOUNT AS transactions"
            )
            proven(session.run(placed(statement, schema), *columns.values(), changed_at, row_id), 0)


def _delete(session: Session, schema: str, condition: str, values: list[Any], *, closing: str = ")") -> int:
    """Delete from `condition`, a table with the beginning of a WHERE, up to `closing`; return how many rows."""
    statement = (
        f"SET NOCOUNT ON; DELETE FROM $(schema).{condition} FROM OPENJSON(?){closing}; "
        "DECLARE @deleted int = @@ROWCOUNT; SELECT 0 AS staged, @deleted AS written, @@TRANCOUNT AS transactions"
    )
    return sum(
        proven(session.run(placed(statement, schema), listed), 0) for listed, _ in chunks(values, encode)
    )


def _save_tombstones(session: Session, schema: str, tombstones: Collection[Tombstone]) -> None:
    latest = {stone.identifier: stone for stone in sorted(tombstones, key=attrgetter("erased_at"))}
    (upsert,) = batches("upsert_tombstone", schema)
    for listed, part in chunks(list(latest.values()), _as_json):
        proven(session.run(upsert, listed), len(part))


def _insert_erasure(session: Session, schema: str, erasure: Erasure) -> None:
    values = dataclasses.asdict(erasure) | {
        "erased_at": sql_datetime.text(erasure.erased_at),
        "reference": erasure.reference or "",
    }
    (insert,) = batches("insert_erasure", schema)
    proven(session.run(insert, *values.values()), 1)


def erasure_proof(erasure: Erasure) -> ProofRow:
    """Return the query for the row of `erasure`."""
    return ProofRow(
        "SELECT 1 AS found FROM $(schema).erasure "
        "WHERE erased_at = CONVERT(datetime2(3), ?) AND host = ? AND account = ?",
        (sql_datetime.text(erasure.erased_at), erasure.host, erasure.account),
    )


def _as_json(tombstone: Tombstone) -> bytes:
    return encode(
        (
            tombstone.identifier.hex(),
            tombstone.scope,
            sql_datetime.text(tombstone.erased_at),
            tombstone.key_id,
        )
    )


def tombstones(session: Session, schema: str) -> list[Tombstone]:
    """Return all tombstones."""
    query = "SELECT identifier, scope, erased_at, key_id FROM $(schema).tombstone"
    (rows,) = session.run(placed(query, schema))
    return [
        Tombstone(row.identifier, row.scope, row.erased_at.replace(tzinfo=UTC), row.key_id) for row in rows
    ]
