"""What the tables are asked for: how many rows there are, how the last run went, rejections, the responses."""

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
    """Return what the tables hold."""

    def count(what: str) -> int:
        ((row,),) = session.run(placed(f"SELECT COUNT_BIG(*) AS counted FROM {what}", schema))
        return int(row.counted)

    (last,) = session.run(
        placed(f"SELECT TOP (1) {_RUN_SELECTION} FROM $(schema).gather_run ORDER BY id DESC", schema)
    )
    run = None
    if last:
        values = dict(zip(_RUN_COLUMNS, last[0], strict=True))
        for name in ("started_at", "finished_at"):
            values[name] = values[name].replace(tzinfo=UTC)
        run = Run(**values)
    return TargetStatus(
        rows={table: count(f"$(schema).{table}") for table in WITH_KEYS},
        rejected_open=count("$(schema).rejected WHERE resolved_at IS NULL"),
        last_run=run,
    )


def open_rejections(session: Session, schema: str) -> set[bytes]:
    """Return the body keys of all rejections that nothing has settled yet."""
    query = "SELECT DISTINCT body_key FROM $(schema).rejected WHERE resolved_at IS NULL"
    (found,) = session.run(placed(query, schema))
    return {row.body_key for row in found}


def kept_notifications(session: Session, schema: str, *, settled: bool) -> Iterator[list[Notification]]:
    """Yield the notifications kept with rejections in batches, those with nothing but settled ones only if `settled`.

    Raises:
        TargetError: they cannot be read.
        TemporaryError: nor just now.

    """
    (select,) = batches("select_kept_notifications", schema)
    after = b"\x00" * 16
    while True:
        (found,) = session.with_retry(partial(session.run, select, after, settled))
        if not found:
            return
        yield [
            Notification(number, inbox_id, received_at.replace(tzinfo=UTC), *rest)
            for _, number, inbox_id, received_at, *rest in found
        ]
        after = found[-1].body_key


def export(session: Session, schema: str, what: Export) -> Iterator[list[dict[str, Any]]]:
    """Yield the responses that `what` asks for by column, a few thousand at a time.

    Raises:
        SQLServerError: they cannot be read.

    """
    (query,) = batches(f"export_{what.view}", schema)
    times = (sql_datetime.text(moment) for moment in what.times)
    for rows in session.stream(query, *times, what.endpoint or "", to_json(list(what.kinds))):
        yield [as_dictionary(row) for row in rows]


def as_dictionary(row: Any) -> dict[str, Any]:
    """Return `row` by column; times are aware UTC."""
    return {
        column[0]: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for column, value in zip(row.cursor_description, row, strict=True)
    }
