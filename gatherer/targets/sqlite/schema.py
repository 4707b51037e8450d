"""Opening the embedded target: its pragmas, its tables and views, and how a file differs from what gatherer makes."""

import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from gatherer.files.migrations import IncompatibleFileError, Versions
from gatherer.targets.columns import Column, DataType, tables

# Fastest settings that keep every commit durable; measured with `scripts/bench gather`.
PRAGMAS: Final = """
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 10000;
PRAGMA temp_store = MEMORY;
"""

VERSION: Final = 1
VERSIONS: Final = Versions(kind="target", package=f"{__package__}.sql", scripts=("tables", "views"))

_CREATED: Final = re.compile(r"^CREATE (?:TABLE|VIEW|TRIGGER) (\w+)", re.MULTILINE)
_TYPES: Final[dict[DataType, str]] = {
    "bytes": "BLOB",
    "text": "TEXT",
    "integer": "INTEGER",
    "real": "REAL",
    "boolean": "INTEGER",
    "time": "TEXT",
}


@cache
def sql(name: str) -> str:
    """Return the text of the packaged file `sql/<name>.sql`."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def show_tests(connection: sqlite3.Connection, *, shown: bool) -> None:
    """Let the views show test rows, or leave them out: make the view `shown_response` anew.

    Raises:
        sqlite3.Error: the file cannot be written.

    """
    condition = "" if shown else "WHERE is_test = 0"
    connection.executescript(
        "BEGIN IMMEDIATE; DROP VIEW shown_response;"
        f"CREATE VIEW shown_response AS SELECT * FROM response {condition}; COMMIT"
    )


def connect(path: Path, *, dry_run: bool = False) -> sqlite3.Connection:
    """Open the target at `path`, and create it, its tables and its views as needed.

    With `dry_run` nothing is created: in place of a target that does not exist, one in memory is opened.

    Raises:
        IncompatibleFileError: the file holds something else, or was written by a newer gatherer.
        sqlite3.Error: it cannot be opened.

    """
    VERSIONS.check_path(path)
    if dry_run and not path.exists():
        path = Path(":memory:")
    elif not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        pending = VERSIONS.pending(connection)
        connection.executescript(PRAGMAS)
        if pending and dry_run and str(path) != ":memory:":
            raise IncompatibleFileError("has no tables yet; the next run makes them")
        if pending:
            VERSIONS.apply(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def differences(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield a clause for each difference from the scripts: columns of tables with facts first, then missing objects.

    A column is named if it is missing, or declared with another type. Objects are tables, views and triggers.
    """
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for table, columns in tables().items():
        stored = {
            name: _definition(type_, nullable=not_null == 0)
            for _, name, type_, not_null, *_ in connection.execute(f"PRAGMA table_info({table})")
        }
        for column in columns if table in present else ():
            actual = stored.get(column.name)
            if actual is None:
                yield f"{table}.{column.name} is missing"
            elif actual != (expected := definition(column)):
                yield f"{table}.{column.name} is {actual} instead of {expected}"
    for name in _CREATED.findall("\n".join(map(sql, VERSIONS.scripts))):
        if name not in present:
            yield f"{name} is missing"


def definition(column: Column) -> str:
    """Return the type of `column`, and whether it may be NULL."""
    # SQLite numbers the rows itself in a column that is declared in just these words, and calls it nullable.
    return _definition(_TYPES[column.type], nullable=column.nullable or column.name == "id")


def _definition(type_: str, *, nullable: bool) -> str:
    return type_ if nullable else f"{type_} NOT NULL"
