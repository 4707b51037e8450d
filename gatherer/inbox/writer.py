"""Writing the inbox: one thread commits everything that waits in one transaction, then lets go.

A handler hands its notification over with :meth:`InboxWriter.append` and answers the provider once that
returns: by then the bytes have been fsynced (`journal_mode=WAL`, `synchronous=FULL`, read back at every
opening). What cannot be taken in is refused at once, before the disk is full or the queue too long.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

from gatherer.inbox import disk_space, sqlite_file
from gatherer.inbox.committer import UNSTORABLE, Committer, Work
from gatherer.inbox.outage import Outage
from gatherer.inbox.queue import (
    InboxUnavailableError,
    NotificationRow,
    Queue,
    QueuedRow,
    QueueLimits,
    RowWithBody,
)

__all__ = ["InboxUnavailableError", "InboxWriter", "NotificationRow", "QueueLimits"]

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5  # between attempts to bring a failed inbox back
_Result = TypeVar("_Result")


class InboxWriter:
    """The only writer of an inbox file. Create it, `await` what `append` returns, `close` it."""

    def __init__(
        self,
        path: Path,
        *,
        limits: QueueLimits | None = None,
        space: disk_space.DiskSpace | None = None,
        purge: Work[object] | None = None,
        committed: Callable[[int], None] = lambda rows: None,
        format: sqlite_file.Format = sqlite_file.INBOX,  # noqa: A002
        group: str | None = None,
    ) -> None:
        """Open the inbox at `path`, creating it if there is none, and start the writer thread.

        Args:
            path: the file.
            limits: of what may wait.
            space: of the file and its disk.
            purge: deletes what may go; done as by `perform` when `max_inbox_bytes` is reached, before
                anything is refused.
            committed: called on the writer thread after each commit, with the number of its notifications.
            format: another kind of file, for what is not to be gathered.
            group: whose accounts share the file.

        Raises:
            ConfigurationError: the file cannot be written, is no inbox, or another process serves it.
            TemporaryError: it cannot be written just now: the disk is full or fails, or a program has locked it.

        """
        self._limits = limits or QueueLimits()
        self._committed = committed
        self._queue = Queue(self._limits, late=self._late)
        self._work: deque[tuple[Work[Any], Future[Any]]] = deque()
        self._closing = False
        name = format.about
        self._failure = Outage(
            f"the {name} cannot commit (%s): answering 503 until it can",
            f"the {name} commits again: accepting notifications",
        )
        self._shortage = Outage(
            f"no room in the {name}: %s. Answering 503 until there is", f"there is room in the {name} again"
        )
        self._stall = Outage(
            f"the {name} is stalled: %s. Answering 503 until it goes on", f"the {name} goes on"
        )
        self._overload = Outage(
            f"too much at once for the {name}: %s. Answering 503 to what comes on top",
            f"the queue of the {name} is short again",
        )
        self._file = Committer(path, format, self._failure, group)
        self.path = self._file.path
        self._space_monitor = disk_space.SpaceMonitor(
            self._file, space or disk_space.DiskSpace(), purge, self._shortage
        )
        self._space_monitor.look()
        self._thread = threading.Thread(target=self._run, name=f"{name}-writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the inbox cannot commit at present; None when it can."""
        return self._failure.reason

    @property
    def waiting(self) -> tuple[int, int]:
        """How many notifications are not on disk yet, and the bytes of their bodies."""
        return self._queue.rows, self._queue.bytes

    def refusal_reason(self, size: int = 0) -> str | None:
        """Return why a body of `size` bytes would be refused at once; None if it would not be."""
        if self._closing:
            return "the inbox is being closed"
        standing = self._failure.reason or self._shortage.reason or self._stalled()
        if standing is None and not self._queue.fits(size):
            rows, held = self.waiting
            return self._overload.begin(f"{rows} posts, {disk_space.megabytes(held)}, wait for the disk")
        return standing

    def append(self, arrival: RowWithBody) -> "asyncio.Future[None]":
        """Hand `arrival` over; the future is done when it is on disk.

        The future raises :class:`InboxUnavailableError` if it could not be committed, or not in time: then it may be,
        later, and when the sender tries again the two are one to a run.
        """
        refusal_reason = self.refusal_reason(len(arrival.body or b""))
        if refusal_reason is None:
            return self._queue.add(arrival)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(InboxUnavailableError(refusal_reason))
        return future

    def perform(self, work: Work[_Result]) -> "Future[_Result]":
        """Do `work` on the writer's thread and connection, between two groups of arrivals.

        It has to be short, as arrivals wait for it, and begins and ends its own transaction. The future
        has what it returns or raises; :class:`InboxUnavailableError` if it could not be tried.
        """
        future: Future[_Result] = Future()
        with self._queue.wake:
            if self._closing:
                future.set_exception(InboxUnavailableError("the inbox is being closed"))
            else:
                self._work.append((work, future))
                self._queue.wake.notify()
        return future

    def close(self) -> None:
        """Commit what waits, then let go of the file, leaving `-wal` and `-shm` in place for readers."""
        self._queue.hand_over()
        with self._queue.wake:
            self._closing = True
            self._queue.wake.notify()
        self._thread.join()
        self._file.close()

    def _late(self) -> InboxUnavailableError:
        return InboxUnavailableError(self._stalled() or "the queue is too slow")

    def _stalled(self) -> str | None:
        """Return why nothing moves, if the disk has been busy with one thing for too long."""
        since = self._file.busy_since
        if since is None or (seconds := time.monotonic() - since) < self._limits.commit_seconds:
            return None
        return self._stall.begin(f"the disk has not answered for {seconds:.0f} s")

    def _run(self) -> None:
        while True:
            with self._queue.wake:
                if not (self._queue or self._work or self._closing or self.failure):
                    self._queue.wake.wait(disk_space.LOOK_SECONDS)
                group = self._queue.take()
                work = self._work.popleft() if self._work else None
                if not group and work is None and self._closing:
                    return
            if self.failure is None:
                self._space_monitor.look(sum(len(one.arrival.body or b"") for one in group))
            if group:
                self._commit(group)
            if work is not None:
                self._perform(*work)
            self._file.checkpoint_log()
            if self.failure is not None and not self._file.recover():
                with self._queue.wake:
                    if not self._closing:
                        self._queue.wake.wait(RETRY_SECONDS)
            self._stall.end()
            if self._overload.reason is not None and 2 * self._queue.rows <= self._limits.queue_rows:
                self._overload.end()

    def _commit(self, group: list[QueuedRow]) -> None:
        """Commit `group` in one transaction and settle its futures."""
        refusal_reason = self.failure or self._shortage.reason
        if refusal_reason is not None:
            self._queue.resolve(group, InboxUnavailableError(refusal_reason))
            return
        try:
            self._file.insert([one.arrival for one in group])
        except UNSTORABLE as problem:
            self._divide(group, problem)
        except Exception:  # noqa: BLE001 - whatever it was, nobody may hang and the thread has to live
            self._queue.resolve(group, InboxUnavailableError(self.failure))
        else:
            self._queue.resolve(group, None)
            self._committed(len(group))

    def _perform(self, work: Work[Any], future: "Future[Any]") -> None:
        """Do `work` and settle its future."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._file.perform(work))
        except Exception as problem:  # noqa: BLE001 - it is for whoever asked for it
            future.set_exception(problem)

    def _divide(self, group: list[QueuedRow], problem: Exception) -> None:
        """Find the notification that cannot be stored, so that it does not cost the others of its group."""
        if len(group) > 1:
            middle = len(group) // 2
            self._commit(group[:middle])
            self._commit(group[middle:])
        else:
            what = type(problem).__name__
            log.error("a notification cannot be stored (%s): answering 503", what)
            self._queue.resolve(group, InboxUnavailableError(what))
