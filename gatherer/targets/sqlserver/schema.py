"""The tables and views in SQL Server: their packaged T-SQL, which version is there, and bringing it up to date."""

import re
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Final

from gatherer.model.errors import TargetError
from gatherer.model.phones import SEPARATORS
from gatherer.model.records import TABLES, Rejected
from gatherer.targets.sqlserver.session import Session

_GO: Final = re.compile(r"^\s*GO\s*;?\s*$", re.MULTILINE | re.IGNORECASE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_BARE: Final = re.compile(r"\$\(bare:([^()]*)\)")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One numbered script."""

    number: int
    name: str  # of the file in `sql/`
    required: int  # a gatherer that does not know the scripts up to this number must not write
    again: str | None = None  # the script of views that have to be made again after it

    @property
    def scripts(self) -> tuple[str, ...]:
        """The names of the files to run, in this order."""
        return (self.name, self.again) if self.again else (self.name,)


VERSIONS: Final = (
    Version(number=1, name="0001_tables", required=1),
    Version(number=2, name="0002_views", required=2),
    Version(number=3, name="0003_privacy", required=3, again="0002_views"),
)
LATEST: Final = VERSIONS[-1].number
_NOT_SEEN: Final = "or this login may not see them: config/sqlserver/grants.sql"
# The table or view that is made, or that gets an index or a column.
_CREATED: Final = re.compile(r"(?:CREATE [\w ]+?(?: ON)?|ALTER TABLE) \[\w+\]\.(\w+)")
_MADE: Final = re.compile(r"^CREATE (?:TABLE|VIEW) \[\w+\]\.(\w+)", re.MULTILINE)
WITH_KEYS: Final = (*(record.table for record in TABLES), Rejected.table)  # the tables of facts


@cache
def text(name: str, schema: str) -> str:
    """Return the packaged file `sql/<name>.sql` for the tables in `schema`."""
    script = (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    return placed(_BARE.sub(lambda found: _bare(found[1]), script), schema)


def _bare(expression: str) -> str:
    """Return T-SQL for a text without what may stand between the digits of a number, also as JSON writes it."""
    escaped = [r"N'\t'", r"N'\r'", r"N'\n'", *(f"NCHAR({ord(one)})" for one in SEPARATORS), r"N'\'"]
    for one in escaped:
        expression = f"REPLACE({expression}, {one}, N'')"
    return expression


def placed(statement: str, schema: str) -> str:
    """Return `statement` with `$(schema)`, as sqlcmd writes a variable, replaced; in brackets before a dot."""
    return statement.replace("$(schema).", f"[{schema}].").replace("$(schema)", schema)


@cache
def batches(name: str, schema: str) -> tuple[str, ...]:
    """Return what stands between the lines `GO` in `sql/<name>.sql`, without lines that are comments."""
    return split(text(name, schema))


def split(script: str) -> tuple[str, ...]:
    """Return what stands between the lines `GO` of `script`, without lines that are comments."""
    parts = _GO.split(_COMMENT.sub("", script))
    return tuple(part.strip() for part in parts if part.strip())


def script(schema: str, *, after: int = 0) -> str:
    """Return one script for sqlcmd or a query window that makes everything after version `after` in `schema`."""
    parts = [text("0000_versions", schema)]
    for version in VERSIONS:
        if version.number > after:
            parts += [*(text(name, schema) for name in version.scripts), _record(version, schema)]
    return "\n".join(parts)


def _created(version: Version, schema: str) -> set[str]:
    return {name for part in version.scripts for name in _CREATED.findall(text(part, schema))}


def _record(version: Version, schema: str) -> str:
    found = text("record_version", schema)
    for name in ("number", "name", "required"):
        found = found.replace(f"$({name})", str(getattr(version, name)))
    return found


@dataclass(frozen=True, kw_only=True)
class State:
    """Which version a database has."""

    number: int | None  # of the last script that was applied; None: there is no table of ours
    required: int  # what a gatherer must know to write
    missing: tuple[str, ...] = ()  # tables, views and columns, as far as they were looked for

    @property
    def problem(self) -> str | None:
        """What is wrong with it for this gatherer, with the command that mends it; None if nothing."""
        if self.number is None:
            return f"there are no tables of gatherer's; make them with: gatherer schema apply ({_NOT_SEEN})"
        if self.number < LATEST:
            return (
                f"the tables have version {self.number}, and this gatherer needs {LATEST}; "
                "bring them up to date with: gatherer schema apply"
            )
        if self.required > LATEST:
            return (
                f"the tables have version {self.number}, made by a newer gatherer, and this one, which knows "
                f"{LATEST}, must not write there; update it with: pip install --upgrade gatherer"
            )
        if self.missing:
            what = ", ".join(self.missing)
            return f"missing: {what}; make them anew with: gatherer schema apply ({_NOT_SEEN})"
        return None


def state(session: Session, schema: str) -> State:
    """Return which version the tables in `schema` have."""
    ((found,),) = session.run("SELECT OBJECT_ID(?, N'U') AS found", f"{schema}.schema_version")
    if found.found is None:
        return State(number=None, required=0)
    query = "SELECT MAX(number) AS number, MAX(required) AS required FROM $(schema).schema_version"
    (rows,) = session.run(placed(query, schema))
    return State(number=rows[0].number, required=rows[0].required or 0)


def examine(session: Session, schema: str) -> State:
    """Return what :func:`state` does, and what is missing of the tables, columns and views that this gatherer knows."""
    found = state(session, schema)
    if found.number is None:
        return found
    query = "SELECT TABLE_NAME AS name, COLUMN_NAME AS part FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ?"
    (rows,) = session.run(query, schema)
    there: dict[str, set[str]] = {}
    for row in rows:
        there.setdefault(row.name, set()).add(row.part)
    columns = {record.table: record.__struct_fields__ for record in TABLES}
    missing = [name for name in made(schema) if name not in there]
    missing += [
        f"{name}.{column}"
        for name, wanted in columns.items()
        for column in wanted
        if name in there and column not in there[name]
    ]
    return replace(found, missing=tuple(missing))


@cache
def made(schema: str) -> tuple[str, ...]:
    """Return the names of all tables and views, in the order in which the scripts make them."""
    return tuple(dict.fromkeys(_MADE.findall(script(schema))))


def check(session: Session, schema: str) -> None:
    """Make sure that the tables are there, in a version that this gatherer can write.

    Raises:
        TargetError: they are not; the message has the command that mends it.

    """
    problem = state(session, schema).problem
    if problem is not None:
        raise TargetError(f"schema {schema} of {session.name}: {problem}")


def apply(session: Session, schema: str) -> list[str]:
    """Apply what is missing, and return the names of the scripts. Needs a login that may create tables.

    Each script can be run again: one that was interrupted is simply repeated. Of those that were applied before,
    what makes a missing table or view is.

    Raises:
        TargetError: a newer gatherer made the tables, the login may not create any, or a table lacks columns.

    """
    for batch in batches("0000_versions", schema):
        session.run(batch)
    there = examine(session, schema)
    if there.required > LATEST:
        raise TargetError(f"schema {schema} of {session.name}: {there.problem}")
    applied, missing = [], {*there.missing}
    for version in VERSIONS:
        known = there.number is not None and version.number <= there.number
        if known and missing.isdisjoint(_created(version, schema)):
            continue
        for name in version.scripts:
            for batch in batches(name, schema):
                creates = {*_CREATED.findall(batch)}
                if known and creates.isdisjoint(missing):
                    continue
                session.run(batch)
                if batch.startswith("CREATE VIEW"):  # a later version makes it again
                    missing -= creates
        session.run(_GO.sub("", _record(version, schema)))
        applied.append(version.name)
    left = examine(session, schema).missing
    if left:
        raise TargetError(
            f"schema {schema} of {session.name}: still missing: {', '.join(left)}. A table that is there is not made "
            "anew, as that would cost its rows: bring the columns back, or move the table away"
        )
    return applied
