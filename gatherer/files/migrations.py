"""Numbered versions of a SQLite file of ours: bring it up to date, refuse what is foreign or newer."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


class IncompatibleFileError(Exception):
    """The file is none of ours, or too new for this program. The text is a clause that follows its name."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The versions that one kind of file has gone through."""

    kind: str  # what such a file is called, also the name of its set of migrations
    package: str  # where the scripts are packaged
    scripts: tuple[str, ...]  # names of the `.sql` files, in the order in which they apply

    def pending(self, connection: sqlite3.Connection) -> list[str]:
        """Return the scripts that the file still needs, without changing anything.

        Raises:
            IncompatibleFileError: it is not such a file, or a newer gatherer wrote it.
            sqlite3.Error: it cannot be read.

        """
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not tables:
            return list(self.scripts)
        applied: set[str] = set()
        if "_sqlite_migrations" in tables:
            applied = {
                name
                for (name,) in connection.execute(
                    "SELECT name FROM _sqlite_migrations WHERE migration_set = ?", (self.kind,)
                )
            }
        if not applied:
            raise IncompatibleFileError(f"is a database, but not a gatherer {self.kind}: choose another path")
        if unknown := sorted(applied - set(self.scripts)):
            raise IncompatibleFileError(
                f"was written by a newer gatherer (it has {unknown[-1]}): update this one"
            )
        return [name for name in self.scripts if name not in applied]

    def apply(self, connection: sqlite3.Connection) -> None:
        """Apply what is pending, all of it or nothing.

        Raises:
            sqlite3.Error: it cannot be written.

        """
        from sqlite_utils import Database  # slow to import, and only needed when there is something to do
        from sqlite_utils.migrations import Migrations

        migrations = Migrations(self.kind)
        for name in self.scripts:
            script = (files(self.package) / f"{name}.sql").read_text(encoding="utf-8")
            migrations(name=name)(lambda database, script=script: _execute(database, script))
        database = Database(connection)
        with database.atomic():
            migrations.apply(database)


def _execute(database: "Database", script: str) -> None:
    """Execute each statement of `script` in the transaction that is under way.

    Not by executescript: sqlite3's commits first, and that of sqlite-utils looks for the ends of statements letter
    by letter, which takes it most of a second for our views.
    """
    for statement in _statements(script):
        database.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`, each of which ends with its line."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
