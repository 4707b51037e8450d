"""Reading a local inbox: read-only, in short transactions, beside a `serve` that keeps writing."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatherer import timestamps
from gatherer.errors import InboxError, TemporaryError
from gatherer.inbox import consumers, file
from gatherer.inbox.base import Bounds, InboxStatus, Row, Selection, as_notification
from gatherer.migrations import Unsuitable
from gatherer.notification import Notification

log = logging.getLogger(__name__)

_COLUMNS = "id, received_at, endpoint, provider, body, content_type, headers, remote"


class LocalInbox:
    """The inbox in a file on this machine."""

    def __init__(self, path: Path) -> None:
        """Open the inbox at `path` for reading.

        Raises:
            InboxError: there is none, or it is not an inbox.
            TemporaryError: it is locked just now.

        """
        self.path = path
        self._unheard = False
        if not path.exists():
            raise InboxError(f"there is no inbox at {path}; `gatherer serve` creates it")
        with _explained(path):
            self._connection = file.open_readable(path.resolve())
            row = self._connection.execute("SELECT identity FROM inbox").fetchone()
        if row is None:
            raise InboxError(f"{path} is an inbox that has lost its identity: it is damaged")
        self.identity: str = row[0]

    def last_id(self) -> int:
        """Return the highest id ever given out, 0 if there was none yet."""
        with _explained(self.path):
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'notification'"
            ).fetchone()
        return row[0] if row else 0

    def first_id(self) -> int | None:
        """Return the id of the oldest notification that is still there."""
        with _explained(self.path):
            return self._connection.execute("SELECT min(id) FROM notification").fetchone()[0]  # type: ignore[no-any-return]

    def get(self, id: int) -> Notification | None:  # noqa: A002
        """Return the notification `id`, or None if it is not (any more) there."""
        found = self._fetch(f"SELECT {_COLUMNS} FROM notification WHERE id = ?", (id,), Bounds(rows=1))
        return found[0] if found else None

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        """Return the next notifications after id `after`, oldest first; an empty list at the end."""
        query = f"SELECT {_COLUMNS} FROM notification WHERE id > ? ORDER BY id LIMIT ?"
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
        query = f"SELECT {_COLUMNS} FROM notification WHERE {where} ORDER BY id LIMIT :rows"
        return self._fetch_rows(query, values, bounds)

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        """Note beside the file that `consumer` has everything up to `notification_id`; if possible: it is advisory."""
        try:
            consumers.acknowledge(self.path.resolve(), consumer, self.identity, notification_id)
        except OSError as error:
            level = logging.DEBUG if self._unheard else logging.WARNING
            self._unheard = True
            log.log(
                level, "%s cannot be written, which delays purging: %s", consumers.folder(self.path), error
            )

    def status(self) -> InboxStatus:
        """Return what the inbox holds."""
        with _explained(self.path):
            count, first = self._connection.execute("SELECT count(*), min(id) FROM notification").fetchone()
        path = self.path.resolve()
        files = (path.with_name(path.name + suffix) for suffix in ("", "-wal"))
        size = sum(one.stat().st_size for one in files if one.exists())
        return InboxStatus(
            identity=self.identity, first_id=first, last_id=self.last_id(), count=count, bytes=size
        )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _fetch(
        self, query: str, values: dict[str, Any] | tuple[Any, ...], bounds: Bounds
    ) -> list[Notification]:
        return [as_notification(row, self.identity) for row in self._fetch_rows(query, values, bounds)]

    def _fetch_rows(self, query: str, values: dict[str, Any] | tuple[Any, ...], bounds: Bounds) -> list[Row]:
        """Fetch a whole batch and end the transaction: an open cursor would keep the WAL from shrinking."""
        batch: list[Row] = []
        size = 0
        with _explained(self.path), contextlib.closing(self._connection.execute(query, values)) as cursor:
            for row in cursor:
                size += len(row[4])
                if batch and size > bounds.bytes:
                    break
                batch.append(row)
        return batch


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except Unsuitable as unsuitable:
        raise InboxError(f"{path} {unsuitable}") from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
            raise TemporaryError(f"the inbox {path} is locked: {error}") from error
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
            raise InboxError(
                f"the inbox {path} cannot be opened: {error}. The account needs to read it, "
                f"{path.name}-wal and {path.name}-shm"
            ) from error
        if code.startswith("SQLITE_IOERR"):
            raise InboxError(f"the inbox {path} cannot be read: {error}") from error
        raise InboxError(f"{path} is not an inbox, or damaged: {error}") from error
