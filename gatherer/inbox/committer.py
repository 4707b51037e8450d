"""The one connection that writes an inbox file: commits durably, is given up after a failure, and opened afresh."""

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
from gatherer.inbox import sqlite_file
from gatherer.inbox.outage import Outage
from gatherer.inbox.queue import InboxUnavailableError
from gatherer.model.errors import ConfigurationError, TemporaryError

# What SQLite or Python refuse because of the values, not because of the file.
UNSTORABLE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)
# Rows to one statement. SQLite lets go of Python's lock at each, and the event loop does not give it back soon.
_SIZES: Final = (64, 32, 16, 8, 4, 2, 1)
CHECKPOINT_BYTES: Final = (
    10_000_000  # of the write-ahead log are moved into the file at a time: that took 16 ms
)
_LONGEST_PAGES: Final = (
    8_000  # a log that is longer, as a reader kept it from beginning anew, is looked after each time
)
_PAGE_BYTES: Final = 4096
_COMMIT_BYTES: Final = 3 * _PAGE_BYTES  # that a commit writes beside the bodies
_WORK_BYTES: Final = 2_000_000  # that other work is taken to write: a step of purging, say
_OF_THE_DISK: Final = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN", "SQLITE_FULL")
_Result = TypeVar("_Result")
_Row = TypeVar("_Row")
Work = Callable[[sqlite3.Connection], _Result]


class InboxInUseError(ConfigurationError):
    """Another process writes the file."""


class Committer:
    """Owns the lock, the writing connection, and the idle one that keeps `-wal` and `-shm` in place."""

    def __init__(
        self, path: Path, file_format: sqlite_file.Format, failure: Outage, group: str | None = None
    ) -> None:
        """Open the file at `path`, creating it if there is none, for the accounts of `group` if there is one.

        Raises:
            ConfigurationError: the file cannot be written, is no such file, or another process has it.
            TemporaryError: it cannot be written just now: the disk is full or fails, or a program has locked it.

        """
        self.path = path.resolve()  # one file, one lock, whatever names lead to it
        self.failure = failure
        self.busy_since: float | None = (
            None  # by the monotonic clock; None while nothing is asked of the disk
        )
        # Made once: Python keeps the names in every Path that is made, and copies the 2 MB of its table now and then.
        self._files = sqlite_file.files(self.path)
        self._unmoved = 0  # bytes in the write-ahead log that are not in the file yet, about
        self._format = file_format
        self._inserts = {size: file_format.insert(size) for size in _SIZES}
        with contextlib.ExitStack() as resources, _explained(path):
            sqlite_file.create_private(self.path, group=group)
            resources.enter_context(lock.exclusive(self.path.with_name(self.path.name + ".lock")))
            self._keeper: sqlite3.Connection | None = None
            self.connection: sqlite3.Connection | None = sqlite_file.open_writable(
                self.path, file_format.versions
            )
            resources.callback(self._let_go)
            sqlite_file.truncate_log(self.connection)
            sqlite_file.probe(self.connection, file_format.about)
            # Opened last and closed last, so that -wal and -shm stay when we stop: a reader that may not
            # write the folder needs them, and one that may must not create them as its own.
            self._keeper = sqlite_file.open_readable(self.path, file_format.versions)
            self._identities = sqlite_file.identities(self._files)
            self._resources = resources.pop_all()

    def insert(self, rows: Sequence[Any]) -> None:
        """Return when `rows` are on disk.

        Raises:
            UNSTORABLE: because of the values; nothing was stored.
            InboxUnavailableError: because of anything else; the connection has been given up.

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
                self._unmoved += _COMMIT_BYTES + sum(len(row.body or b"") for row in rows)
                if sqlite_file.identities(self._files) != self._identities:
                    failed = sqlite_file.InboxReplacedError("another file has taken its place")
            except UNSTORABLE:
                raise
            except Exception as problem:  # noqa: BLE001 - whatever it was, the connection is in doubt
                failed = problem
        if failed is not None:
            self.fail(failed)
            raise InboxUnavailableError(self.failure.reason)

    def perform(self, work: Work[_Result], *, writes: bool = True) -> _Result:
        """Return what `work` does with the connection; it begins and ends its own transaction.

        Whether it `writes` is not to be had from the connection, which counts no page that is given back.

        Raises:
            Exception: what `work` raises; a fault of the disk is one of the whole inbox.
            InboxUnavailableError: there is no connection at present.

        """
        connection = self.connection
        if connection is None:
            raise InboxUnavailableError(self.failure.reason)
        if writes:
            self._unmoved += _WORK_BYTES
        with self._busy():
            try:
                return work(connection)
            except Exception as problem:
                try:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    if getattr(problem, "sqlite_errorname", "").startswith(_OF_THE_DISK):
                        self.fail(problem)
                except sqlite3.Error as worse:
                    self.fail(worse)
                raise

    def checkpoint_log(self) -> None:
        """Move the write-ahead log into the file if it has become long; a failure is one of the inbox.

        Nobody has to wait for it: what is in the log is on disk.
        """
        connection = self.connection
        if connection is None or self._unmoved < CHECKPOINT_BYTES:
            return
        with self._busy():
            try:
                pages, moved = sqlite_file.checkpoint_log(connection)
            except Exception as problem:  # noqa: BLE001 - whatever it was, the connection is in doubt
                self.fail(problem)
                return
        self._unmoved = CHECKPOINT_BYTES if pages > _LONGEST_PAGES else (pages - moved) * _PAGE_BYTES

    def fail(self, problem: Exception) -> None:
        """Give the connection up: after a failed fsync nothing it believes can be trusted."""
        problem.with_traceback(None)  # its frames could hold a cursor, and that the connection
        close = self._let_go if isinstance(problem, sqlite_file.InboxReplacedError) else self._disconnect
        close()
        self.failure.begin(f"{type(problem).__name__}: {problem}")

    def recover(self) -> bool:
        """Try once to open the file afresh and to prove that it commits; return whether it does."""
        try:
            self.connection = sqlite_file.open_writable(self.path, self._format.versions)
            if not sqlite_file.truncate_log(self.connection):
                raise sqlite3.OperationalError("a reader keeps the write-ahead log from being emptied")
            sqlite_file.probe(self.connection, self._format.about)
            self._keeper = self._keeper or sqlite_file.open_readable(self.path, self._format.versions)
            self._identities = sqlite_file.identities(self._files)
        except Exception as problem:  # noqa: BLE001 - whatever it was, the next attempt may succeed
            self._disconnect()
            self.failure.begin(f"{type(problem).__name__}: {problem}")
            return False
        self._unmoved = 0
        self.failure.end()
        return True

    def close(self) -> None:
        """Let go of the file and of its lock, leaving `-wal` and `-shm` in place for readers."""
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

    def _let_go(self) -> None:
        """Close everything, the keeper last; the file is whole then, wherever it is by now."""
        if self.connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # a reader may be at work; the log is complete either way
                sqlite_file.truncate_log(self.connection)
        self._disconnect()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


def _parts(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Yield `rows` in parts of as few, and as large, of the sizes as there are."""
    begin = 0
    for size in _SIZES:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what can go wrong at the start into one line that says what to do."""
    try:
        yield
    except lock.LockHeldError as held:
        raise InboxInUseError(f"the inbox {path} is already served by {held.holder}") from None
    except IncompatibleFileError as unsuitable:
        raise ConfigurationError(f"{path} {unsuitable}, or choose another [inbox] path") from None
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorname", "")
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")):
            raise TemporaryError(f"the inbox {path} cannot be written just now: {error}") from error
        raise ConfigurationError(f"the inbox {path} cannot be written: {error}") from error
