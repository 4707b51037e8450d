"""The SQLite file of an inbox or a quarantine: creating it, checking its version, and opening it durably."""

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
    """A kind of file that an `InboxWriter` can append to."""

    versions: Versions
    about: str  # the table of one row with the column probed_at
    table: str  # the table that rows are appended to
    columns: tuple[str, ...]  # of these rows

    def insert(self, rows: int) -> str:
        """Return the statement that inserts `rows` rows, with a parameter for each value, row by row."""
        row = f"({', '.join('?' * len(self.columns))})"
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {', '.join([row] * rows)}"


INBOX: Final = Format(
    versions=VERSIONS,
    about="inbox",
    table="notification",
    columns=("received_at", "endpoint", "provider", "remote", "content_type", "headers", "body"),
)
BUSY_SECONDS: Final = 5  # to wait for a lock that a reader holds
LOG_BYTES: Final = 64_000_000  # size to which the write-ahead log shrinks once no reader needs its content


class InboxReplacedError(Exception):
    """Other files have replaced the opened ones: rows written to the opened ones would be lost."""


def create_private(path: Path, *, group: str | None = None) -> None:
    """Create an empty file that only this account can read, unless there is a file already.

    With `group`, the accounts of that group can read and write it and the files beside it.

    Raises:
        ConfigurationError: the path is on a network file system, or the file cannot be shared with that group.
        OSError: the file cannot be created.

    """
    filesystem.check(path)
    new_folders = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():  # never open an existing one: closing it would drop SQLite's POSIX locks
        path.touch(mode=0o600)
        for folder in (path.parent, *(folder.parent for folder in new_folders)):
            atomic.sync_folder(folder)
    if group is not None:
        group_access.share(path, group)


def open_writable(path: Path, versions: Versions = VERSIONS) -> sqlite3.Connection:
    """Open the file at `path` for writing, with its tables up to date and every commit made durable.

    The file has to exist: a file that has vanished must not be replaced by an empty one silently.

    Raises:
        IncompatibleFileError: the file is of another kind, or a newer gatherer wrote it. Nothing was changed.
        sqlite3.Error: the file cannot be written, or not durably.

    """
    versions.check_path(path)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        pending = versions.pending(connection)
        # Has an effect only in an empty file. Without it, the file could not shrink after purging.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous = FULL")
        if (mode, connection.execute("PRAGMA synchronous").fetchone()[0]) != ("wal", 2):
            raise sqlite3.OperationalError("the file system does not support a durable write-ahead log")
        connection.execute(
            "PRAGMA secure_delete = FAST"
        )  # overwrites deleted content where that writes no further page
        # The committer checkpoints by itself: an automatic checkpoint of SQLite hides a failed fsync.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        if pending:
            versions.apply(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def at_rest(path: Path) -> tuple[int, int, int] | None:
    """Return what identifies the present state of the inbox file, if no process has it open; else None.

    Without an open connection there may be no write-ahead log: the last process removed it, or the file was copied
    without it. A reader would have to create one, which its account may not, or which `serve` could not write later.

    Raises:
        OSError: there is no such file.

    """
    log, shared = Path(f"{path}-wal"), Path(f"{path}-shm")
    if log.exists() and (log.stat().st_size or shared.exists()):
        return None
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def open_readable(
    path: Path, versions: Versions = VERSIONS, *, busy_seconds: float = 30, resting: bool = False
) -> sqlite3.Connection:
    """Open the file at `path` for reading. Such a connection never checkpoints, also not when closed.

    With `resting`, only the file itself is read, without a write-ahead log. What was read is valid only if
    :func:`at_rest` still returns the same afterwards.

    Raises:
        IncompatibleFileError: the file is of another kind, or a newer gatherer wrote it.
        sqlite3.Error: the file cannot be read.

    """
    versions.check_path(path)
    # immutable=1 ignores the write-ahead log: only where there is none.
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
    """Move the write-ahead log into the file and truncate it; return False if a reader prevents it.

    After a failed fsync, in this process or an earlier one, the log may have an undetected hole on the disk: what is
    written behind the hole would be lost in a power failure.
    """
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def checkpoint_log(connection: sqlite3.Connection) -> tuple[int, int]:
    """Move into the file what no reader needs in the write-ahead log.

    Returns:
        How many pages the log holds, and how many of them are in the file now. When all are, and no reader is
        active, the next write restarts the log at its beginning.

    Raises:
        sqlite3.Error: the log cannot be moved, or not durably.

    """
    _, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return pages, moved


def probe(connection: sqlite3.Connection, about: str = INBOX.about) -> int:
    """Commit a change, and return its time in ms: SQLite opens a file that it cannot write without an error.

    Raises:
        sqlite3.Error: the change cannot be committed.

    """
    now = time.time_ns() // 1_000_000
    if connection.execute(f"UPDATE {about} SET probed_at = ?", (now,)).rowcount != 1:
        raise sqlite3.DatabaseError("the table of one row is empty")
    return now


def verify_probe(connection: sqlite3.Connection, file_format: Format, probed_at: int) -> None:
    """Read back, through another connection, what :func:`probe` wrote, and the newest row of the file.

    Raises:
        sqlite3.Error: the file cannot be read, or has another value.

    """
    if connection.execute(f"SELECT probed_at FROM {file_format.about}").fetchone() != (probed_at,):
        raise sqlite3.DatabaseError("a reader does not see what was committed")
    connection.execute(f"SELECT * FROM {file_format.table} ORDER BY id DESC LIMIT 1").fetchone()


def files(path: Path) -> tuple[Path, ...]:
    """Return the paths of the files of an open inbox at `path`."""
    return tuple(path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm"))


def identities(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Return the device and inode numbers of the files at `paths`.

    Raises:
        InboxReplacedError: one of them is missing.

    """
    try:
        statuses = [path.stat() for path in paths]
    except OSError as error:
        raise InboxReplacedError(f"{error.filename} has been moved or deleted") from None
    return [(status.st_dev, status.st_ino) for status in statuses]
