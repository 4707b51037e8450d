"""A session with the server that survives faults: statements, transactions, trying again."""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gatherer.model.errors import GathererError, TargetError, TemporaryError
from gatherer.targets.sqlserver import driver
from gatherer.targets.sqlserver.connection import Access, connect
from gatherer.targets.sqlserver.errors import Class, Fault, understand

if TYPE_CHECKING:
    import pyodbc

    from gatherer.model.records import Record

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try again."""

    attempts: int = 8
    seconds: float = 90.0  # no new attempt is begun later than this
    first_wait_seconds: float = 0.2  # doubles with each attempt
    longest_wait_seconds: float = 15.0


PATIENCE: Final = Patience()
STREAMED_ROWS: Final = 2000
_BROKEN: Final = ("08", "IMC")  # SQLSTATEs of a connection that is no more


class SQLServerError(Exception):
    """A statement failed. Becomes one of the errors for people unless somebody can do something about it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.records: Sequence[Record] = ()  # what was being written


class Session:
    """One connection at a time; after a fault, the next one."""

    def __init__(self, access: Access, *, patience: Patience = PATIENCE, prepare: Sequence[str] = ()) -> None:
        """Connect when first needed. `prepare` is run in every new connection, statement by statement."""
        self.access = access
        self.name = f"SQL Server {access.server}, database {access.database}"
        self._patience = patience
        self._prepare = prepare
        self._connection: pyodbc.Connection | None = None
        self._cursors: dict[str, pyodbc.Cursor] = {}

    def run(self, statement: str, *parameters: object) -> list[list[Any]]:
        """Run `statement`, and return the rows of each of its results.

        Every result is read to its end: an error that comes after the first one would get lost otherwise.

        Raises:
            SQLServerError: it failed.

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
            raise SQLServerError(understand(error, self.access.secrets)) from None

    def stream(self, query: str, *parameters: object) -> Iterator[list[Any]]:
        """Yield the rows of `query` a few thousand at a time. Nothing else may run until the last one.

        Raises:
            SQLServerError: it failed.

        """
        pyodbc = driver.load()
        try:
            cursor = self._cursor(query)
            cursor.execute(query, *parameters)
            while rows := cursor.fetchmany(STREAMED_ROWS):
                yield rows
        except pyodbc.Error as error:
            raise SQLServerError(understand(error, self.access.secrets)) from None

    def _cursor(self, statement: str) -> "pyodbc.Cursor":
        """Return a cursor of this statement's own: pyodbc keeps the plan of the last statement of each."""
        if self._connection is None:
            self._connection = self._prepared(connect(self.access))
        if statement not in self._cursors:
            self._cursors[statement] = self._connection.cursor()
        return self._cursors[statement]

    def _prepared(self, connection: "pyodbc.Connection") -> "pyodbc.Connection":
        """Return `connection` with everything that its users count on, or close it."""
        try:
            for preparation in self._prepare:
                # Not through `run`: a temporary table made by a statement with parameters ends with it.
                connection.execute(preparation)
        except BaseException:
            connection.close()
            raise
        return connection

    def rollback(self) -> None:
        """Undo the transaction that is open, if one is. A connection that cannot even do that is given up."""
        if self._connection is None:
            return
        try:
            self.run("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
        except SQLServerError:
            self.disconnect()

    def disconnect(self) -> None:
        """Give the connection up. The server rolls back what was not committed."""
        connection, self._connection = self._connection, None
        self._cursors.clear()
        if connection is not None:
            with suppress(driver.load().Error):
                connection.close()

    def persistently(self, action: Callable[[], T]) -> T:
        """Return what `action` returns; after a transient fault roll back, wait, and do it again from the start.

        Raises:
            SQLServerError: something else than time is needed, and it is about rows.
            TargetError: a person is needed.
            TemporaryError: it did not help to wait.

        """
        patience, started = self._patience, time.monotonic()
        for attempt in range(1, patience.attempts + 1):
            try:
                return action()
            except SQLServerError as failure:
                self.rollback()
                fault = failure.fault
                if fault.kind is Class.ROW:
                    raise
                if fault.kind is Class.TERMINAL:
                    raise TargetError(f"{self.name}: {fault}") from None
                if fault.state.startswith(_BROKEN):
                    self.disconnect()
                longest = min(patience.first_wait_seconds * 2**attempt, patience.longest_wait_seconds)
                wait = random.uniform(longest / 2, longest)  # noqa: S311 - so that two do not meet again
                if attempt == patience.attempts or time.monotonic() - started + wait > patience.seconds:
                    raise TemporaryError(
                        f"{self.name}: {fault}; tried {attempt} times, nothing is lost, and the next run goes on"
                    ) from None
                log.warning("%s: %s; trying again in %.1f s", self.name, fault, wait)
                time.sleep(wait)
            except GathererError:
                self.rollback()
                raise
            except BaseException:
                self.disconnect()
                raise
        raise AssertionError("the last attempt returns or raises")
