"""A session with the server: statements, and what is repeated after transient errors and broken connections."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gatherer.model.errors import GathererError, TargetError, TemporaryError
from gatherer.model.retry import RetryPolicy
from gatherer.targets.sqlserver import driver
from gatherer.targets.sqlserver.connection import Access, connect
from gatherer.targets.sqlserver.errors import Category, SQLServerError, from_pyodbc

if TYPE_CHECKING:
    import pyodbc

log = logging.getLogger(__name__)
T = TypeVar("T")


RETRY_POLICY: Final = RetryPolicy(
    attempts=8, first_wait_seconds=0.2, longest_wait_seconds=15.0, deadline_seconds=90.0
)
STREAMED_ROWS: Final = 2000
_BROKEN: Final = ("08", "IMC")  # prefixes of the SQLSTATEs of a broken connection


class Session:
    """One connection at a time; after an error that broke it, a new one."""

    def __init__(
        self, access: Access, *, retry_policy: RetryPolicy = RETRY_POLICY, setup: Sequence[str] = ()
    ) -> None:
        """Connect with the first statement. The statements of `setup` are executed in every new connection."""
        self.access = access
        self.name = f"SQL Server {access.server}, database {access.database}"
        self._policy = retry_policy
        self._setup = setup
        self._connection: pyodbc.Connection | None = None
        self._cursors: dict[str, pyodbc.Cursor] = {}

    def run(self, statement: str, *parameters: object) -> list[list[Any]]:
        """Execute `statement`, and return the rows of each of its results.

        Every result is read to its end: otherwise an error after the first result would be lost.

        Raises:
            SQLServerError: the statement failed.

        """
        pyodbc = driver.load()
        try:
            cursor = self._cursor(statement)
            cursor.execute(statement, *parameters)
            results = []
            while True:
                if cursor.description is not None:
                    results.append(cursor.fetchall())
                if not cursor.nextset():
                    return results
        except pyodbc.Error as error:
            raise from_pyodbc(error, self.access.secrets) from None

    def stream(self, query: str, *parameters: object) -> Iterator[list[Any]]:
        """Yield the rows of `query` in lists of at most 2 000. The caller runs no other statement meanwhile.

        Raises:
            SQLServerError: the query failed.

        """
        pyodbc = driver.load()
        try:
            cursor = self._cursor(query)
            cursor.execute(query, *parameters)
            while rows := cursor.fetchmany(STREAMED_ROWS):
                yield rows
        except pyodbc.Error as error:
            raise from_pyodbc(error, self.access.secrets) from None

    def _cursor(self, statement: str) -> "pyodbc.Cursor":
        """Return the cursor of this statement: each has its own, because pyodbc keeps a cursor's last plan."""
        if self._connection is None:
            self._connection = self._set_up(connect(self.access))
        if statement not in self._cursors:
            self._cursors[statement] = self._connection.cursor()
        return self._cursors[statement]

    def _set_up(self, connection: "pyodbc.Connection") -> "pyodbc.Connection":
        """Return `connection` after the statements of the set-up; close it if one of them fails."""
        try:
            for statement in self._setup:
                # Not through `run`: a temporary table that a procedure creates is dropped at its end.
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def rollback(self) -> None:
        """Roll back the open transaction, if there is one. Close the connection if that fails."""
        if self._connection is None:
            return
        try:
            self.run("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
        except SQLServerError:
            self.disconnect()

    def disconnect(self) -> None:
        """Close the connection. The server rolls back what was not committed."""
        connection, self._connection = self._connection, None
        self._cursors.clear()
        if connection is not None:
            with suppress(driver.load().Error):
                connection.close()

    def retry(self) -> "Retry":
        """Return what repeats a block: `while True: with session.retry(): …`; see :class:`Retry`."""
        return Retry(self, self._policy)

    def with_retry(self, action: Callable[[], T]) -> T:
        """Return what `action` returns, with the retries and the errors of :class:`Retry`."""
        retry = self.retry()
        while True:
            with retry:
                return action()


class Retry:
    """Repeats a block after transient errors, from its start, in a connection without an open transaction.

    Usage::

        retry = session.retry()
        while True:
            with retry:
                ...
                return result

    After success the block leaves the loop, by `return` or `break`.

    Raises:
        SQLServerError: the server refuses a row.
        TargetError: a retry does not help.
        TemporaryError: the policy allows no further attempt.

    """

    def __init__(self, session: Session, policy: RetryPolicy) -> None:
        """Count the attempts, and the time, from now on."""
        self._session = session
        self._policy = policy
        self._attempt = 1
        self._started = time.monotonic()

    def __enter__(self) -> None:
        """Begin an attempt."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """Roll back after an error; return whether the block is to be repeated, after a wait."""
        session = self._session
        if error is None:
            return False
        if not isinstance(error, SQLServerError):
            if isinstance(error, GathererError):
                session.rollback()
            else:  # such as KeyboardInterrupt: the connection may be in the middle of a statement
                session.disconnect()
            return False
        session.rollback()
        if error.category is Category.ROW:
            return False
        if error.category is Category.TERMINAL:
            raise TargetError(f"{session.name}: {error}") from None
        if error.state.startswith(_BROKEN):
            session.disconnect()
        wait = self._policy.wait_seconds(self._attempt, elapsed=time.monotonic() - self._started)
        if wait is None:
            raise TemporaryError(
                f"{session.name}: {error}; tried {self._attempt} times, nothing is lost, and the next run continues"
            ) from None
        log.warning("%s: %s; trying again in %.1f s", session.name, error, wait)
        time.sleep(wait)
        self._attempt += 1
        return True
