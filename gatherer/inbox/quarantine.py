"""Posts whose authentication failed, in a file of their own beside the inbox: capped, durable, never gathered."""

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
_ARRIVAL: Final = ", ".join(sqlite_file.INBOX.columns)
BATCH: Final = 100  # posts that are read, or removed, at once


class QuarantineRow(NamedTuple):
    """One post that did not authenticate; the fields are the columns of `post`."""

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
    """What a person gets to see of one post; its body only on demand."""

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
    """The quarantine holds as much as it may: the post is refused like any other."""


def path_of(inbox: Path) -> Path:
    """Return where the quarantine of the inbox file `inbox` is."""
    return inbox.with_name(f"{inbox.stem}.quarantine.db")


class Quarantine:
    """The only writer of a quarantine."""

    def __init__(
        self, path: Path, *, max_rows: int, max_bytes: int, limits: QueueLimits, space: disk_space.DiskSpace
    ) -> None:
        """Open the quarantine at `path`, creating it if there is none.

        Raises:
            GathererError: as `InboxWriter` does.

        """
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._full = Outage("the quarantine is full: %s. Refusing", "the quarantine has room again")
        self._writer = InboxWriter(path, limits=limits, space=space, format=FORMAT)
        self.path = self._writer.path
        self._rows, self._bytes = self._writer.perform(_held).result()

    def refusal_reason(self) -> str | None:
        """Return why nothing could be kept just now; None if it could."""
        return self._writer.refusal_reason()

    @property
    def held(self) -> tuple[int, int]:
        """How many posts there are, and the bytes of their bodies."""
        return self._rows, self._bytes

    async def add(self, row: QuarantineRow) -> None:
        """Return when `row` is on disk.

        Raises:
            QuarantineFullError: there is no room for it until somebody discards or releases something.
            InboxUnavailableError: it could not be committed; the sender has to try again.

        """
        size = len(row.body)
        if self._rows >= self._max_rows or self._bytes + size > self._max_bytes:
            raise QuarantineFullError(
                self._full.begin(f"it holds {self._rows} posts, {disk_space.megabytes(self._bytes)}")
            )
        self._rows, self._bytes = self._rows + 1, self._bytes + size
        try:
            await self._writer.append(row)
        except InboxUnavailableError:
            self._rows, self._bytes = self._rows - 1, self._bytes - size
            raise

    async def release(self, ids: Sequence[int], inbox: InboxWriter) -> int:
        """Put the posts `ids` into `inbox` as the notifications that they are; return how many there were.

        They are removed here only when they are on disk there: an interruption between the two can at most put
        them there twice, which are one to a run.

        Raises:
            InboxUnavailableError: one of the two could not be written; what was not released is still here.

        """
        released = 0
        for batch in _batches(ids):
            arrivals = await asyncio.to_thread(_rows, self.path, batch)
            for arrival in arrivals.values():
                await inbox.append(arrival)
            released += await self.discard(list(arrivals))
        return released

    async def discard(self, ids: Sequence[int]) -> int:
        """Remove the posts `ids`; return how many there were."""
        removed = 0
        for batch in _batches(ids):
            count, self._rows, self._bytes = await asyncio.wrap_future(
                self._writer.perform(lambda connection, batch=batch: _remove(connection, batch))  # type: ignore[misc]
            )
            removed += count
            self._full.end()
        return removed

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()


def kept(path: Path, ids: Iterable[int] | None = None, endpoint: str | None = None) -> list[QuarantineEntry]:
    """Return what the quarantine at `path` holds, oldest first; only `ids`, or of one endpoint, if given.

    Raises:
        GathererError: it cannot be read.

    """
    query = (
        "SELECT id, received_at, endpoint, provider, remote, content_type, length(body), failed, authentication "
        "FROM request WHERE (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids))) "
        "AND (:endpoint IS NULL OR endpoint = :endpoint) ORDER BY id"
    )
    chosen = None if ids is None else json.dumps(list(ids))
    rows = _read(path, query, {"ids": chosen, "endpoint": endpoint})
    return [
        QuarantineEntry._make((row[0], timestamps.from_milliseconds(row[1]), *row[2:8], json.loads(row[8])))
        for row in rows
    ]


def body(path: Path, id: int) -> bytes | None:  # noqa: A002
    """Return the exact bytes of the post `id`; None if it is not there."""
    rows = _read(path, "SELECT body FROM request WHERE id = :id", {"id": id})
    return rows[0][0] if rows else None


def _rows(path: Path, ids: Sequence[int]) -> dict[int, NotificationRow]:
    query = f"SELECT id, {_ARRIVAL} FROM request WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id"
    return {row[0]: NotificationRow(*row[1:]) for row in _read(path, query, {"ids": json.dumps(list(ids))})}


def _read(path: Path, query: str, values: dict[str, Any]) -> list[Any]:
    if not path.exists():
        return []
    try:
        with closing(sqlite_file.open_readable(path, VERSIONS)) as connection:
            return connection.execute(query, values).fetchall()
    except IncompatibleFileError as unsuitable:
        raise InboxError(f"{path} {unsuitable}") from None
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        raise (TemporaryError if busy else InboxError)(f"{path} cannot be read: {error}") from error


def _remove(connection: sqlite3.Connection, ids: Sequence[int]) -> tuple[int, int, int]:
    connection.execute("BEGIN IMMEDIATE")
    removed = connection.execute(
        "DELETE FROM request WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
    ).rowcount
    connection.execute("COMMIT")
    return removed, *_held(connection)


def _held(connection: sqlite3.Connection) -> tuple[int, int]:
    rows, size = connection.execute("SELECT count(*), ifnull(sum(length(body)), 0) FROM request").fetchone()
    return rows, size


def _batches(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
