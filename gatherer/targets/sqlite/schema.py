"""Opening the embedded target: its pragmas, its tables and views, and which version they have."""

import sqlite3
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from gatherer.files.migrations import IncompatibleFileError, Versions

# Fastest settings that keep every commit durable; measured with `scripts/bench gather`.
PRAGMAS: Final = """
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 10000;
PRAGMA temp_store = MEMORY;
"""

VERSIONS: Final = Versions(
    kind="target", package=f"{__package__}.sql", scripts=("0001_tables", "0002_views", "0003_privacy")
)


@cache
def sql(name: str) -> str:
    """Return the text of the packaged file `sql/<name>.sql`."""
    return (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def connect(path: Path, *, dry_run: bool = False) -> sqlite3.Connection:
    """Open the target at `path`, creating it, its tables and its views as needed.

    With `dry_run` nothing is created: a target that is not there is one in memory.

    Raises:
        IncompatibleFileError: the file holds something else, or was written by a newer gatherer.
        sqlite3.Error: it cannot be opened.

    """
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
            raise IncompatibleFileError(
                "has the tables of an older gatherer, which the next run brings up to date"
            )
        if pending:
            VERSIONS.apply(connection)
    except BaseException:
        connection.close()
        raise
    return connection
