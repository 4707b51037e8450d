"""The one connection that writes an inbox file: it commits durably, is closed after a failure, and opened again."""

import contextlib
import errno
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from gatherer.files import lock
from gatherer.files.migrations import IncompatibleFileError
from gatherer.inbox import file_token, sqlite_file
from gatherer.inbox.outage import Outage
from gatherer.inbox.queue import InboxUnavailableError
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError

# Raised by SQLite or Python because of the values, not because of the file.
UNSTORABLE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)
# Rows per statement. SQLite releases Python's lock at each statement, and the event loop keeps it for a while then.
_SIZES: Final = (64, 32, 16, 8, 4, 2, 1)
CHECKPOINT_BYTES: Final = (
    10_000_000  # of the write-ahead log are moved into the file at a time, which took 16 ms
)
_LONGEST_PAGES: Final = (
    8_000  # a longer log, which a reader kept from being restarted, is checkpointed after each commit
)
_PAGE_BYTES: Final = 4096
_COMMIT_BYTES: Final = 3 * _PAGE_BYTES  # that a commit writes in addition to the bodies
_WORK_BYTES: Final = 2_000_000  # assumed for other work, such as a step of purging
_DISK_ERRORS: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_FULL")
_Result = TypeVar("_Result")
_Row = TypeVar("_Row")
Work = Callable[[sqlite3.Connection], _Result]


class InboxInUseError(ConfigurationError):
    """Another process writes the inbox."""


class Committer:
    """Owns the lock, the writing connection, and an idle connection that keeps `-wal` and `-shm` in place."""

    def __init__(
        self, path: Path, file_format: sqlite_file.Format, failure: Outage, group: str | None = None
    ) -> None:
        """Open the file at `path`, creating it if there is none; with `group`, the accounts of that group share it.

        Raises:
            InboxInUseError: another process writes the file.
            ConfigurationError: the path or the group is not suitable.
            InboxError: the file cannot be written, or is not an inbox.
            TemporaryError: it cannot be written at present: the disk is full or fails, or a program has locked it.

        """
        self.path = path.resolve()  # one file, one lock, also when links lead to it
        self.failure = failure
        self.busy_since: float | None = None  # monotonic time; None while the disk is idle
        # Made once: each new Path adds its names to a table of Python's that is copied, 2 MB, now and then.
        self._files = sqlite_file.files(self.path)
        self._log_bytes = 0  # estimate of the bytes in the write-ahead log that are not in the file yet
        self._format = file_format
        self._inserts = {size: file_format.insert(size) for size in _SIZES}
        with contextlib.ExitStack() as resources, _translate_errors(path):
            sqlite_file.create_private(self.path, group=group)
            resources.enter_context(lock.exclusive(self.path.with_name(self.path.name + ".lock")))
            file_token.put_foreign_log_aside(self.path, file_format.about)
            self._keeper: sqlite3.Connection | None = None
            self.connection: sqlite3.Connection | None = sqlite_file.open_writable(
                self.path, file_format.versions
            )
            resources.callback(self._close_all)
            sqlite_file.truncate_log(self.connection)
            file_token.renew(self.connection, self.path, file_format.about)
            probed_at = sqlite_file.probe(self.connection, file_format.about)
            # Opened last and closed last, so that -wal and -shm stay when this process stops: a reader that may not
            # write the folder needs them, and one that may must not create them under its own account.
            self._keeper = sqlite_file.open_readable(self.path, file_format.versions)
            sqlite_file.verify_probe(self._keeper, file_format, probed_at)
            self._identities = sqlite_file.identities(self._files)
            self._resources = resources.pop_all()

    def insert(self, rows: Sequence[Any]) -> None:
        """Return when `rows` are on disk.

        Raises:
            UNSTORABLE: a value cannot be stored; nothing was stored.
            InboxUnavailableError: any other failure; the connection has been closed.

        """
        connection = self.connection
        if connection is None:
            raise InboxUnavailableError(self.failure.reason)
        failed: Exception | None = None
        with self._busy():
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    for part in _parts(rows):
                        connection.execute(self._inserts[len(part)], tuple(chain.from_iterable(part)))
                except UNSTORABLE:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
                self._log_bytes += _COMMIT_BYTES + sum(len(row.body or b"") for row in rows)
                if sqlite_file.identities(self._files) != self._identities:
                    failed = sqlite_file.InboxReplacedError("another file has taken its place")
            except UNSTORABLE:
                raise
            except Exception as error:  # noqa: BLE001 - after any error the connection is not trusted
                failed = error
        if failed is not None:
            self.fail(failed)
            raise InboxUnavailableError(self.failure.reason)

    def perform(self, work: Work[_Result], *, writes: bool = True) -> _Result:
        """Return what `work` returns for the connection; it begins and ends its own transaction.

        The caller says whether it `writes`: the connection does not count pages that are vacuumed.

        Raises:
            Exception: what `work` raises; after an error of the disk, the connection has been closed.
            InboxUnavailableError: there is no connection at present.

        """
        connection = self.connection
        if connection is None:
            raise InboxUnavailableError(self.failure.reason)
        if writes:
            self._log_bytes += _WORK_BYTES
        with self._busy():
            try:
                return work(connection)
            except Exception as error:
                try:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if getattr(error, "sqlite_errorname", "").startswith(_DISK_ERRORS):
                        self.fail(error)
                except sqlite3.Error as rollback_error:
                    self.fail(rollback_error)
                raise

    def checkpoint_log(self) -> None:
        """Checkpoint the write-ahead log if it has become long; after a failure the connection has been closed.

        No commit depends on it: what is in the log is on disk.
        """
        connection = self.connection
        if connection is None or self._log_bytes < CHECKPOINT_BYTES:
            return
        with self._busy():
            try:
                pages, moved = sqlite_file.checkpoint_log(connection)
            except Exception as error:  # noqa: BLE001 - after any error the connection is not trusted
                self.fail(error)
                return
        self._log_bytes = CHECKPOINT_BYTES if pages > _LONGEST_PAGES else (pages - moved) * _PAGE_BYTES

    def fail(self, error: Exception) -> None:
        """Close the connection and begin the outage: after a failed fsync, the connection cannot be trusted."""
        error.with_traceback(None)  # its frames could hold a cursor, which would keep the connection open
        close = self._close_all if isinstance(error, sqlite_file.InboxReplacedError) else self._disconnect
        close()
        self.failure.begin(f"{type(error).__name__}: {error}")

    def recover(self) -> bool:
        """Try once to open the file again and to commit; return whether that succeeded."""
        try:
            file_token.put_foreign_log_aside(self.path, self._format.about)
            self.connection = sqlite_file.open_writable(self.path, self._format.versions)
            if not sqlite_file.truncate_log(self.connection):
                raise sqlite3.OperationalError("a reader keeps the write-ahead log from being emptied")
            probed_at = sqlite_file.probe(self.connection, self._format.about)
            self._keeper = self._keeper or sqlite_file.open_readable(self.path, self._format.versions)
            sqlite_file.verify_probe(self._keeper, self._format, probed_at)
            self._identities = sqlite_file.identities(self._files)
        except Exception as error:  # noqa: BLE001 - the next attempt may succeed
            self._disconnect()
            self.failure.begin(f"{type(error).__name__}: {error}")
            return False
        self._log_bytes = 0
        self.failure.end()
        return True

    def close(self) -> None:
        """Close the file and release its lock. `-wal` and `-shm` stay in place for readers."""
        self._resources.close()

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        self.busy_since = time.monotonic()
        try:
            yield
        finally:
            self.busy_since = None

    def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _close_all(self) -> None:
        """Close both connections, the keeper last. The file is complete then, also if it has been moved."""
        if self.connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # a reader may prevent it; the log is complete either way
                sqlite_file.truncate_log(self.connection)
        self._disconnect()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


def _parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield `rows` in parts of the sizes of `_SIZES`, the largest first."""
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@contextlib.contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of the block as a GathererError, whose text is one line that says what to do."""
    try:
        yield
    except lock.LockHeldError as held:
        raise InboxInUseError(f"the inbox {path} is already served by {held.holder}") from None
    except IncompatibleFileError as error:
        raise InboxError(f"{path} {error}") from None
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorname", "")
        is_full = getattr(error, "errno", None) == errno.ENOSPC
        if is_full or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")):
            raise TemporaryError(f"the inbox {path} cannot be written at present: {error}") from error
        raise InboxError(f"the inbox {path} cannot be written: {error}") from error
