"""Whether the inbox may grow: a minimum of free disk space, and a maximum of what the inbox holds."""

import shutil
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gatherer.inbox.committer import Committer, Work
from gatherer.inbox.outage import Outage

MEASURE_SECONDS: Final = 1.0  # between measurements while nothing is written
ON_DISK: Final = 3  # bytes on the disk per byte of a body: in the log, in the file, and the overhead
PURGE_SECONDS: Final = 10.0  # between purges of a full inbox
MARGIN: Final = 0.01  # share of a limit that must be free again before a shortage ends


class Usage(NamedTuple):
    """How much space is used and how much is free, in bytes."""

    held: int  # in the pages of the file that are in use; purging lowers it, though the file stays as large
    log: int  # the write-ahead log
    free: int  # for this account, on the disk of the inbox


@dataclass(frozen=True, kw_only=True)
class DiskSpace:
    """The limits that keep an inbox from filling its disk; 0: no limit."""

    max_inbox_bytes: int = 0
    min_free_bytes: int = 0

    def shortage(self, usage: Usage, size: int, *, short: bool = False) -> str | None:
        """Return why `size` more bytes are refused; None if they are not.

        Args:
            usage: as measured now.
            size: of the bodies to store.
            short: there is a shortage already; it ends only with some margin, so that it does not flicker.

        """
        margin = MARGIN if short else 0
        if self.min_free_bytes and usage.free - size < self.min_free_bytes * (1 + margin):
            return (
                f"the disk has {megabytes(usage.free)} left, and min_free_bytes = {self.min_free_bytes} "
                f"({megabytes(self.min_free_bytes)}) must stay free"
            )
        if self.is_full(usage, size, margin):
            return (
                f"the inbox holds {megabytes(usage.held)}, and max_inbox_bytes = {self.max_inbox_bytes} "
                f"({megabytes(self.max_inbox_bytes)})"
            )
        return None

    def remaining(self, usage: Usage) -> int:
        """Return how many bytes can be written before one of the limits is reached."""
        to_minimum = usage.free - self.min_free_bytes if self.min_free_bytes else sys.maxsize
        to_maximum = self.max_inbox_bytes - usage.held if self.max_inbox_bytes else sys.maxsize
        return min(to_minimum, to_maximum)

    def is_full(self, usage: Usage, size: int, margin: float = 0) -> bool:
        """Return whether the inbox itself is full, which purging can change."""
        return 0 < self.max_inbox_bytes * (1 - margin) < usage.held + size


def usage(connection: sqlite3.Connection, path: Path) -> Usage:
    """Measure the inbox at `path`, which `connection` has open.

    Raises:
        OSError: the disk cannot be measured.
        sqlite3.Error: the file cannot be measured.

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
    """Measures the space on the writer's thread, as rarely as is safe; purges a full inbox; reports a shortage."""

    def __init__(
        self, file: Committer, space: DiskSpace, purge: Work[object] | None, shortage: Outage
    ) -> None:
        """Hold `file` within the limits of `space`; `purge` deletes what may be deleted."""
        self._file = file
        self._space = space
        self._purge = purge
        self._shortage = shortage
        self._purge_at = 0.0  # no purge before then
        self._refused_size = 0
        self._allowance = 0  # bytes that can be written before the next measurement
        self._measure_at = 0.0  # time of the next measurement at the latest

    def check(self, size: int = 0) -> None:
        """Begin or end the shortage, for `size` more bytes; purge first if the inbox is full."""
        now = time.monotonic()
        self._allowance -= ON_DISK * size
        if self._allowance > 0 and now < self._measure_at:
            return  # measuring costs more than a small commit
        self._measure_at = now + MEASURE_SECONDS
        # The largest group that was refused has to fit before a shortage ends.
        size = self._refused_size = size if self._shortage.reason is None else max(size, self._refused_size)
        try:
            usage = self._file.perform(self._usage, writes=False)
            if self._purge is not None and self._space.is_full(usage, size) and now >= self._purge_at:
                self._purge_at = now + PURGE_SECONDS
                self._file.perform(self._purge)
                usage = self._file.perform(self._usage, writes=False)
            shortage = self._space.shortage(usage, size, short=self._shortage.reason is not None)
        except Exception as error:  # noqa: BLE001 - the writer thread must survive
            if self._file.failure.reason is None:
                self._file.fail(error)
            return
        if shortage is not None:
            self._allowance = 0
            self._shortage.begin(shortage)
        else:
            self._allowance = self._space.remaining(usage) - ON_DISK * size
            self._shortage.end()

    def _usage(self, connection: sqlite3.Connection) -> Usage:
        return usage(connection, self._file.path)


def megabytes(size: float) -> str:
    """Return `size` (bytes) as text in megabytes."""
    return f"{size / 1_000_000:.1f} MB"
