"""The quarantine: requests whose authentication failed, in a file beside the inbox. Bounded, durable, never gathered."""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from gatherer.files.migrations import IncompatibleFileError, Versions
from gatherer.inbox import disk_space, sqlite_file
from gatherer.inbox.outage import Outage
from gatherer.inbox.queue import InboxUnavailableError, NotificationRow, QueueLimits
from gatherer.inbox.writer import InboxWriter
from gatherer.model import timestamps
from gatherer.model.errors import InboxError, TemporaryError

VERSIONS: Final = Versions(kind="quarantine", package=__package__, scripts=("0001_quarantine",))
FORMAT: Final = sqlite_file.Format(
    versions=VERSIONS,
    about="quarantine",
    table="request",
    columns=(*sqlite_file.INBOX.columns, "failed", "authentication"),
)
_NOTIFICATION_COLUMNS: Final = ", ".join(sqlite_file.INBOX.columns)
BATCH: Final = 100  # requests that are read, or removed, in one transaction


class QuarantineRow(NamedTuple):
    """One request that did not authenticate. The fields are the columns of the table `request`."""

    received_at: int  # milliseconds since 1970
    endpoint: str
    provider: str
    remote: str | None
    content_type: str | None
    headers: str | None
    body: bytes
    failed: str
    authentication: str  # JSON list


class QuarantineEntry(NamedTuple):
    """One request in quarantine, as an operator sees it: without its body."""

    id: int
    received_at: datetime
    endpoint: str
    provider: str
    remote: str | None
    content_type: str | None
    size: int  # bytes of the body
    failed: str
    authentication: list[str]


class QuarantineFullError(Exception):
    """The quarantine has reached its maximum size. The caller refuses the request with a 401."""


def path_of(inbox: Path) -> Path:
    """Return the path of the quarantine that belongs to the inbox file `inbox`."""
    return inbox.with_name(f"{inbox.stem}.quarantine.db")


class Quarantine:
    """The only writer of a quarantine file."""

    def __init__(
        self, path: Path, *, max_rows: int, max_bytes: int, limits: QueueLimits, space: disk_space.DiskSpace
    ) -> None:
        """Open the quarantine at `path`, and create the file if it does not exist.

        Args:
            path: of the file.
            max_rows: how many requests it may hold.
            max_bytes: how many bytes their bodies may have together.
            limits: of the queue of rows that wait for the disk.
            space: the limits of disk space.

        Raises:
            GathererError: as `InboxWriter` does.

        """
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._full = Outage(
            "the quarantine is full: %s. Requests that do not authenticate are refused",
            "the quarantine accepts requests again",
        )
        self._writer = InboxWriter(path, limits=limits, space=space, format=FORMAT)
        self.path = self._writer.path
        self._rows, self._bytes = self._writer.perform(_size).result()

    def refusal_reason(self) -> str | None:
        """Return why the quarantine cannot store a request at present; None if it can."""
        return self._writer.refusal_reason()

    @property
    def size(self) -> tuple[int, int]:
        """The number of requests in quarantine, and the bytes of their bodies."""
        return self._rows, self._bytes

    async def add(self, row: QuarantineRow) -> None:
        """Return when `row` is on disk.

        Raises:
            QuarantineFullError: the quarantine is full until the operator releases or discards requests.
            InboxUnavailableError: the row could not be committed; the client has to repeat the request.

        """
        size = len(row.body)
        if self._rows >= self._max_rows or self._bytes + size > self._max_bytes:
            raise QuarantineFullError(
                self._full.begin(f"it holds {self._rows} requests, {disk_space.megabytes(self._bytes)}")
            )
        self._rows, self._bytes = self._rows + 1, self._bytes + size
        try:
            await self._writer.append(row)
        except InboxUnavailableError:
            self._rows, self._bytes = self._rows - 1, self._bytes - size
            raise

    async def release(self, ids: Sequence[int], inbox: InboxWriter) -> int:
        """Move the requests `ids` into `inbox` as notifications; return how many were moved.

        A request is removed only after the inbox has committed it. If the process ends in between, a second
        release stores the notification again, and a run counts it as a duplicate.

        Raises:
            InboxUnavailableError: the inbox or the quarantine could not be written; the remaining requests stay.

        """
        released = 0
        for batch in _batches(ids):
            notifications = await asyncio.to_thread(_notifications, self.path, batch)
            for notification in notifications.values():
                await inbox.append(notification)
            released += await self.discard(list(notifications))
        return released

    async def discard(self, ids: Sequence[int]) -> int:
        """Remove the requests `ids`; return how many were removed."""
        removed = 0
        for batch in _batches(ids):
            count, self._rows, self._bytes = await asyncio.wrap_future(
                self._writer.perform(lambda connection, batch=batch: _remove(connection, batch))  # type: ignore[misc]
            )
            removed += count
            self._full.end()
        return removed

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


def entries(
    path: Path, ids: Iterable[int] | None = None, endpoint: str | None = None
) -> list[QuarantineEntry]:
    """Return the requests in the quarantine at `path`, oldest first; an empty list if there is no such file.

    Args:
        path: of the quarantine.
        ids: of the requests to return; None: all.
        endpoint: return the requests to this endpoint; None: to all.

    Raises:
        GathererError: the file cannot be read.

    """
    query = (
        "SELECT id, received_at, endpoint, provider, remote, content_type, length(body), failed, authentication "
        "FROM request WHERE (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids))) "
        "AND (:endpoint IS NULL OR endpoint = :endpoint) ORDER BY id"
    )
    id_list = None if ids is None else json.dumps(list(ids))
    rows = _read(path, query, {"ids": id_list, "endpoint": endpoint})
    return [
        QuarantineEntry._make((row[0], timestamps.from_milliseconds(row[1]), *row[2:8], json.loads(row[8])))
        for row in rows
    ]


def body(path: Path, id: int) -> bytes | None:  # noqa: A002
    """Return the body of the request `id`, byte for byte as received; None if the quarantine does not hold it."""
    rows = _read(path, "SELECT body FROM request WHERE id = :id", {"id": id})
    return rows[0][0] if rows else None


def _notifications(path: Path, ids: Sequence[int]) -> dict[int, NotificationRow]:
    """Return the requests `ids` as rows of an inbox, by id."""
    query = (
        f"SELECT id, {_NOTIFICATION_COLUMNS} FROM request "
        "WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id"
    )
    return {row[0]: NotificationRow(*row[1:]) for row in _read(path, query, {"ids": json.dumps(list(ids))})}


def _read(path: Path, query: str, values: dict[str, Any]) -> list[Any]:
    """Return the rows that `query` finds; an empty list if there is no file at `path`."""
    if not path.exists():
        return []
    try:
        with closing(sqlite_file.open_readable(path, VERSIONS)) as connection:
            return connection.execute(query, values).fetchall()
    except IncompatibleFileError as error:
        raise InboxError(f"{path} {error}") from None
    except sqlite3.Error as error:
        is_busy = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        raise (TemporaryError if is_busy else InboxError)(f"{path} cannot be read: {error}") from error


def _remove(connection: sqlite3.Connection, ids: Sequence[int]) -> tuple[int, int, int]:
    """Remove the requests `ids`; return how many were removed, how many remain, and the bytes of those."""
    connection.execute("BEGIN IMMEDIATE")
    removed = connection.execute(
        "DELETE FROM request WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
    ).rowcount
    connection.execute("COMMIT")
    return removed, *_size(connection)


def _size(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the number of requests, and the bytes of their bodies."""
    rows, size = connection.execute("SELECT count(*), ifnull(sum(length(body)), 0) FROM request").fetchone()
    return rows, size


def _batches(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
