"""Looking at a server before anything is written: can it be reached, is it encrypted, may we do what we need."""

import statistics
import time
from datetime import UTC
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.model.records import TABLES, Rejected
from gatherer.targets.sqlserver import driver, requirements, schema
from gatherer.targets.sqlserver.connection import Access, complete
from gatherer.targets.sqlserver.connection_string import get, parse
from gatherer.targets.sqlserver.errors import SQLServerError
from gatherer.targets.sqlserver.session import Session

ROUND_TRIPS: Final = 5
# What a run does with each table; `config/sqlserver/grants.sql` grants the same.
RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    **{table.table: ("SELECT", "INSERT", "UPDATE", "DELETE") for table in TABLES},
    Rejected.table: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "rejected_notification": ("SELECT", "INSERT", "DELETE"),
    "inbox_position": ("SELECT", "INSERT", "UPDATE"),
    "gather_run": ("SELECT", "INSERT"),
    "message_map": ("SELECT", "DELETE"),
    "tombstone": ("SELECT", "INSERT", "UPDATE"),
    "erasure": ("SELECT", "INSERT"),
    "setting": ("SELECT", "INSERT", "DELETE"),
    "time_zone_offset": ("SELECT", "INSERT", "DELETE"),
    "schema_version": ("SELECT",),
    **dict.fromkeys(("mapped_message", "response_campaign"), ("SELECT",)),  # `export --format ferg`
}
_CONNECTION: Final = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"


def inspect(access: Access, schema_name: str) -> dict[str, Any]:
    """Return what there is to know, as plain values; `problems` has one line for each thing that is wrong.

    Raises:
        ConfigurationError: there is no driver, or the connection string is wrong.
        TargetError: the server refuses the login, or is too old.
        TemporaryError: it cannot be reached just now.

    """
    session = Session(access)
    try:
        return session.with_retry(lambda: _inspect(session, schema_name))
    finally:
        session.disconnect()


def _inspect(session: Session, schema_name: str) -> dict[str, Any]:
    server = requirements.check(session)
    state = schema.examine(session, schema_name)
    missing = _missing_rights(session, schema_name) if state.number is not None else []
    problems = [f"schema {schema_name}: {state.problem}"] if state.problem else []
    problems += [f"the login may not {right} in {schema_name}.{table}" for table, right in missing]
    if missing:
        problems.append("grant the rights with config/sqlserver/grants.sql")
    offset, round_trip = _clock(session)
    if abs(offset) > 60:
        problems.append(f"the server's clock differs by {offset:.0f} s: one of the two machines is wrong")
    return {
        "target": session.name,
        "server": session.access.server,
        "database": server.name,
        "version": server.version,
        "edition": server.edition,
        "compatibility_level": server.level,
        "login": _login(session),
        "driver": _driver(session.access),
        "encrypted": _encrypted(session),
        "schema": schema_name,
        "schema_version": state.number,
        "schema_version_needed": schema.VERSION,
        "rights_missing": [f"{right} {table}" for table, right in missing],
        "clock_difference_seconds": round(offset, 3),
        "round_trip_ms": round(round_trip * 1000, 2),
        "problems": problems,
    }


def _login(session: Session) -> str:
    ((row,),) = session.run("SELECT SUSER_SNAME() AS name")
    return str(row.name)


def _driver(access: Access) -> str:
    given = parse(complete(access.pairs, driver.load().drivers()))
    return get(given, "driver", "dsn", "filedsn") or "?"


def _encrypted(session: Session) -> str:
    """Return whether this connection is encrypted, as the server says, or else as the driver was told."""
    try:
        (rows,) = session.run(_CONNECTION)
        if rows and str(rows[0].encrypt_option).upper() in ("TRUE", "FALSE"):
            return "yes" if str(rows[0].encrypt_option).upper() == "TRUE" else "no"
    except SQLServerError:
        pass  # needs VIEW SERVER STATE, which the login of a run should not have
    asked = session.access.encrypt
    # A driver that was told to encrypt fails rather than go on without.
    return "yes (asked for)" if asked in ("yes", "true", "mandatory", "strict") else "no (not asked for)"


def _missing_rights(session: Session, schema_name: str) -> list[tuple[str, str]]:
    query = "SELECT " + ", ".join(
        f"HAS_PERMS_BY_NAME(N'{schema_name}.{table}', N'OBJECT', N'{right}')"
        for table, rights in RIGHTS.items()
        for right in rights
    )
    ((answers,),) = session.run(query)
    asked = [(table, right) for table, rights in RIGHTS.items() for right in rights]
    return [what for what, answer in zip(asked, answers, strict=True) if answer != 1]


def _clock(session: Session) -> tuple[float, float]:
    """Return by how many seconds the server's clock is ahead of ours, and the seconds of a round trip."""
    measured = []
    for _ in range(ROUND_TRIPS):
        before, started = timestamps.now(), time.perf_counter()
        ((row,),) = session.run("SELECT SYSUTCDATETIME() AS moment")
        taken = time.perf_counter() - started
        ahead = (row.moment.replace(tzinfo=UTC) - before).total_seconds() - taken / 2
        measured.append((taken, ahead))
    return min(measured)[1], statistics.median(taken for taken, _ in measured)
