"""Whether there is room for more: a floor of free disk, and a ceiling for what the inbox holds."""

import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

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


def megabytes(size: float) -> str:
    """Return `size` in bytes as people read it."""
    return f"{size / 1_000_000:.1f} MB"
