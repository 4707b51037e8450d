"""Writing the inbox: one thread commits everything that waits in one transaction, then lets go.

The thread owns the only writing connection. A handler hands its notification over with
:meth:`InboxWriter.append` and answers the provider once the returned future is done: by then the bytes
have been fsynced (`journal_mode=WAL`, `synchronous=FULL`, read back at every opening).
"""

import asyncio
import contextlib
import errno
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from gatherer import locks
from gatherer.errors import ConfigurationError, TemporaryError
from gatherer.inbox import file
from gatherer.migrations import Unsuitable

log = logging.getLogger(__name__)

MAX_GROUP: Final = 1000  # notifications in one transaction: bounds the time until the first answer
RETRY_SECONDS: Final = 0.5  # between attempts to bring a failed inbox back
INSERT: Final = (
    "INSERT INTO notification (received_at, endpoint, provider, remote, content_type, headers, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# What SQLite or Python refuse because of the values, not because of the file.
_UNSTORABLE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)


class Arrival(NamedTuple):
    """One request, ready to be stored; the fields are the columns of `notification`."""

    received_at: int  # milliseconds since 1970
    endpoint: str
    provider: str
    remote: str | None
    content_type: str | None
    headers: str | None
    body: bytes


class InboxUnavailable(Exception):
    """The inbox could not commit. Nothing was promised; the sender has to try again."""


_Waiting = list[tuple[Arrival, "asyncio.Future[None]"]]
T = TypeVar("T")


class InboxWriter:
    """The only writer of an inbox file. Create it, `await` what `append` returns, `close` it."""

    def __init__(self, path: Path, *, group: str | None = None) -> None:
        """Open the inbox at `path`, creating it if there is none, and start the writer thread.

        With `group`, the accounts of that group share it.

        Raises:
            ConfigurationError: the file cannot be written, is no inbox, or another process serves it.
            TemporaryError: it cannot be written just now: the disk is full or fails, or a program has locked it.

        """
        self.path = path.resolve()  # one file, one lock, whatever names lead to it
        self._arrived: _Waiting = []  # in this turn of the event loop
        self._waiting: _Waiting = []  # for the writer thread
        self._work: deque[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._failed: str | None = None
        with contextlib.ExitStack() as resources:
            with _explained(path):
                file.create_private(self.path, group=group)
                resources.enter_context(locks.exclusive(self.path.with_name(self.path.name + ".lock")))
                self._keeper: sqlite3.Connection | None = None
                self._connection: sqlite3.Connection | None = file.open_writable(self.path)
                resources.callback(self._let_go)
                file.empty_log(self._connection)
                file.probe(self._connection)
                # Opened last and closed last, so that -wal and -shm stay when we stop: a reader that may not
                # write the folder needs them, and one that may must not create them as its own.
                self._keeper = file.open_readable(self.path)
                self._files = file.identities(self.path)
            self._resources = resources.pop_all()
        self._thread = threading.Thread(target=self._run, name="inbox-writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the inbox cannot commit at present; None when it can."""
        return self._failed

    def append(self, arrival: Arrival) -> "asyncio.Future[None]":
        """Hand `arrival` over; the future is done when it is on disk.

        The future raises :class:`InboxUnavailable` if it could not be committed.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if self._failed is not None or self._closing:
            future.set_exception(InboxUnavailable(self._failed or "the inbox is being closed"))
            return future
        self._arrived.append((arrival, future))
        if len(self._arrived) == 1:  # wake the thread once for all that this turn of the loop brings
            loop.call_soon(self._hand_over)
        return future

    def perform(self, work: Callable[[sqlite3.Connection], T]) -> "Future[T]":
        """Do `work` on the writer's thread and connection, between two groups of arrivals.

        It has to be short, as arrivals wait for it, and begins and ends its own transaction. The future
        has what it returns or raises; :class:`InboxUnavailable` if it could not be tried.
        """
        future: Future[T] = Future()
        with self._wake:
            if self._closing:
                future.set_exception(InboxUnavailable("the inbox is being closed"))
            else:
                self._work.append((work, future))
                self._wake.notify()
        return future

    def close(self) -> None:
        """Commit what waits, then let go of the file, leaving `-wal` and `-shm` in place for readers."""
        self._hand_over()
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._resources.close()

    def _hand_over(self) -> None:
        with self._wake:
            self._waiting += self._arrived
            self._wake.notify()
        self._arrived = []

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._waiting or self._work or self._closing or self._failed is not None):
                    self._wake.wait()
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                work = self._work.popleft() if self._work else None
                if not group and work is None and self._closing:
                    return
            if group:
                self._commit(group)
            if work is not None:
                self._perform(*work)
            if self._failed is not None:
                self._recover()

    def _commit(self, group: _Waiting) -> None:
        """Commit `group` in one transaction and settle its futures."""
        if self._connection is None:
            _settle_soon(group, InboxUnavailable(self._failed))
            return
        try:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(INSERT, [arrival for arrival, _ in group])
                self._connection.execute("COMMIT")
                if file.identities(self.path) != self._files:
                    raise file.Replaced("another file has taken its place")
            except _UNSTORABLE as problem:
                self._connection.execute("ROLLBACK")
                self._divide(group, problem)
            else:
                _settle_soon(group, None)
        except Exception as problem:  # noqa: BLE001 - whatever it was, nobody may hang and the thread has to live
            self._fail(problem)
            _settle_soon(group, InboxUnavailable(self._failed))

    def _perform(self, work: Callable[[sqlite3.Connection], Any], future: "Future[Any]") -> None:
        """Do `work` and settle its future; a fault of the disk is one of the whole inbox."""
        if not future.set_running_or_notify_cancel():
            return
        if self._connection is None:
            future.set_exception(InboxUnavailable(self._failed))
            return
        try:
            future.set_result(work(self._connection))
        except Exception as problem:  # noqa: BLE001 - as in _commit
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                code = getattr(problem, "sqlite_errorname", "")
                if code.startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN")):
                    self._fail(problem)
            except sqlite3.Error as worse:
                self._fail(worse)
            future.set_exception(problem)

    def _divide(self, group: _Waiting, problem: Exception) -> None:
        """Find the notification that cannot be stored, so that it does not cost the others of its group."""
        if len(group) > 1:
            middle = len(group) // 2
            self._commit(group[:middle])
            self._commit(group[middle:])
        else:
            what = type(problem).__name__
            log.error("a notification at %s cannot be stored (%s): answering 503", group[0][0].endpoint, what)
            _settle_soon(group, InboxUnavailable(what))

    def _fail(self, problem: Exception) -> None:
        """Give the connection up: after a failed fsync nothing it believes can be trusted."""
        self._failed = f"{type(problem).__name__}: {problem}"
        close = self._let_go if isinstance(problem, file.Replaced) else self._disconnect
        close()
        log.error("the inbox cannot commit (%s): answering 503 until it can", self._failed)

    def _recover(self) -> None:
        """Try once to open the file afresh and to prove that it commits; wait a moment if it does not."""
        try:
            self._connection = file.open_writable(self.path)
            if not file.empty_log(self._connection):
                raise sqlite3.OperationalError("a reader keeps the write-ahead log from being emptied")
            file.probe(self._connection)
            self._keeper = self._keeper or file.open_readable(self.path)
            self._files = file.identities(self.path)
        except Exception as problem:  # noqa: BLE001 - as in _commit
            self._disconnect()
            self._failed = f"{type(problem).__name__}: {problem}"
            with self._wake:
                if not self._closing:
                    self._wake.wait(RETRY_SECONDS)
        else:
            self._failed = None
            log.warning("the inbox commits again: accepting notifications")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _let_go(self) -> None:
        """Close everything, the keeper last; the file is whole then, wherever it is by now."""
        if self._connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # a reader may be at work; the log is complete either way
                file.empty_log(self._connection)
        self._disconnect()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what can go wrong at the start into one line that says what to do."""
    try:
        yield
    except locks.Held as held:
        raise ConfigurationError(f"the inbox {path} is already served by {held.holder}") from None
    except Unsuitable as unsuitable:
        raise ConfigurationError(f"{path} {unsuitable}, or choose another [inbox] path") from None
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorname", "")
        full = getattr(error, "errno", None) == errno.ENOSPC
        if full or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")):
            raise TemporaryError(f"the inbox {path} cannot be written just now: {error}") from error
        raise ConfigurationError(f"the inbox {path} cannot be written: {error}") from error


def _settle_soon(group: _Waiting, error: InboxUnavailable | None) -> None:
    """Settle the futures of `group` in their event loop."""
    with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everyone who waited
        group[0][1].get_loop().call_soon_threadsafe(_settle, [future for _, future in group], error)


def _settle(futures: list["asyncio.Future[None]"], error: InboxUnavailable | None) -> None:
    for future in futures:
        if not future.done():  # the client may have gone
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
