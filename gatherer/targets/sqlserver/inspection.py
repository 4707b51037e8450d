"""Inspecting a server before anything is written: whether it is reachable, encrypted, and grants the rights of a run."""

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
# What `gatherer export` reads beside the tables
EXPORTED_VIEWS: Final = ("response_duplicate", "mapped_message", "response_campaign", "opt_out_current")
# What a run does with each table; `config/sqlserver/grants.sql` grants the same.
RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    **{table.table: ("SELECT", "INSERT", "UPDATE", "DELETE") for table in TABLES},
    Rejected.table: ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "contributor": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "rejected_notification": ("SELECT", "INSERT", "DELETE"),
    "inbox_position": ("SELECT", "INSERT", "UPDATE"),
    "gather_run": ("SELECT", "INSERT"),
    "message_map": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "tombstone": ("SELECT", "INSERT", "UPDATE"),
    "erasure": ("SELECT", "INSERT"),
    "commit_sequence": ("SELECT", "UPDATE"),
    "export_cursor": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "setting": ("SELECT", "INSERT", "DELETE"),
    "time_zone_offset": ("SELECT", "INSERT", "DELETE"),
    "schema_version": ("SELECT",),
    **dict.fromkeys(EXPORTED_VIEWS, ("SELECT",)),
}
_CONNECTION: Final = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"


def inspect(access: Access, schema_name: str) -> dict[str, Any]:
    """Return what the server and its tables are like, as plain values; `problems` has a line for each problem.

    Raises:
        ConfigurationError: there is no driver, or the connection string is wrong.
        TargetError: the server refuses the login, or is too old.
        TemporaryError: the server is not reachable now.

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
        problems.append("grant the rights that `gatherer config sample grants.sql` prints")
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
    pairs = parse(complete(access.pairs, driver.load().drivers()))
    return get(pairs, "driver", "dsn", "filedsn") or "?"


def _encrypted(session: Session) -> str:
    """Return whether this connection is encrypted: as the server reports it, or else as the driver was asked for."""
    try:
        (rows,) = session.run(_CONNECTION)
        if rows and str(rows[0].encrypt_option).upper() in ("TRUE", "FALSE"):
            return "yes" if str(rows[0].encrypt_option).upper() == "TRUE" else "no"
    except SQLServerError:
        pass  # needs VIEW SERVER STATE, which the login of a run should not have
    setting = session.access.encrypt
    # A driver that was asked to encrypt fails if it cannot.
    return "yes (asked for)" if setting in ("yes", "true", "mandatory", "strict") else "no (not asked for)"


def _missing_rights(session: Session, schema_name: str) -> list[tuple[str, str]]:
    """Return the rights that the login lacks, as pairs of table and right."""
    needed = [(table, right) for table, rights in RIGHTS.items() for right in rights]
    query = "SELECT " + ", ".join(
        f"HAS_PERMS_BY_NAME(N'{schema_name}.{table}', N'OBJECT', N'{right}')" for table, right in needed
    )
    ((granted,),) = session.run(query)
    return [pair for pair, has_right in zip(needed, granted, strict=True) if has_right != 1]


def _clock(session: Session) -> tuple[float, float]:
    """Return by how many seconds the server's clock is ahead of this machine's, and the seconds of a round trip."""
    measurements = []
    for _ in range(ROUND_TRIPS):
        before, started = timestamps.now(), time.perf_counter()
        ((row,),) = session.run("SELECT SYSUTCDATETIME() AS moment")
        seconds = time.perf_counter() - started
        ahead = (row.moment.replace(tzinfo=UTC) - before).total_seconds() - seconds / 2
        measurements.append((seconds, ahead))
    return min(measurements)[1], statistics.median(seconds for seconds, _ in measurements)
