"""What is noted down beside the facts: positions, the settings of the site, which views need, what each run did."""

import dataclasses
from collections.abc import Mapping

from gatherer.model import time_zones
from gatherer.targets import sql_datetime
from gatherer.targets.base import Position, Run
from gatherer.targets.sqlserver.schema import batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import to_json


def position(session: Session, schema: str, inbox_id: str) -> Position | None:
    """Return up to where the inbox `inbox_id` has been gathered; None if it never was."""
    query = "SELECT inbox_id, notification_id, digest FROM $(schema).inbox_position WHERE inbox_id = ?"
    (found,) = session.run(placed(query, schema), inbox_id)
    return Position(*found[0]) if found else None


def settings(session: Session, schema: str) -> dict[str, str]:
    """Return the settings that are there."""
    (there,) = session.run(placed("SELECT name, value FROM $(schema).setting", schema))
    return {row.name: row.value for row in there}


def settle(session: Session, schema: str, wanted: Mapping[str, str]) -> None:
    """Write the settings `wanted`, and the offsets of their time zone."""
    offsets = [
        (sql_datetime.text(starts_at), sql_datetime.text(ends_at), minutes)
        for starts_at, ends_at, minutes in time_zones.intervals(wanted["time_zone"])
    ]
    (statement,) = batches("settle", schema)
    session.run(statement, to_json(list(wanted.items())), to_json(offsets))


def record(session: Session, schema: str, run: Run) -> None:
    """Write down what a run did."""
    values = dataclasses.asdict(run)
    for name in ("started_at", "finished_at"):
        values[name] = sql_datetime.text(values[name])
    values["problem"] = values["problem"] or ""
    (insert,) = batches("insert_gather_run", schema)
    session.run(insert, *values.values())
