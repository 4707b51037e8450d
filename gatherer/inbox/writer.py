"""Writing the inbox: one thread commits all rows that wait in one transaction, then resolves their futures.

A handler passes its notification to :meth:`InboxWriter.append` and responds to the provider once the future is done:
by then the bytes have been fsynced (`journal_mode=WAL`, `synchronous=FULL`, read back at every opening). A
notification that cannot be stored is refused at once, before the disk is full or the queue too long.
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

RETRY_SECONDS: Final = 0.5  # between attempts to open a failed inbox again
_Result = TypeVar("_Result")


class InboxWriter:
    """The only writer of an inbox file. Create it, await the futures of `append`, and close it."""

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
            limits: of the queue.
            space: limits of the file and its disk.
            purge: deletes what may be deleted; performed when `max_inbox_bytes` is reached, before anything is
                refused.
            committed: called on the writer thread after each commit, with the number of its notifications.
            format: the kind of file: an inbox or a quarantine.
            group: the accounts of this group share the file.

        Raises:
            InboxInUseError: another process writes the file.
            ConfigurationError: the path or the group is not suitable.
            InboxError: the file cannot be written, or is not an inbox.
            TemporaryError: it cannot be written at present: the disk is full or fails, or a program has locked it.

        """
        self._limits = limits or QueueLimits()
        self._committed = committed
        self._queue = Queue(self._limits, timeout_error=self._timeout_error)
        self._work: deque[tuple[Work[Any], Future[Any]]] = deque()
        self._closing = False
        name = format.about
        self._failure = Outage(
            f"the {name} cannot commit (%s): answering 503 until it can",
            f"the {name} commits again: accepting notifications",
        )
        self._shortage = Outage(
            f"not enough space for the {name}: %s. Answering 503",
            f"there is enough space for the {name} again",
        )
        self._stall = Outage(
            f"the {name} is stalled: %s. Answering 503 until it recovers", f"the {name} has recovered"
        )
        self._overload = Outage(
            f"the {name} is overloaded: %s. Answering 503 to further requests",
            f"the queue of the {name} is short again",
        )
        self._file = Committer(path, format, self._failure, group)
        self.path = self._file.path
        self._space_monitor = disk_space.SpaceMonitor(
            self._file, space or disk_space.DiskSpace(), purge, self._shortage
        )
        self._space_monitor.check()
        self._thread = threading.Thread(target=self._run, name=f"{name}-writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why the inbox cannot commit at present; None when it can."""
        return self._failure.reason

    @property
    def waiting(self) -> tuple[int, int]:
        """How many notifications are not on disk yet, and the size of their bodies in bytes."""
        return self._queue.rows, self._queue.bytes

    def refusal_reason(self, size: int = 0) -> str | None:
        """Return why a body of `size` bytes would be refused at once; None if it would not be."""
        if self._closing:
            return "the inbox is being closed"
        reason = self._failure.reason or self._shortage.reason or self._stalled()
        if reason is None and not self._queue.fits(size):
            rows, size = self.waiting
            return self._overload.begin(
                f"{rows} notifications, {disk_space.megabytes(size)}, wait for the disk"
            )
        return reason

    def append(self, row: RowWithBody) -> "asyncio.Future[None]":
        """Store `row`; the future is done when it is on disk.

        The future raises :class:`InboxUnavailableError` if the row could not be committed in time. It may still be
        committed later; when the provider sends the request again, a run makes the same records of both.
        """
        reason = self.refusal_reason(len(row.body or b""))
        if reason is None:
            return self._queue.add(row)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(InboxUnavailableError(reason))
        return future

    def perform(self, work: Work[_Result]) -> "Future[_Result]":
        """Call `work` on the writer's thread with its connection, between two groups of notifications.

        `work` has to be short, as notifications wait for it, and begins and ends its own transaction. The future
        holds what it returns or raises; :class:`InboxUnavailableError` if it could not be called.
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
        """Commit what waits, then close the file. `-wal` and `-shm` stay in place for readers."""
        self._queue.hand_over()
        with self._queue.wake:
            self._closing = True
            self._queue.wake.notify()
        self._thread.join()
        self._file.close()

    def _timeout_error(self) -> InboxUnavailableError:
        return InboxUnavailableError(self._stalled() or "the queue is too slow")

    def _stalled(self) -> str | None:
        """Return why no row is committed, if the disk has been busy with one operation for too long."""
        since = self._file.busy_since
        if since is None or (seconds := time.monotonic() - since) < self._limits.commit_seconds:
            return None
        return self._stall.begin(f"the disk has not answered for {seconds:.0f} s")

    def _run(self) -> None:
        while True:
            with self._queue.wake:
                if not (self._queue or self._work or self._closing or self.failure):
                    self._queue.wake.wait(disk_space.MEASURE_SECONDS)
                group = self._queue.take()
                work = self._work.popleft() if self._work else None
                if not group and work is None and self._closing:
                    return
            if self.failure is None:
                self._space_monitor.check(sum([queued.size for queued in group]))
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
        """Commit `group` in one transaction and resolve its futures."""
        reason = self.failure or self._shortage.reason
        if reason is not None:
            self._queue.resolve(group, InboxUnavailableError(reason))
            return
        try:
            self._file.insert([queued.row for queued in group])
        except UNSTORABLE as error:
            self._bisect(group, error)
        except Exception:  # noqa: BLE001 - no caller may hang, and the thread must survive
            self._queue.resolve(group, InboxUnavailableError(self.failure))
        else:
            self._queue.resolve(group, None)
            self._committed(len(group))

    def _perform(self, work: Work[Any], future: "Future[Any]") -> None:
        """Call `work` and resolve its future."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._file.perform(work))
        except Exception as error:  # noqa: BLE001 - raised to the caller of `perform`
            future.set_exception(error)

    def _bisect(self, group: list[QueuedRow], error: Exception) -> None:
        """Find the notification that cannot be stored by halving `group`, so that the others are stored."""
        if len(group) > 1:
            middle = len(group) // 2
            self._commit(group[:middle])
            self._commit(group[middle:])
        else:
            reason = type(error).__name__
            log.error("a notification cannot be stored (%s): answering 503", reason)
            self._queue.resolve(group, InboxUnavailableError(reason))
