"""The queue in front of the writer thread: notifications in order of arrival, never more than the limits allow."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

MAX_GROUP: Final = 1000  # notifications in one transaction: bounds the time until the first response


class NotificationRow(NamedTuple):
    """A notification to store; the fields are the columns of the table `notification`."""

    received_at: int  # milliseconds since 1970
    endpoint: str
    provider: str
    remote: str | None
    content_type: str | None
    headers: str | None
    body: bytes


class RowWithBody(Protocol):
    """A row to insert: a tuple in the order of the columns, one of which is the body."""

    @property
    def body(self) -> bytes:
        """The body of the request."""


class InboxUnavailableError(Exception):
    """The inbox could not commit. Nothing was acknowledged; the provider has to send the request again."""


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """How much may wait for the disk, and for how long. A single notification is always accepted."""

    queue_rows: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    commit_bytes: int = 16 * 1024 * 1024  # of bodies in one transaction
    commit_seconds: float = 4  # from the arrival of a body to its commit; after that the response is 503


class QueuedRow(NamedTuple):
    """A row in the queue, and the future that is resolved once the row is on disk."""

    row: RowWithBody
    size: int  # of the body, in bytes
    future: "asyncio.Future[None]"


class Queue:
    """Passes rows from one event loop to one thread. The condition `wake` is the lock, and wakes the thread."""

    def __init__(self, limits: QueueLimits, timeout_error: Callable[[], InboxUnavailableError]) -> None:
        """Keep within `limits`; `timeout_error` makes the exception for a row that waited too long."""
        self.wake = threading.Condition()
        self._limits = limits
        self._arrived: list[QueuedRow] = []  # in this turn of the event loop
        self._loop: asyncio.AbstractEventLoop  # the loop of the rows in `_arrived`
        self._waiting: deque[QueuedRow] = deque()
        self._timeout_error = timeout_error
        self._deadlines: deque[tuple[float, asyncio.Future[None]]] = deque()  # oldest first
        self._timer: asyncio.TimerHandle | None = (
            None  # one for all rows: one per row would slow down every request
        )
        # Each counter is written by one side only, so that both can read it without the lock.
        self._rows_in = self._bytes_in = 0
        self._rows_out = self._bytes_out = 0

    @property
    def rows(self) -> int:
        """How many rows are not on disk yet, including those that are being committed."""
        return self._rows_in - self._rows_out

    @property
    def bytes(self) -> int:
        """The size of the bodies of these rows."""
        return self._bytes_in - self._bytes_out

    def fits(self, size: int) -> bool:
        """Return whether the queue can take another body of `size` bytes."""
        rows = self.rows
        return not rows or (rows < self._limits.queue_rows and self.bytes + size <= self._limits.queue_bytes)

    def add(self, row: RowWithBody) -> "asyncio.Future[None]":
        """Add `row`; return a future of the running event loop, resolved when the row is on disk."""
        if not self._arrived:  # the first row of this turn; asking for the loop costs a system call
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.hand_over)  # wakes the thread once for all rows of this turn
        loop = self._loop
        future = loop.create_future()
        size = len(row.body or b"")
        self._rows_in += 1
        self._bytes_in += size
        self._arrived.append(QueuedRow(row, size, future))
        self._deadlines.append((loop.time() + self._limits.commit_seconds, future))
        if len(self._deadlines) == 1:
            self._watch(loop)
        return future

    def hand_over(self) -> None:
        """Pass what has arrived to the thread."""
        with self.wake:
            self._waiting += self._arrived
            self.wake.notify()
        self._arrived = []

    def __bool__(self) -> bool:
        """Whether there are rows for the thread."""
        return bool(self._waiting)

    def take(self) -> list[QueuedRow]:
        """Remove and return the rows of the next transaction. The caller holds `wake`."""
        group: list[QueuedRow] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP:
            size += self._waiting[0].size
            if group and size > self._limits.commit_bytes:
                break
            group.append(self._waiting.popleft())
        return group

    def resolve(self, group: Sequence[QueuedRow], error: InboxUnavailableError | None) -> None:
        """Resolve the futures of `group`, in their event loop: its rows are on disk, or `error` says why not."""
        self._rows_out += len(group)
        self._bytes_out += sum([queued.size for queued in group])
        futures = [queued.future for queued in group]
        with contextlib.suppress(RuntimeError):  # the loop is closed, and no caller waits any more
            futures[0].get_loop().call_soon_threadsafe(self._set_results, futures, error)

    def _set_results(
        self, futures: list["asyncio.Future[None]"], error: InboxUnavailableError | None
    ) -> None:
        for future in futures:
            if not future.done():  # cancelled when the client disconnected, or timed out
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        while self._deadlines and self._deadlines[0][1].done():
            self._deadlines.popleft()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call `_expire` when the oldest row reaches its deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._deadlines[0][0], self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._deadlines and (self._deadlines[0][1].done() or self._deadlines[0][0] <= now):
            _, future = self._deadlines.popleft()
            if not future.done():
                future.set_exception(self._timeout_error())
        if self._deadlines:
            self._watch(loop)
