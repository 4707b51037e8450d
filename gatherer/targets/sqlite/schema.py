"""Opening the embedded target: its pragmas, its tables and views, and which version they have."""

import sqlite3
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from gatherer.errors import TargetError

# Fastest settings that keep every commit durable; measured with `scripts/bench gather`.
PRAGMAS: Final = """
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 10000;
PRAGMA temp_store = MEMORY;
"""

MIGRATIONS: Final = ("0001_tables", "0002_views")  # numbered files in sql/, applied once each, in this order


@cache
def sql(name: str) -> str:
    """Return the text of the packaged file `sql/<name>.sql`."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def connect(path: Path) -> sqlite3.Connection:
    """Open the target at `path`, creating it, its tables and its views as needed.

    Raises:
        TargetError: the file holds something else, or was written by a newer gatherer.
        sqlite3.Error: it cannot be opened.

    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.executescript(PRAGMAS)
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    applied = _applied(connection)
    if applied == set(MIGRATIONS):
        return
    if unknown := sorted(applied - set(MIGRATIONS)):
        raise TargetError(f"{path} was written by a newer gatherer (it has {unknown[-1]}); update this one")
    if not applied and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise TargetError(f"{path} is a database, but not one of gatherer's; choose another [target] path")

    from sqlite_utils import Database  # slow to import, and only needed when there is something to do
    from sqlite_utils.migrations import Migrations

    migrations = Migrations("gatherer")
    for name in MIGRATIONS:
        script = sql(name)
        migrations(name=name)(lambda database, script=script: database.executescript(script))
    migrations.apply(Database(connection))


def _applied(connection: sqlite3.Connection) -> set[str]:
    try:
        rows = connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'gatherer'")
        return {name for (name,) in rows}
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return set()
        raise
