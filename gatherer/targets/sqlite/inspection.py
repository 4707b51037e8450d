"""Looking at the embedded target before anything is written."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gatherer.files.migrations import IncompatibleFileError
from gatherer.targets.sqlite.schema import VERSIONS, sql


def inspect(path: Path) -> dict[str, Any]:
    """Return what there is to know, as plain values; `problems` has one line for each thing that is wrong."""
    problems = []
    version: int | None = None
    if path.exists():
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                version = len(VERSIONS.scripts) - len(VERSIONS.pending(connection))
        except IncompatibleFileError as unsuitable:
            problems.append(f"{path} {unsuitable}")
        except sqlite3.Error as error:
            problems.append(f"{path} cannot be read: {error}")
        if not os.access(path, os.W_OK):
            problems.append(f"{path} cannot be written by this account")
    folder = next(one for one in (path.parent, *path.parents) if one.exists())
    if not os.access(folder, os.W_OK):
        problems.append(f"the folder {folder} cannot be written by this account")
    return {
        "target": f"SQLite {path}",
        "version": sqlite3.sqlite_version,
        "bytes": path.stat().st_size if path.exists() else None,
        "schema_version": version,
        "schema_version_needed": len(VERSIONS.scripts),
        "problems": problems,
    }


def script() -> str:
    """Return the SQL that makes the tables and views."""
    return "\n".join(sql(name) for name in VERSIONS.scripts)
