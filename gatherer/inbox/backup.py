"""A copy of an inbox in one piece, made while `serve` keeps writing it."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from gatherer.errors import ConfigurationError, InboxError, TemporaryError

BUSY_SECONDS: Final = 30.0


def backup(source: sqlite3.Connection, destination: Path) -> int:
    """Copy the inbox behind `source`, a reading connection, to the new file `destination`; return its size.

    The copy is of one moment, checked before it gets its name, and complete in itself: it needs no -wal.
    Everything is copied in one read transaction, as a copy in pieces would begin anew with each arrival;
    the write-ahead log grows by what arrives in the meantime.

    Raises:
        ConfigurationError: the file exists, or cannot be written there.
        InboxError: the copy is damaged, and so probably is the inbox.
        TemporaryError: the disk is full, or the inbox locked.

    """
    if destination.exists():
        raise ConfigurationError(f"{destination} exists: a backup never replaces another file")
    unfinished = destination.with_name(destination.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with contextlib.closing(
            sqlite3.connect(unfinished, isolation_level=None, timeout=BUSY_SECONDS)
        ) as copy:
            copy.execute("PRAGMA synchronous = FULL")
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE")
            found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise InboxError(f"the copy of the inbox is damaged ({found}): look at `gatherer inbox check`")
        _flush(unfinished)
        # Not replace(): who made a file of that name in the meantime keeps it, where the system can tell.
        unfinished.rename(destination)
        return destination.stat().st_size
    except sqlite3.Error as error:
        kind = getattr(error, "sqlite_errorname", "")
        if kind.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_LOCKED")):
            raise TemporaryError(f"the backup could not be written: {error}") from error
        raise InboxError(f"the inbox cannot be copied: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{destination} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            for suffix in ("", "-journal"):
                Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Make sure that the file is on disk."""
    with path.open("rb+") as opened:
        os.fsync(opened.fileno())
