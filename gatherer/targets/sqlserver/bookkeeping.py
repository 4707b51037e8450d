"""The tables beside the facts: positions of inboxes, settings that the views read, one row per run."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime

from gatherer.targets import sql_datetime
from gatherer.targets.base import Position, Run
from gatherer.targets.sqlserver.schema import batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import to_json
from gatherer.targets.sqlserver.transaction import ProofRow


def position(session: Session, schema: str, inbox_id: str) -> Position | None:
    """Return the position of the inbox `inbox_id`; None if nothing of it was gathered yet."""
    query = "SELECT inbox_id, notification_id, digest FROM $(schema).inbox_position WHERE inbox_id = ?"
    (rows,) = session.run(placed(query, schema), inbox_id)
    return Position(*rows[0]) if rows else None


def position_proof(position: Position, now: datetime) -> ProofRow:
    """Return the query for `position` as a transaction with the time of writing `now` stores it."""
    return ProofRow(
        "SELECT 1 AS found FROM $(schema).inbox_position "
        "WHERE inbox_id = ? AND notification_id = ? AND digest = ? AND changed_at = CONVERT(datetime2(3), ?)",
        (*position, sql_datetime.text(now)),
    )


def settings(session: Session, schema: str) -> dict[str, str]:
    """Return the stored settings by name."""
    (rows,) = session.run(placed("SELECT name, value FROM $(schema).setting", schema))
    return {row.name: row.value for row in rows}


def offsets(session: Session, schema: str) -> list[tuple[str, str, int]]:
    """Return the stored offsets of the time zone, as :func:`sql_datetime.offsets` does."""
    query = (
        "SELECT CONVERT(nvarchar(23), starts_at, 121) AS starts_at, CONVERT(nvarchar(23), ends_at, 121) AS ends_at, "
        "offset_minutes FROM $(schema).time_zone_offset"
    )
    (rows,) = session.run(placed(query, schema))
    return sorted((row.starts_at, row.ends_at, row.offset_minutes) for row in rows)


def save_settings(
    session: Session, schema: str, settings: Mapping[str, str], offsets: Sequence[tuple[str, str, int]]
) -> None:
    """Replace the stored settings by `settings`, and the stored offsets of the time zone by `offsets`."""
    (statement,) = batches("save_settings", schema)
    session.run(statement, to_json(list(settings.items())), to_json(list(offsets)))


def record_run(session: Session, schema: str, run: Run) -> None:
    """Insert one row for `run`."""
    values = dataclasses.asdict(run)
    for name in ("started_at", "finished_at"):
        values[name] = sql_datetime.text(values[name])
    (insert,) = batches("insert_gather_run", schema)
    session.run(insert, *("" if value is None else value for value in values.values()))
