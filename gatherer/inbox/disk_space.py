"""Whether there is room for more: a floor of free disk, and a ceiling for what the inbox holds."""

import shutil
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gatherer.inbox.committer import Committer, Work
from gatherer.inbox.outage import Outage

LOOK_SECONDS: Final = 1.0  # between looks at the disk while nothing is to be written
ON_DISK: Final = 3  # bytes on the disk for one of a body: in the log, in the file, and what goes with it
PURGE_SECONDS: Final = 10.0  # between attempts to make room in a full inbox
MARGIN: Final = 0.01  # of a limit that has been reached must be free again before anything is taken in


class Usage(NamedTuple):
    """How much is taken and how much is left, in bytes."""

    held: int  # in the pages of the file that are in use; purging lowers it, though the file stays as large
    log: int  # the write-ahead log
    free: int  # for this account, on the disk of the inbox


@dataclass(frozen=True, kw_only=True)
class DiskSpace:
    """The limits that keep an inbox from filling its disk; 0 is none."""

    max_inbox_bytes: int = 0
    min_free_bytes: int = 0

    def shortage(self, usage: Usage, size: int, *, short: bool = False) -> str | None:
        """Return why `size` more bytes are not taken in; None if they are.

        Args:
            usage: as measured just now.
            size: of the bodies that are to be stored.
            short: there was a shortage already; it ends only with some margin, so that it does not flicker.

        """
        margin = MARGIN if short else 0
        if self.min_free_bytes and usage.free - size < self.min_free_bytes * (1 + margin):
            return (
                f"the disk has {megabytes(usage.free)} left, and min_free_bytes = {self.min_free_bytes} "
                f"({megabytes(self.min_free_bytes)}) are to stay free"
            )
        if self.over(usage, size, margin):
            return (
                f"the inbox holds {megabytes(usage.held)}, and max_inbox_bytes = {self.max_inbox_bytes} "
                f"({megabytes(self.max_inbox_bytes)})"
            )
        return None

    def left(self, usage: Usage) -> int:
        """Return how many bytes can be written before one of the limits is reached."""
        to_floor = usage.free - self.min_free_bytes if self.min_free_bytes else sys.maxsize
        to_ceiling = self.max_inbox_bytes - usage.held if self.max_inbox_bytes else sys.maxsize
        return min(to_floor, to_ceiling)

    def over(self, usage: Usage, size: int, margin: float = 0) -> bool:
        """Tell whether the inbox itself is full: what purging can help against."""
        return 0 < self.max_inbox_bytes * (1 - margin) < usage.held + size


def usage(connection: sqlite3.Connection, path: Path) -> Usage:
    """Measure the inbox at `path`, which `connection` has open.

    Raises:
        OSError: the disk does not say.
        sqlite3.Error: the file does not say.

    """
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    try:
        log = path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        log = 0
    return Usage((pages - unused) * page, log, shutil.disk_usage(path.parent).free)


class SpaceMonitor:
    """Finds out whether there is room, and tells the shortage when there is none. On the writer's thread."""

    def __init__(
        self, file: Committer, space: DiskSpace, purge: Work[object] | None, shortage: Outage
    ) -> None:
        """Look after `file` within the limits of `space`; `purge` deletes what may go."""
        self._file = file
        self._space = space
        self._purge = purge
        self._shortage = shortage
        self._purge_at = 0.0  # no attempt before then
        self._too_large = 0
        self._allowance = 0  # bytes that can be written before the disk has to be looked at again
        self._look_at = 0.0  # when that has to be done at the latest

    def look(self, size: int = 0) -> None:
        """Find out whether there is room for `size` more bytes, and make some in a full inbox."""
        now = time.monotonic()
        self._allowance -= ON_DISK * size
        if self._allowance > 0 and now < self._look_at:
            return  # asking costs more than a small commit
        self._look_at = now + LOOK_SECONDS
        # What was refused for its size has to fit before anything else does.
        size = self._too_large = size if self._shortage.reason is None else max(size, self._too_large)
        try:
            usage = self._file.perform(self._usage, writes=False)
            if self._purge is not None and self._space.over(usage, size) and now >= self._purge_at:
                self._purge_at = now + PURGE_SECONDS
                self._file.perform(self._purge)
                usage = self._file.perform(self._usage, writes=False)
            short = self._space.shortage(usage, size, short=self._shortage.reason is not None)
        except Exception as problem:  # noqa: BLE001 - whatever it was, the thread has to live
            if self._file.failure.reason is None:
                self._file.fail(problem)
            return
        if short is not None:
            self._allowance = 0
            self._shortage.begin(short)
        else:
            self._allowance = self._space.left(usage) - ON_DISK * size
            self._shortage.end()

    def _usage(self, connection: sqlite3.Connection) -> Usage:
        return usage(connection, self._file.path)


def megabytes(size: float) -> str:
    """Return `size` in bytes as people read it."""
    return f"{size / 1_000_000:.1f} MB"
