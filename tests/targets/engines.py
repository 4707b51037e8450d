"""The engines that the suites of the targets run on: an empty database of each, and queries past the target.

SQL Server needs a server: GATHERER_TEST_SQLSERVER is an ODBC connection string of a login that may create
schemas in that database. Each process of the test run creates a schema of its own, and drops it at the end.
"""

import atexit
import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import pytest

from gatherer.model.records import TABLES
from gatherer.targets import sql_datetime
from gatherer.targets.base import Target
from gatherer.targets.columns import ORIGINAL
from gatherer.targets.sqlite.target import SQLiteTarget

# Read at import: a fixture takes the settings of the developer's shell away from each test.
SERVER: Final = os.environ.get("GATHERER_TEST_SQLSERVER", "")
NOT_COMPARED: Final = frozenset(
    {
        "id",
        "inserted_at",
        "changed_at",
        "commit_number",
        "told_commit_number",
        "blanked_at",
        *ORIGINAL.values(),
    }
)
FACT_TABLES: Final = (*(table.table for table in TABLES), "rejected")
ALL_TABLES: Final = (
    *FACT_TABLES,
    "contributor",
    "rejected_notification",
    "inbox_position",
    "gather_run",
    "message_map",
    "export_cursor",
    "tombstone",
    "erasure",
)

needs_server = pytest.mark.skipif(
    not SERVER, reason="GATHERER_TEST_SQLSERVER is not set: nothing of this ran against SQL Server"
)


class Database(Protocol):
    """A database for a target, empty at first."""

    def open(self, *, dry_run: bool = False) -> Target:
        """Open the target in it."""

    def query(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of `query`, without the target; $(schema). stands before each table."""


class SQLiteDatabase:
    """A file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "responses.db"

    def open(self, *, dry_run: bool = False) -> Target:
        return SQLiteTarget(self.path, dry_run=dry_run)

    def query(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query.replace("$(schema).", ""), parameters)]


class SQLServerDatabase:
    """A schema, created once and emptied for each test."""

    schema: Final = f"gatherer_test_{os.environ.get('PYTEST_XDIST_WORKER', '')}{os.getpid()}"
    _made = False

    def __init__(self, _folder: Path) -> None:
        from gatherer.targets.sqlserver import schema

        if not SQLServerDatabase._made:
            if SQLServerDatabase.is_babelfish():
                SQLServerDatabase._add_what_babelfish_lacks()
            schema.apply(self.session(), self.schema)
            SQLServerDatabase._made = True
            atexit.register(drop, self.schema)
        session = self.session()
        for table in ALL_TABLES:
            session.run(f"DELETE FROM {self.schema}.{table}")
        session.run(f"UPDATE {self.schema}.setting SET value = N'72' WHERE name = N'attribution_hours'")

    @classmethod
    def settings(cls) -> str:
        """Return the TOML of this target."""
        return f'[target]\nkind = "sqlserver"\nconnection = {json.dumps(SERVER)}\nschema = "{cls.schema}"\nstate = "state"\n'

    _sessions: ClassVar[dict[str, Any]] = {}

    @classmethod
    def session(cls) -> Any:
        """Return the session of the tests, which no target uses."""
        from gatherer.targets.sqlserver.connection import Access
        from gatherer.targets.sqlserver.session import Session

        return cls._sessions.setdefault(SERVER, Session(Access.parse(SERVER)))

    @classmethod
    @cache
    def is_babelfish(cls) -> bool:
        """Return whether the server is Babelfish, which speaks T-SQL but lacks some of what SQL Server does."""
        ((row,),) = cls.session().run("SELECT @@VERSION")
        return "Babelfish" in row[0]

    @classmethod
    def _add_what_babelfish_lacks(cls) -> None:
        """Allow columns of type rowversion, and add a MIN_ACTIVE_ROWVERSION that knows of no open transaction."""
        run = cls.session().run
        run("EXEC sp_babelfish_configure 'babelfishpg_tsql.escape_hatch_rowversion', 'ignore', 'server'")
        run("EXEC sp_babelfish_configure 'babelfishpg_tsql.escape_hatch_rowversion', 'ignore'")
        ((row,),) = run("SELECT OBJECT_ID(N'dbo.min_active_rowversion') AS id")
        if row.id is None:
            run(
                "CREATE FUNCTION dbo.min_active_rowversion() RETURNS binary(8) AS "
                "BEGIN RETURN CONVERT(binary(8), CONVERT(bigint, @@DBTS)) END"
            )

    def open(self, *, dry_run: bool = False, **more: Any) -> Target:
        from gatherer.targets.sqlserver.connection import Access
        from gatherer.targets.sqlserver.target import SQLServerTarget

        return SQLServerTarget(Access.parse(SERVER), schema_name=self.schema, dry_run=dry_run, **more)

    def query(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        from gatherer.targets.sqlserver.schema import placed

        results = self.session().run(placed(query, self.schema), *parameters)
        return [
            {column[0]: _plain(value) for column, value in zip(row.cursor_description, row, strict=True)}
            for row in (results[0] if results else [])
        ]


def drop(schema: str) -> None:
    """Drop the schema."""
    from gatherer.targets.sqlserver.schema import batches

    session = SQLServerDatabase.session()
    for statement in batches("remove", schema):
        session.run(statement)
    session.disconnect()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return sql_datetime.text(value)
    return value.isoformat() if isinstance(value, date) else value


DATABASES: Final[dict[str, Callable[[Path], Database]]] = {
    "sqlite": SQLiteDatabase,
    "sqlserver": SQLServerDatabase,
}
ENGINES: Final = (
    pytest.param("sqlite"),
    pytest.param("sqlserver", marks=[pytest.mark.sqlserver, needs_server]),
)


def rows(
    database: Database, table: str = "response", *, ignoring: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return all rows of `table` by key, without surrogate ids, times of writing or blanking, and the columns of `ignoring`."""
    without = {*NOT_COMPARED, *ignoring}
    stored_rows = database.query(f"SELECT * FROM $(schema).{table}")
    stored_rows.sort(key=lambda row: row["key"])
    return [{name: value for name, value in row.items() if name not in without} for row in stored_rows]


def all_rows(database: Database, *, ignoring: Iterable[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables of facts."""
    return {table: rows(database, table, ignoring=ignoring) for table in FACT_TABLES}


def clear(database: Database) -> None:
    """Delete all facts."""
    for table in (*FACT_TABLES, "contributor"):
        database.query(f"DELETE FROM $(schema).{table}")
