"""The inbox as the pull listener reads it: through a read-only connection of its own, in a thread of its own.

The thread keeps reading, packing and writing files away from the event loop, which answers webhooks. What it
does at a time is small, so that whoever waits for Python's lock or for the disk does not wait long.
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
FRAME: Final = Bounds(rows=150, bytes=80_000)  # read and packed at a time


class InboxMismatchError(Exception):
    """The inbox here is not the one that was asked for."""


class Part(NamedTuple):
    """One frame, and what is in it."""

    frame: bytes
    rows: int
    last_id: int
    size: int  # bytes of the bodies
    cpu_seconds: float  # what it took


class Source:
    """The inbox file at one path, whichever file that is just now."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet: the writer may still be about to create the file."""
        self._path = path
        self._inbox: LocalInbox | None = None
        self._opened: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inbox-pull")

    async def about(self, *, statistics: bool) -> dict[str, Any]:
        """Return the identity of the inbox and its first and last ids; with `statistics`, count and bytes, too."""

        def look() -> dict[str, Any]:
            inbox = self._current()
            found = {"protocol": protocol.VERSION, "gatherer": __version__, "inbox_id": inbox.identity}
            if not statistics:
                return found | {"first_id": inbox.first_id(), "last_id": inbox.last_id()}
            held = inbox.status()
            return found | {
                "first_id": held.first_id,
                "last_id": held.last_id,
                "count": held.count,
                "bytes": held.bytes,
            }

        return await self._run(look)

    async def part(self, inbox_id: str, selection: Selection, after: int, left: Bounds) -> Part | None:
        """Return the next frame of the selected notifications after id `after`; None if there are no more.

        Raises:
            InboxMismatchError: the inbox is not `inbox_id`.
            GathererError: it cannot be read.

        """
        bounds = Bounds(rows=min(FRAME.rows, left.rows), bytes=min(FRAME.bytes, left.bytes))

        def pack() -> Part | None:
            inbox = self._current()
            if inbox.identity != inbox_id:
                raise InboxMismatchError
            began = time.thread_time()
            rows = inbox.rows(selection, after, bounds)
            if not rows:
                return None
            frame, size = protocol.of_batch(rows), sum(len(row[4]) for row in rows)
            return Part(frame, len(rows), rows[-1][0], size, time.thread_time() - began)

        return await self._run(pack)

    async def acknowledge(self, inbox_id: str, consumer: str, notification_id: int) -> None:
        """Note that `consumer` has everything up to `notification_id`.

        Raises:
            InboxMismatchError: the inbox is not `inbox_id`.
            ValueError: there is no such notification yet, or the name is no name.
            OSError: it cannot be written.
            GathererError: the inbox cannot be read.

        """

        def note() -> None:
            inbox = self._current()
            if inbox.identity != inbox_id:
                raise InboxMismatchError
            if not 0 <= notification_id <= inbox.last_id():
                raise ValueError(f"there is no notification {notification_id}")
            consumers.acknowledge(self._path.resolve(), consumer, inbox_id, notification_id)

        await self._run(note)

    def close(self) -> None:
        """Let go of the file. What the thread is at is finished first."""
        self._thread.submit(self._let_go).result()
        self._thread.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _current(self) -> LocalInbox:
        """Return the inbox, opened anew if another file has taken its place."""
        try:
            found = self._path.stat()
        except OSError as error:
            self._let_go()
            raise InboxError(f"there is no inbox at {self._path}: {error.strerror or error}") from None
        identity = (found.st_dev, found.st_ino)
        if self._inbox is None or identity != self._opened:
            self._let_go()
            self._inbox, self._opened = LocalInbox(self._path), identity
        return self._inbox

    def _let_go(self) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()
