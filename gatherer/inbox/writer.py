"""Writing the inbox: one thread commits everything that waits in one transaction, then lets go.

The thread owns the only writing connection. A handler hands its notification over with
:meth:`InboxWriter.append` and answers the provider once the returned future is done: by then the bytes
have been fsynced (`journal_mode=WAL`, `synchronous=FULL`, read back at every opening).
"""

import asyncio
import contextlib
import logging
import secrets
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from gatherer import locks, timestamps
from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)

MAX_GROUP: Final = 1000  # notifications in one transaction: bounds the time until the first answer
RETRY_SECONDS: Final = 0.5  # between attempts to bring a failed inbox back
_WAL_AUTOCHECKPOINT_PAGES: Final = 4000
_INSERT: Final = (
    "INSERT INTO notification (received_at, endpoint, provider, remote, content_type, headers, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
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


class InboxWriter:
    """The only writer of an inbox file. Create it, `await` what `append` returns, `close` it."""

    def __init__(self, path: Path) -> None:
        """Open the inbox at `path`, creating it if there is none, and start the writer thread.

        Raises:
            ConfigurationError: the file cannot be written, is no inbox, or another process writes it.

        """
        self.path = path
        self._resources = contextlib.ExitStack()
        self._waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._wake = threading.Condition()
        self._closing = False
        self._failed: str | None = None
        try:
            self._resources.enter_context(locks.exclusive(path.with_name(path.name + ".lock")))
        except locks.Held as held:
            raise ConfigurationError(f"the inbox {path} is already served by {held.holder}") from None
        except OSError as error:
            raise ConfigurationError(f"the inbox {path} cannot be locked: {error}") from None
        try:
            self._connection: sqlite3.Connection | None = _open(path)
            # Opened last and closed last, so that -wal and -shm stay when we stop: a reader that may not
            # write the folder needs them, and one that may must not create them under its own account.
            self._keeper = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
            self._keeper.execute("SELECT identity FROM inbox").fetchone()
        except (sqlite3.Error, OSError) as error:
            self._resources.close()
            raise ConfigurationError(f"the inbox {path} cannot be written: {error}") from error
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
        future = asyncio.get_running_loop().create_future()
        if self._failed is not None:
            future.set_exception(InboxUnavailable(self._failed))
            return future
        with self._wake:
            if self._closing:
                future.set_exception(InboxUnavailable("the inbox is being closed"))
                return future
            self._waiting.append((arrival, future))
            self._wake.notify()
        return future

    def close(self) -> None:
        """Commit what waits, then let go of the file, leaving `-wal` and `-shm` in place for readers."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        if self._connection is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # a reader may be at work; the log is complete either way
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.close()
        self._keeper.close()
        self._resources.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing and self._failed is None:
                    self._wake.wait()
                group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
                if not group and self._closing:
                    return
            if group:
                self._commit(group)
            if self._failed is not None:
                self._recover()

    def _commit(self, group: list[tuple[Arrival, "asyncio.Future[None]"]]) -> None:
        """Commit `group` in one transaction and settle its futures."""
        error: InboxUnavailable | None = None
        if self._connection is None:
            error = InboxUnavailable(self._failed)
        else:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_INSERT, [arrival for arrival, _ in group])
                self._connection.execute("COMMIT")
            except sqlite3.Error as problem:
                # After a failed fsync nothing this connection believes can be trusted: see _recover.
                self._failed = str(problem)
                error = InboxUnavailable(self._failed)
                log.error("the inbox cannot commit (%s): answering 503 until it can", problem)
        loop = group[0][1].get_loop()
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everyone who waited
            loop.call_soon_threadsafe(_settle, [future for _, future in group], error)

    def _recover(self) -> None:
        """Try once to open the file afresh and to prove that it commits; wait a moment if it does not."""
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            connection = _open(self.path)
        except (sqlite3.Error, OSError) as problem:
            self._still_failing(problem)
            return
        try:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("a reader keeps the write-ahead log from being emptied")
            connection.execute("UPDATE inbox SET probed_at = ?", (time.time_ns() // 1_000_000,))
        except sqlite3.Error as problem:
            connection.close()
            self._still_failing(problem)
            return
        self._connection = connection
        self._failed = None
        log.warning("the inbox commits again: accepting notifications")

    def _still_failing(self, problem: Exception) -> None:
        self._failed = str(problem)
        with self._wake:
            if not self._closing:
                self._wake.wait(RETRY_SECONDS)


def _settle(futures: list["asyncio.Future[None]"], error: InboxUnavailable | None) -> None:
    for future in futures:
        if not future.done():  # the client may have gone
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


def _open(path: Path) -> sqlite3.Connection:
    """Open the inbox for writing, creating it if needed, and check that commits will be durable."""
    _create_private(path)
    connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous = FULL")
        if (mode, connection.execute("PRAGMA synchronous").fetchone()[0]) != ("wal", 2):
            raise sqlite3.OperationalError("the file system does not support a durable write-ahead log")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_AUTOCHECKPOINT_PAGES}")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'inbox'").fetchone():
            _create_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """Create an empty file that only this account can read, unless there is a file already."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600, exist_ok=True)


def _create_schema(connection: sqlite3.Connection) -> None:
    from importlib.resources import files

    if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise sqlite3.OperationalError("this database is not an inbox")
    schema = (files(__package__) / "schema.sql").read_text(encoding="utf-8")
    connection.executescript(f"BEGIN IMMEDIATE; {schema}")
    connection.execute(
        "INSERT INTO inbox (identity, created_at) VALUES (?, ?)",
        (secrets.token_hex(16), timestamps.to_milliseconds(timestamps.now())),
    )
    connection.execute("COMMIT")
