"""The inbox as a file: who may create it, which version it has, and when its commits are durable."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gatherer.files import atomic
from gatherer.files.migrations import IncompatibleFileError, Versions
from gatherer.inbox import filesystem, group_access

VERSIONS: Final = Versions(kind="inbox", package=__package__, scripts=("0001_inbox",))


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file that a writer can append to."""

    versions: Versions
    about: str  # its table of one row, with the column probed_at
    table: str  # that is appended to
    columns: tuple[str, ...]  # of what is appended

    def insert(self, rows: int) -> str:
        """Return the statement that appends `rows` rows at once, with a parameter for each value, row by row."""
        row = f"({', '.join('?' * len(self.columns))})"
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {', '.join([row] * rows)}"


INBOX: Final = Format(
    versions=VERSIONS,
    about="inbox",
    table="notification",
    columns=("received_at", "endpoint", "provider", "remote", "content_type", "headers", "body"),
)
BUSY_SECONDS: Final = 5  # to wait for a reader that happens to be in the way
LOG_BYTES: Final = 64_000_000  # to which the write-ahead log shrinks once no reader needs what is in it


class InboxReplacedError(Exception):
    """The files of the inbox are no longer the ones that were opened: what is written to those, nobody finds."""


def create_private(path: Path, *, group: str | None = None) -> None:
    """Create an empty file that only this account can read, unless there is a file already.

    With `group`, the accounts of that group can read and write it and what lies beside it.

    Raises:
        ConfigurationError: it is on a network file system, or cannot be shared with that group.
        OSError: it cannot be created.

    """
    filesystem.check(path)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():  # and never open one that exists: closing it would drop SQLite's POSIX locks
        path.touch(mode=0o600)
        for folder in (path.parent, *(folder.parent for folder in made)):
            atomic.sync_folder(folder)
    if group is not None:
        group_access.share(path, group)


def open_writable(path: Path, versions: Versions = VERSIONS) -> sqlite3.Connection:
    """Open the file at `path` for writing, with its tables up to date and every commit made durable.

    The file has to exist: one that has vanished is not to be replaced by an empty one silently.

    Raises:
        IncompatibleFileError: it is something else, or was written by a newer gatherer. Nothing was changed.
        sqlite3.Error: it cannot be written, or not durably.

    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        pending = versions.pending(connection)
        # Before there is anything in the file, or it has no effect: what is purged can be given back then.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous = FULL")
        if (mode, connection.execute("PRAGMA synchronous").fetchone()[0]) != ("wal", 2):
            raise sqlite3.OperationalError("the file system does not support a durable write-ahead log")
        connection.execute("PRAGMA secure_delete = FAST")  # zeros where that costs no further page
        # Whoever writes moves the log into the file: SQLite, doing so by itself, tells nobody of a failed fsync.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if pending:
            versions.apply(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def at_rest(path: Path) -> tuple[int, int, int] | None:
    """Return what tells this state of the inbox file from a later one, if nobody has it open; None if somebody may.

    Then there is no write-ahead log: whoever stopped last took it away, or the file was copied without it.
    A reader would have to make one, which it may not, or which `serve` could not write afterwards.

    Raises:
        OSError: there is no such file.

    """
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    if log.exists() and (log.stat().st_size or shared.exists()):
        return None
    there = path.stat()
    return there.st_ino, there.st_size, there.st_mtime_ns


def open_readable(
    path: Path, versions: Versions = VERSIONS, *, busy_seconds: float = 30, resting: bool = False
) -> sqlite3.Connection:
    """Open the file at `path` for reading. Such a connection never checkpoints, also not when closed.

    With `resting` nothing but the file itself is looked at. What was read then counts only if it is still
    :func:`at_rest` afterwards.

    Raises:
        IncompatibleFileError: it is something else, or was written by a newer gatherer.
        sqlite3.Error: it cannot be read.

    """
    # immutable=1 would miss what is still in the write-ahead log: only where there is none.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' * resting}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        pending = versions.pending(connection)
        if len(pending) == len(versions.scripts):
            raise IncompatibleFileError(f"is an empty file, not a gatherer {versions.kind}")
        if pending:
            raise IncompatibleFileError(
                "was written by an older gatherer: restart `gatherer serve`, which brings it up to date"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Move what the write-ahead log holds into the file; False if a reader was in the way.

    A log in which an fsync has failed, in this process or in one before it, may have a hole on the disk
    that nobody sees: what is written behind the hole would be lost with the power.
    """
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def checkpoint_log(connection: sqlite3.Connection) -> tuple[int, int]:
    """Move of the write-ahead log into the file what no reader needs there.

    Returns:
        How many pages the log holds, and how many of them are in the file now. When all are, and no reader is at
        work, what is written next begins it anew.

    Raises:
        sqlite3.Error: it cannot be moved, or not durably.

    """
    _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return pages, moved


def probe(connection: sqlite3.Connection, about: str = INBOX.about) -> None:
    """Commit something: SQLite opens a file that it may only read without a word.

    Raises:
        sqlite3.Error: it cannot be committed.

    """
    moment = time.time_ns() // 1_000_000
    if connection.execute(f"UPDATE {about} SET probed_at = ?", (moment,)).rowcount != 1:
        raise sqlite3.DatabaseError("it has lost its identity")


def files(path: Path) -> tuple[Path, ...]:
    """Return of which files the open inbox at `path` consists."""
    return tuple(path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm"))


def identities(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Return which files those at `paths` are, in the file system's numbers.

    Raises:
        InboxReplacedError: one of them is missing.

    """
    try:
        found = [path.stat() for path in paths]
    except OSError as error:
        raise InboxReplacedError(f"{error.filename} has been moved or deleted") from None
    return [(one.st_dev, one.st_ino) for one in found]
