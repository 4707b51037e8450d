"""What commands read from the file: the number of rows, the last run, and the responses to export."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.model.records import TABLES, Rejected
from gatherer.targets import sql_datetime
from gatherer.targets.base import ChangePoint, CursorKind, Export, Run, TargetStatus
from gatherer.targets.sqlite.schema import sql

EXPORTED_ROWS: Final = 2000
RUN_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(Run))


def status(connection: sqlite3.Connection) -> TargetStatus:
    """Return the number of rows by table, the last run, and the last time of each step."""
    tables = [*(record.table for record in TABLES), Rejected.table]
    execute = connection.execute
    rows = {table: execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    rejected = execute("SELECT count(*) FROM rejected WHERE resolved_at IS NULL").fetchone()[0]
    runs = [
        _run(row)
        for row in execute(
            f"SELECT {', '.join(RUN_COLUMNS)} FROM gather_run WHERE id IN "
            "(SELECT max(id) FROM gather_run GROUP BY step) ORDER BY id"
        )
    ]
    return TargetStatus(
        rows=rows,
        tests=execute("SELECT count(*) FROM response WHERE is_test = 1").fetchone()[0],
        rejected_open=rejected,
        last_run=next((run for run in runs if run.step is None), None),
        steps=[run for run in runs if run.step is not None],
    )


def _run(row: tuple[Any, ...]) -> Run:
    values = dict(zip(RUN_COLUMNS, row, strict=True))
    for name in ("started_at", "finished_at"):
        values[name] = sql_datetime.parse(values[name])
    return Run(**values)


def cursor(connection: sqlite3.Connection, kind: CursorKind, name: str) -> ChangePoint | None:
    """Return where the cursor is; None if there is no such cursor."""
    query = "SELECT commit_number, map_number FROM export_cursor WHERE kind = ? AND name = ?"
    row = connection.execute(query, (kind, name)).fetchone()
    return ChangePoint(*row) if row else None


def move_cursor(
    connection: sqlite3.Connection, kind: CursorKind, name: str, point: ChangePoint | None
) -> None:
    """Store in the open transaction that the cursor is at `point`. None deletes it."""
    connection.execute("DELETE FROM export_cursor WHERE kind = ? AND name = ?", (kind, name))
    if point is not None:
        connection.execute(
            "INSERT INTO export_cursor (kind, name, commit_number, map_number, moved_at) VALUES (?, ?, ?, ?, ?)",
            (kind, name, *point, sql_datetime.text(timestamps.now())),
        )


def export(connection: sqlite3.Connection, selection: Export) -> Iterator[list[dict[str, Any]]]:
    """Yield the responses of `selection` in lists of at most 2 000 rows, by column; times are aware UTC."""
    values = {
        "since": sql_datetime.text(selection.since),
        "until": sql_datetime.text(selection.until),
        "commit_after": selection.changed_after.commit_number,
        "commit_to": selection.changed_to.commit_number,
        "map_after": selection.changed_after.map_number,
        "map_to": selection.changed_to.map_number,
        "endpoint": selection.endpoint or "",
        "kinds": json.dumps(selection.kinds),
        "include_tests": selection.include_tests,
    }
    cursor = connection.execute(sql(f"export_{selection.view}"), values)
    columns = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(EXPORTED_ROWS):
        yield [
            {
                name: sql_datetime.parse(value)
                if value and (name.endswith("_at") or name == "since")
                else value
                for name, value in zip(columns, row, strict=True)
            }
            for row in rows
        ]
