"""What waits for the writer thread: arrivals in their order, never more than the limits allow."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

MAX_GROUP: Final = 1000  # notifications in one transaction: bounds the time until the first answer


class NotificationRow(NamedTuple):
    """One request, ready to be stored; the fields are the columns of `notification`."""

    received_at: int  # milliseconds since 1970
    endpoint: str
    provider: str
    remote: str | None
    content_type: str | None
    headers: str | None
    body: bytes


class RowWithBody(Protocol):
    """A row to be: a tuple in the order of its columns, the body among them."""

    @property
    def body(self) -> bytes:
        """The body of the request."""


class InboxUnavailableError(Exception):
    """The inbox could not commit. Nothing was promised; the sender has to try again."""


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """How much may wait for the disk, and for how long. One notification always may."""

    queue_rows: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    commit_bytes: int = 16 * 1024 * 1024  # of bodies in one transaction
    commit_seconds: float = 4  # from the arrival of a body to the answer; then it is 503


class QueuedRow(NamedTuple):
    """An arrival, and who wants to know what came of it."""

    arrival: RowWithBody
    future: "asyncio.Future[None]"


class Queue:
    """Arrivals from one event loop to one thread. `wake` is the lock, and tells the thread that there is work."""

    def __init__(self, limits: QueueLimits, late: Callable[[], InboxUnavailableError]) -> None:
        """Keep within `limits`; `late` is asked what to tell those who have waited too long."""
        self.wake = threading.Condition()
        self._limits = limits
        self._arrived: list[QueuedRow] = []  # in this turn of the event loop
        self._waiting: deque[QueuedRow] = deque()
        self._late = late
        self._deadlines: deque[tuple[float, asyncio.Future[None]]] = deque()  # oldest first
        self._clock: asyncio.TimerHandle | None = None  # one for all: one for each would slow every post down
        # Each is written by one side only, so that both can read them without the lock.
        self._rows_in = self._bytes_in = 0
        self._rows_out = self._bytes_out = 0

    @property
    def rows(self) -> int:
        """How many are not on disk yet, with those that are being committed."""
        return self._rows_in - self._rows_out

    @property
    def bytes(self) -> int:
        """How large their bodies are together."""
        return self._bytes_in - self._bytes_out

    def fits(self, size: int) -> bool:
        """Tell whether another body of `size` bytes may wait."""
        rows = self.rows
        return not rows or (rows < self._limits.queue_rows and self.bytes + size <= self._limits.queue_bytes)

    def add(self, arrival: RowWithBody) -> "asyncio.Future[None]":
        """Let `arrival` wait; to be called in the event loop that is to learn what came of it."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._rows_in += 1
        self._bytes_in += _size(arrival)
        self._arrived.append(QueuedRow(arrival, future))
        self._deadlines.append((loop.time() + self._limits.commit_seconds, future))
        if len(self._deadlines) == 1:
            self._watch(loop)
        if len(self._arrived) == 1:  # wake the thread once for all that this turn of the loop brings
            loop.call_soon(self.hand_over)
        return future

    def hand_over(self) -> None:
        """Show the thread what has arrived."""
        with self.wake:
            self._waiting += self._arrived
            self.wake.notify()
        self._arrived = []

    def __bool__(self) -> bool:
        """Whether there is something for the thread."""
        return bool(self._waiting)

    def take(self) -> list[QueuedRow]:
        """Return what is to be committed together; with `wake` held."""
        group: list[QueuedRow] = []
        size = 0
        while self._waiting and len(group) < MAX_GROUP:
            size += _size(self._waiting[0].arrival)
            if group and size > self._limits.commit_bytes:
                break
            group.append(self._waiting.popleft())
        return group

    def resolve(self, group: Iterable[QueuedRow], error: InboxUnavailableError | None) -> None:
        """Tell those who wait for `group`, in their event loop, that it is on disk, or why not."""
        futures = []
        for arrival, future in group:
            self._rows_out += 1
            self._bytes_out += _size(arrival)
            futures.append(future)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everyone who waited
            futures[0].get_loop().call_soon_threadsafe(self._resolve, futures, error)

    def _resolve(self, futures: list["asyncio.Future[None]"], error: InboxUnavailableError | None) -> None:
        for future in futures:
            if not future.done():  # the client may have gone, or waited for too long
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        while self._deadlines and self._deadlines[0][1].done():
            self._deadlines.popleft()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Come back when the oldest has waited for too long, if it still waits then."""
        if self._clock is not None:
            self._clock.cancel()
        self._clock = loop.call_at(self._deadlines[0][0], self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._deadlines and (self._deadlines[0][1].done() or self._deadlines[0][0] <= now):
            _, future = self._deadlines.popleft()
            if not future.done():
                future.set_exception(self._late())
        if self._deadlines:
            self._watch(loop)


def _size(arrival: RowWithBody) -> int:
    return len(arrival.body or b"")
