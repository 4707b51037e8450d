"""What commands read from the tables: the number of rows, the last run, rejections, and the responses to export."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gatherer.model.notification import Notification
from gatherer.targets import sql_datetime
from gatherer.targets.base import ChangePoint, CursorKind, Export, Run, TargetStatus
from gatherer.targets.sqlserver.schema import WITH_KEYS, batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import to_json

_RUN_COLUMNS = tuple(field.name for field in dataclasses.fields(Run))
_RUN_SELECTION = ", ".join(f"[{name}]" for name in _RUN_COLUMNS)


def status(session: Session, schema: str) -> TargetStatus:
    """Return the number of rows by table, the last run, and the last time of each step."""

    def count(table: str) -> int:
        ((row,),) = session.run(placed(f"SELECT COUNT_BIG(*) AS counted FROM {table}", schema))
        return int(row.counted)

    last_ids = "SELECT MAX(id) FROM $(schema).gather_run GROUP BY step"
    (rows,) = session.run(
        placed(
            f"SELECT {_RUN_SELECTION} FROM $(schema).gather_run WHERE id IN ({last_ids}) ORDER BY id", schema
        )
    )
    runs = [Run(**as_dictionary(row)) for row in rows]
    return TargetStatus(
        rows={table: count(f"$(schema).{table}") for table in WITH_KEYS},
        tests=count("$(schema).response WHERE is_test = 1"),
        rejected_open=count("$(schema).rejected WHERE resolved_at IS NULL"),
        last_run=next((run for run in runs if run.step is None), None),
        steps=[run for run in runs if run.step is not None],
    )


def open_rejections(session: Session, schema: str) -> set[bytes]:
    """Return the keys of the bodies that have open rejections."""
    query = "SELECT DISTINCT body_key FROM $(schema).rejected WHERE resolved_at IS NULL"
    (rows,) = session.run(placed(query, schema))
    return {row.body_key for row in rows}


def kept_notifications(session: Session, schema: str, *, resolved: bool) -> Iterator[list[Notification]]:
    """Yield the notifications that are stored with rejections in lists.

    With `resolved` all of them, else those with open rejections.

    Raises:
        TargetError: the query failed, and a retry does not help.
        TemporaryError: the retries did not help.

    """
    (select,) = batches("select_kept_notifications", schema)
    after = b"\x00" * 16
    while True:
        (rows,) = session.with_retry(partial(session.run, select, after, resolved))
        if not rows:
            return
        yield [
            Notification(number, inbox_id, received_at.replace(tzinfo=UTC), *rest)
            for _, number, inbox_id, received_at, *rest in rows
        ]
        after = rows[-1].body_key


def horizon(session: Session, schema: str) -> ChangePoint:
    """Return the point up to which all changes are committed: every later one gets a higher number."""
    (query,) = batches("horizon", schema)
    ((row,),) = session.run(query)
    return ChangePoint(row.commit_number, row.map_number)


def cursor(session: Session, schema: str, kind: CursorKind, name: str) -> ChangePoint | None:
    """Return where the cursor is; None if there is no such cursor."""
    query = "SELECT commit_number, map_number FROM $(schema).export_cursor WHERE kind = ? AND name = ?"
    (rows,) = session.run(placed(query, schema), kind, name)
    return ChangePoint(*rows[0]) if rows else None


def move_cursor(
    session: Session, schema: str, kind: CursorKind, name: str, point: ChangePoint | None
) -> None:
    """Store that the cursor is at `point`. None deletes it."""
    (statement,) = batches("move_cursor", schema)
    session.run(statement, kind, name, *(point or (-1, -1)))


def export(session: Session, schema: str, selection: Export) -> Iterator[list[dict[str, Any]]]:
    """Yield the responses of `selection` in lists of at most 2 000 rows, by column; times are aware UTC.

    Raises:
        SQLServerError: the query failed.

    """
    (query,) = batches(f"export_{selection.view}", schema)
    parameters = (
        sql_datetime.text(selection.since),
        sql_datetime.text(selection.until),
        selection.changed_after.commit_number,
        selection.changed_to.commit_number,
        selection.changed_after.map_number,
        selection.changed_to.map_number,
        selection.endpoint or "",
        to_json(list(selection.kinds)),
        selection.include_tests,
    )
    for rows in session.stream(query, *parameters):
        yield [as_dictionary(row) for row in rows]


def as_dictionary(row: Any) -> dict[str, Any]:
    """Return `row` by column; times are aware UTC."""
    return {
        column[0]: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for column, value in zip(row.cursor_description, row, strict=True)
    }
