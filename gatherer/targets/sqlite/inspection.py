"""Inspecting the embedded target before anything is written."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from gatherer.files.migrations import IncompatibleFileError
from gatherer.targets.sqlite.schema import VERSION, VERSIONS, differences, sql


def inspect(path: Path) -> dict[str, Any]:
    """Return what the file at `path` holds, as plain values; `problems` has a line for each thing that is wrong."""
    problems = []
    version: int | None = None
    if path.exists():
        try:
            VERSIONS.check_path(path)
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                if not VERSIONS.pending(connection):
                    version = VERSION
                    problems += [f"{path}: {difference}" for difference in differences(connection)]
        except IncompatibleFileError as incompatible:
            problems.append(f"{path} {incompatible}")
        except sqlite3.Error as error:
            problems.append(f"{path} cannot be read: {error}")
        if not os.access(path, os.W_OK):
            problems.append(f"{path} cannot be written by this account")
    folder = next(parent for parent in path.parents if parent.exists())
    if not os.access(folder, os.W_OK):
        problems.append(f"the folder {folder} cannot be written by this account")
    return {
        "target": f"SQLite {path}",
        "version": sqlite3.sqlite_version,
        "bytes": path.stat().st_size if path.exists() else None,
        "schema_version": version,
        "schema_version_needed": VERSION,
        "problems": problems,
    }


def script() -> str:
    """Return the SQL that makes the tables and views."""
    return "\n".join(sql(name) for name in VERSIONS.scripts)
