"""Numbered SQL scripts that bring a SQLite file up to date. A file of another program or a newer version is refused."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database


class IncompatibleFileError(Exception):
    """The file is not gatherer's, or a newer gatherer wrote it. The text is a clause that follows the path of the file."""


@dataclass(frozen=True, kw_only=True)
class Versions:
    """The scripts that create one kind of file and bring it up to date."""

    kind: str  # the name of this kind of file, and of its set of migrations
    package: str  # the package that contains the scripts
    scripts: tuple[str, ...]  # names of the `.sql` files, in the order in which they apply

    def check_path(self, path: Path) -> None:
        """Check what SQLite would misunderstand at `path`, before a connection opens it.

        SQLite reports a failure of the disk for a folder. On Unix it takes a file of one byte for an empty one, and
        would replace it.

        Raises:
            IncompatibleFileError: there is a folder, or a file of one byte.

        """
        if path.is_dir():
            raise IncompatibleFileError(f"is a folder, not a gatherer {self.kind}: choose another path")
        if path.is_file() and path.stat().st_size == 1:
            raise IncompatibleFileError("is not a SQLite database: choose another path")

    def pending(self, connection: sqlite3.Connection) -> list[str]:
        """Return the scripts that the file still needs, without changing anything.

        Raises:
            IncompatibleFileError: the file is of another kind, or a newer gatherer wrote it.
            sqlite3.Error: the file cannot be read.

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
        """Apply all pending scripts in one transaction.

        Raises:
            sqlite3.Error: the file cannot be written.

        """
        from sqlite_utils import Database  # slow to import, and rarely needed
        from sqlite_utils.migrations import Migrations

        migrations = Migrations(self.kind)
        for name in self.scripts:
            script = (files(self.package) / f"{name}.sql").read_text(encoding="utf-8")
            migrations(name=name)(lambda database, script=script: _execute(database, script))
        database = Database(connection)
        with database.atomic():
            migrations.apply(database)


def _execute(database: "Database", script: str) -> None:
    """Execute each statement of `script` in the current transaction.

    `executescript` does not serve: that of sqlite3 commits first, and that of sqlite-utils searches for the ends of
    statements character by character, which takes most of a second for the views of the target.
    """
    for statement in _statements(script):
        database.execute(statement)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`. Each statement has to end at the end of a line."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
