"""Reading a local inbox: read-only, in short transactions, beside a `serve` that keeps writing."""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from gatherer.files.migrations import IncompatibleFileError
from gatherer.inbox import consumers, filesystem, sqlite_file
from gatherer.inbox.base import COLUMNS, Bounds, InboxStatus, Row, Selection, as_notification
from gatherer.model import timestamps
from gatherer.model.errors import InboxError, TemporaryError
from gatherer.model.notification import Notification

log = logging.getLogger(__name__)

T = TypeVar("T")


class LocalInbox:
    """The inbox in a file on this machine."""

    has_contiguous_ids = True

    def __init__(self, path: Path) -> None:
        """Open the inbox at `path` for reading.

        Raises:
            ConfigurationError: the file is on a network file system.
            InboxError: there is no file, it is not an inbox, or this account may not read it.
            TemporaryError: the file is locked at present.

        """
        self.path = path
        self._file = path.resolve()
        self._acknowledgement_failed = False
        filesystem.check(path)
        if not path.exists():
            raise InboxError(f"there is no inbox at {path}; `gatherer serve` creates it")
        with _translate_errors(path):
            self._open()
        row = self.query(lambda connection: connection.execute("SELECT identity FROM inbox").fetchone())
        if row is None:
            raise InboxError(f"the inbox {path} is damaged: it has no identity")
        self.identity: str = row[0]

    def last_id(self) -> int:
        """Return the highest id ever assigned, 0 if there was none yet."""
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'notification'"
        row = self.query(lambda connection: connection.execute(query).fetchone())
        return row[0] if row else 0

    def first_id(self) -> int | None:
        """Return the id of the oldest notification that has not been purged; None when there is none."""
        query = "SELECT min(id) FROM notification"
        first: int | None = self.query(lambda connection: connection.execute(query).fetchone()[0])
        return first

    def purged_to(self) -> int:
        """Return the highest id that was purged, 0 if there is none."""
        query = "SELECT purged_to FROM inbox"
        purged_to: int = self.query(lambda connection: connection.execute(query).fetchone()[0])
        return purged_to

    def get(self, id: int) -> Notification | None:  # noqa: A002
        """Return the notification `id`, or None if the inbox does not hold it."""
        query = f"SELECT {COLUMNS} FROM notification WHERE id = ?"
        notifications = self._fetch(query, (id,), Bounds(rows=1))
        return notifications[0] if notifications else None

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        """Return the next notifications after id `after`, oldest first; an empty list at the end."""
        query = f"SELECT {COLUMNS} FROM notification WHERE id > ? ORDER BY id LIMIT ?"
        return self._fetch(query, (after, bounds.rows), bounds)

    def select(self, selection: Selection, bounds: Bounds) -> Iterator[list[Notification]]:
        """Yield the selected notifications in batches, oldest first."""
        after = 0
        while batch := self.rows(selection, after, bounds):
            yield [as_notification(row, self.identity) for row in batch]
            after = batch[-1][0]

    def rows(self, selection: Selection, after: int, bounds: Bounds) -> list[Row]:
        """Return the next selected notifications after id `after`, as they are stored."""
        conditions = ["id > :after"]
        values: dict[str, Any] = {"rows": bounds.rows, "after": after}
        for column, operator, name, value in (
            ("id", ">=", "from_id", selection.from_id),
            ("id", "<=", "to_id", selection.to_id),
            ("received_at", ">=", "since", selection.since and timestamps.to_milliseconds(selection.since)),
            ("received_at", "<", "until", selection.until and timestamps.to_milliseconds(selection.until)),
            ("endpoint", "=", "endpoint", selection.endpoint),
        ):
            if value is not None:
                conditions.append(f"{column} {operator} :{name}")
                values[name] = value
        if selection.ids is not None:
            conditions.append("id IN (SELECT value FROM json_each(:ids))")
            values["ids"] = f"[{','.join(map(str, sorted(selection.ids)))}]"
        where = " AND ".join(conditions)
        query = f"SELECT {COLUMNS} FROM notification WHERE {where} ORDER BY id LIMIT :rows"
        return self._fetch_rows(query, values, bounds)

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        """Record that `consumer` has everything up to `notification_id`. Advisory: a failure is only logged."""
        try:
            consumers.acknowledge(self.path.resolve(), consumer, self.identity, notification_id)
        except OSError as error:
            level = logging.DEBUG if self._acknowledgement_failed else logging.WARNING
            self._acknowledgement_failed = True
            log.log(
                level, "%s cannot be written, which delays purging: %s", consumers.folder(self.path), error
            )

    def status(self) -> InboxStatus:
        """Return what the inbox holds."""
        query = (
            "SELECT count(*), min(id), (SELECT purged_to FROM inbox), "
            "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'notification'), 0) FROM notification"
        )
        count, first, purged_to, last = self.query(lambda connection: connection.execute(query).fetchone())
        files = (self._file.with_name(self._file.name + suffix) for suffix in ("", "-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return InboxStatus(
            identity=self.identity,
            first_id=first,
            last_id=last,
            count=count,
            bytes=size,
            missing=last - purged_to - count,
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with the connection and return its result. It is called again if a writer opened the file meanwhile.

        Raises:
            InboxError: the file cannot be read.
            TemporaryError: the file is locked at present, or another inbox has replaced it.

        """
        with _translate_errors(self.path):
            while True:
                try:
                    result = work(self._connection)
                except sqlite3.Error:
                    if not self._was_opened_by_writer():
                        raise
                else:
                    if not self._was_opened_by_writer():
                        return result
                self._connection.close()
                self._open()
                row = self._connection.execute("SELECT identity FROM inbox").fetchone()
                if row is None or row[0] != getattr(self, "identity", row[0]):
                    raise TemporaryError(f"another inbox replaced {self.path} while it was read")

    def _open(self) -> None:
        self._state_at_rest = sqlite_file.at_rest(self._file)
        self._connection = sqlite_file.open_readable(self._file, resting=self._state_at_rest is not None)

    def _was_opened_by_writer(self) -> bool:
        """Return whether the file was at rest when this object opened it, and is not in the same state any more."""
        return self._state_at_rest is not None and sqlite_file.at_rest(self._file) != self._state_at_rest

    def _fetch(
        self, query: str, values: dict[str, Any] | tuple[Any, ...], bounds: Bounds
    ) -> list[Notification]:
        return [as_notification(row, self.identity) for row in self._fetch_rows(query, values, bounds)]

    def _fetch_rows(self, query: str, values: dict[str, Any] | tuple[Any, ...], bounds: Bounds) -> list[Row]:
        return self.query(lambda connection: _batch(connection, query, values, bounds))


@contextlib.contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite and the operating system in the block as `InboxError` or `TemporaryError`."""
    try:
        yield
    except IncompatibleFileError as error:
        raise InboxError(f"{path} {error}") from None
    except OSError as error:
        raise InboxError(f"the inbox {path} cannot be opened: {error.strerror or error}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
            raise TemporaryError(f"the inbox {path} is locked: {error}") from error
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
            raise InboxError(
                f"the inbox {path} cannot be opened: {error}. The account needs to read it, "
                f"{path.name}-wal and {path.name}-shm; [inbox] group shares them"
            ) from error
        if code.startswith("SQLITE_IOERR"):
            raise InboxError(f"the inbox {path} cannot be read: {error}") from error
        raise InboxError(f"{path} is not an inbox, or damaged: {error}") from error


def _batch(
    connection: sqlite3.Connection, query: str, values: dict[str, Any] | tuple[Any, ...], bounds: Bounds
) -> list[Row]:
    """Fetch a whole batch and end the transaction: an open cursor would keep the write-ahead log from shrinking."""
    batch: list[Row] = []
    size = 0
    with contextlib.closing(connection.execute(query, values)) as cursor:
        for row in cursor:
            size += len(row[4])
            if batch and size > bounds.bytes:
                break
            batch.append(row)
    return batch
