"""The inbox as the pull listener reads it: through its own read-only connection, in its own thread.

The thread keeps reading, compressing and writing files away from the event loop, which answers webhooks. Each step
is small, so that the event loop waits only briefly for Python's lock or for the disk.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from gatherer import __version__
from gatherer.inbox import consumers
from gatherer.inbox.base import Bounds, Selection
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.remote import protocol
from gatherer.model.errors import InboxError

T = TypeVar("T")
FRAME: Final = Bounds(rows=150, bytes=80_000)  # the size of one frame


class InboxMismatchError(Exception):
    """The inbox at the path is not the one that the client requested."""


class Part(NamedTuple):
    """One frame of a response, and figures about its notifications."""

    frame: bytes
    rows: int
    last_id: int
    size: int  # bytes of the bodies
    cpu_seconds: float  # to read and compress it


class Source:
    """The inbox file at one path. If another file replaces it, that one is opened."""

    def __init__(self, path: Path) -> None:
        """Read the inbox at `path`. The first request opens the file: the writer may not have created it yet."""
        self._path = path
        self._inbox: LocalInbox | None = None
        self._opened: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox-pull")

    async def about(self, *, statistics: bool) -> dict[str, Any]:
        """Return the identity of the inbox and what its ids say; with `statistics`, count, bytes and missing, too."""

        def read() -> dict[str, Any]:
            inbox = self._current()
            about = {
                "protocol": protocol.VERSION,
                "gatherer": __version__,
                "inbox_id": inbox.identity,
                "has_contiguous_ids": inbox.has_contiguous_ids,
                "purged_to": inbox.purged_to(),
            }
            if not statistics:
                return about | {"first_id": inbox.first_id(), "last_id": inbox.last_id()}
            status = inbox.status()
            return about | {
                "first_id": status.first_id,
                "last_id": status.last_id,
                "count": status.count,
                "bytes": status.bytes,
                "missing": status.missing,
            }

        return await self._run(read)

    async def part(self, inbox_id: str, selection: Selection, after: int, left: Bounds) -> Part | None:
        """Return the next frame of the selected notifications after id `after`; None if there are no more.

        Raises:
            InboxMismatchError: the inbox is not `inbox_id`.
            GathererError: the inbox cannot be read.

        """
        bounds = Bounds(rows=min(FRAME.rows, left.rows), bytes=min(FRAME.bytes, left.bytes))

        def read() -> Part | None:
            inbox = self._current()
            if inbox.identity != inbox_id:
                raise InboxMismatchError
            began = time.thread_time()
            rows = inbox.rows(selection, after, bounds)
            if not rows:
                return None
            frame, size = protocol.of_batch(rows), sum(len(row[4]) for row in rows)
            return Part(frame, len(rows), rows[-1][0], size, time.thread_time() - began)

        return await self._run(read)

    async def acknowledge(self, inbox_id: str, consumer: str, notification_id: int) -> None:
        """Record that `consumer` has everything up to `notification_id`.

        Raises:
            InboxMismatchError: the inbox is not `inbox_id`.
            ValueError: there is no such notification yet, or the name is not valid.
            OSError: the file of the consumer cannot be written.
            GathererError: the inbox cannot be read.

        """

        def write() -> None:
            inbox = self._current()
            if inbox.identity != inbox_id:
                raise InboxMismatchError
            if not 0 <= notification_id <= inbox.last_id():
                raise ValueError(f"there is no notification {notification_id}")
            consumers.acknowledge(self._path.resolve(), consumer, inbox_id, notification_id)

        await self._run(write)

    def close(self) -> None:
        """Close the inbox, after the step that the thread is performing."""
        self._thread.submit(self._close_inbox).result()
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _current(self) -> LocalInbox:
        """Return the open inbox. It is opened again if another file has replaced it."""
        try:
            status = self._path.stat()
        except OSError as error:
            self._close_inbox()
            raise InboxError(f"there is no inbox at {self._path}: {error.strerror or error}") from None
        identity = (status.st_dev, status.st_ino)
        if self._inbox is None or identity != self._opened:
            self._close_inbox()
            self._inbox, self._opened = LocalInbox(self._path), identity
        return self._inbox

    def _close_inbox(self) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()
