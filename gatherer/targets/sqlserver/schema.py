"""The tables and views in SQL Server: their packaged T-SQL, what a database has of them, and how they are made."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final

from gatherer.model.errors import TargetError
from gatherer.model.phones import SEPARATORS
from gatherer.targets.columns import Column, tables
from gatherer.targets.sqlserver.session import Session

VERSION: Final = 1  # as `sql/views.sql` records it
SCRIPTS: Final = ("tables", "views")  # in this order
WITH_KEYS: Final = tuple(tables())  # the tables of facts

_GO: Final = re.compile(r"^\s*GO\s*;?\s*$", re.MULTILINE | re.IGNORECASE)
_COMMENT: Final = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_BARE: Final = re.compile(r"\$\(bare:([^()]*)\)")
_CREATED: Final = re.compile(r"^CREATE (?:TABLE|VIEW) \[\w+\]\.(\w+)", re.MULTILINE)
_NOT_VISIBLE: Final = "or this login may not see them: `gatherer config sample grants.sql` prints the rights"
_TYPES: Final = {"integer": "bigint", "real": "float", "boolean": "bit", "time": "datetime2(3)"}


@cache
def packaged(name: str) -> str:
    """Return the packaged file `sql/<name>.sql` with its variables."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def text(name: str, schema: str) -> str:
    """Return the packaged file `sql/<name>.sql` for the tables in `schema`."""
    return placed(_BARE.sub(lambda match: _bare(match[1]), packaged(name)), schema)


def _bare(expression: str) -> str:
    """Return T-SQL for a text without the characters that may separate the digits of a number, also as JSON writes them."""
    separators = [r"N'\t'", r"N'\r'", r"N'\n'", *(f"NCHAR({ord(mark)})" for mark in SEPARATORS), r"N'\'"]
    for separator in separators:
        expression = f"REPLACE({expression}, {separator}, N'')"
    return expression


def placed(statement: str, schema: str) -> str:
    """Return `statement` with `$(schema)`, as sqlcmd writes a variable, replaced; in brackets before a dot."""
    return statement.replace("$(schema).", f"[{schema}].").replace("$(schema)", schema)


@cache
def batches(name: str, schema: str) -> tuple[str, ...]:
    """Return the batches between the lines `GO` of `sql/<name>.sql`, without lines that are comments."""
    return split(text(name, schema))


def split(script: str) -> tuple[str, ...]:
    """Return the batches between the lines `GO` of `script`, without lines that are comments."""
    parts = _GO.split(_COMMENT.sub("", script))
    return tuple(part.strip() for part in parts if part.strip())


def script(schema: str) -> str:
    """Return one script for sqlcmd or a query window that makes all tables and views in `schema`."""
    return "\n".join(text(name, schema) for name in SCRIPTS)


@cache
def created(schema: str) -> tuple[str, ...]:
    """Return the names of all tables and views, in the order in which the scripts create them."""
    return tuple(dict.fromkeys(_CREATED.findall(script(schema))))


def column_type(column: Column) -> str:
    """Return the type of `column`, without a collation."""
    if column.type == "bytes":
        return f"binary({column.width})"
    if column.type == "text":
        return f"nvarchar({column.width or 'max'})"
    return _TYPES[column.type]


def definition(column: Column) -> str:
    """Return the type of `column`, and whether it may be NULL."""
    return f"{column_type(column)} {'NULL' if column.nullable else 'NOT NULL'}"


@dataclass(frozen=True, kw_only=True)
class State:
    """Which tables and views a database has."""

    number: int | None  # their version; None: there are none
    required: int  # the version that a gatherer must know to write there
    missing: tuple[str, ...] = ()  # tables, views and columns; empty if nothing looked for them
    different: tuple[str, ...] = ()  # columns of another type, width or nullability, one clause for each

    @property
    def problem(self) -> str | None:
        """What keeps this gatherer from using them, with the command that mends it; None if nothing does."""
        if self.number is None:
            return (
                f"there are no tables of gatherer's; make them with: gatherer schema apply ({_NOT_VISIBLE})"
            )
        if self.required > VERSION:
            return (
                f"the tables have version {self.number}, made by a newer gatherer, and this one, which knows "
                f"{VERSION}, must not write there; update it with: pip install --upgrade whatsapp-gatherer"
            )
        if self.missing:
            names = ", ".join(self.missing)
            return f"missing: {names}; make them anew with: gatherer schema apply ({_NOT_VISIBLE})"
        if self.different:
            return f"{'; '.join(self.different)}: change the columns with ALTER TABLE"
        return None


def state(session: Session, schema: str) -> State:
    """Return which version the tables in `schema` have, without looking at each of them."""
    ((row,),) = session.run("SELECT OBJECT_ID(?, N'U') AS id", f"{schema}.schema_version")
    if row.id is None:
        return State(number=None, required=0)
    query = "SELECT MAX(number) AS number, MAX(required) AS required FROM $(schema).schema_version"
    ((row,),) = session.run(placed(query, schema))
    return State(number=row.number, required=row.required or 0)


def examine(session: Session, schema: str) -> State:
    """Return what :func:`state` does, and how the tables, columns and views differ from what this gatherer knows."""
    version = state(session, schema)
    if version.number is None:
        return version
    query = (
        "SELECT TABLE_NAME AS table_name, COLUMN_NAME AS name, DATA_TYPE AS type, "
        "CHARACTER_MAXIMUM_LENGTH AS width, DATETIME_PRECISION AS digits, IS_NULLABLE AS nullable "
        "FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = ?"
    )
    (rows,) = session.run(query, schema)
    stored: dict[str, dict[str, str]] = {}
    for row in rows:
        stored.setdefault(row.table_name, {})[row.name] = _stored_definition(row)
    missing = [name for name in created(schema) if name not in stored]
    different = []
    for table, column in _all_columns():
        if table not in stored:
            continue
        actual = stored[table].get(column.name)
        if actual is None:
            missing.append(f"{table}.{column.name}")
        elif actual != definition(column):
            different.append(f"{table}.{column.name} is {actual} instead of {definition(column)}")
    if "version" not in stored.get("message_map", {"version": ""}):
        missing.append("message_map.version")
    return replace(version, missing=tuple(missing), different=tuple(different))


def _all_columns() -> Iterator[tuple[str, Column]]:
    return ((table, column) for table, columns in tables().items() for column in columns)


def _stored_definition(row: Any) -> str:
    """Return the definition of the column that `row` of INFORMATION_SCHEMA.COLUMNS describes."""
    name = row.type
    if name == "datetime2":
        name = f"datetime2({row.digits})"
    elif row.width is not None:
        name = f"{name}({'max' if row.width == -1 else row.width})"
    return f"{name} {'NULL' if row.nullable == 'YES' else 'NOT NULL'}"


def check(session: Session, schema: str) -> None:
    """Make sure that the tables are there, in a version that this gatherer can write.

    Raises:
        TargetError: they are not; the message has the command that mends it.

    """
    problem = state(session, schema).problem
    if problem is not None:
        raise TargetError(f"schema {schema} of {session.name}: {problem}")


def apply(session: Session, schema: str, *, include_tests: bool = False) -> list[str]:
    """Make the views, and the tables if any is missing, and return the names of the scripts that were run.

    With `include_tests` the views show test rows as well.

    Needs a login that may create tables. The scripts leave a table that is there as it is and make the views anew, so
    that one that was interrupted is simply run again.

    Raises:
        TargetError: a newer gatherer made the tables, the login may not create any, or columns differ.

    """
    before = examine(session, schema)
    if before.required > VERSION:
        raise TargetError(f"schema {schema} of {session.name}: {before.problem}")
    scripts = SCRIPTS if before.number is None or before.missing else ("views",)
    for name in scripts:
        for batch in batches(name, schema):
            # Only the view shown_response has this condition.
            session.run(batch.replace("WHERE is_test = 0", "") if include_tests else batch)
    after = examine(session, schema)
    if after.missing:
        raise TargetError(
            f"schema {schema} of {session.name}: still missing: {', '.join(after.missing)}. A table that is there is "
            "not made anew, as that would cost its rows: add the columns, or move the table away"
        )
    if after.problem is not None:
        raise TargetError(f"schema {schema} of {session.name}: {after.problem}")
    return list(scripts)
