"""What commands read from the tables: the number of rows, the last run, rejections, and the responses to export."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gatherer.model.notification import Notification
from gatherer.targets import sql_datetime
from gatherer.targets.base import Export, Run, TargetStatus
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


def export(session: Session, schema: str, selection: Export) -> Iterator[list[dict[str, Any]]]:
    """Yield the responses of `selection` in lists of at most 2 000 rows, by column; times are aware UTC.

    Raises:
        SQLServerError: the query failed.

    """
    (query,) = batches(f"export_{selection.view}", schema)
    times = (sql_datetime.text(moment) for moment in selection.times)
    kinds = to_json(list(selection.kinds))
    for rows in session.stream(query, *times, selection.endpoint or "", kinds, selection.include_tests):
        yield [as_dictionary(row) for row in rows]


def as_dictionary(row: Any) -> dict[str, Any]:
    """Return `row` by column; times are aware UTC."""
    return {
        column[0]: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for column, value in zip(row.cursor_description, row, strict=True)
    }
