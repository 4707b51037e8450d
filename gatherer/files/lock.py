"""A lock file that only one process can hold. The kernel releases it when the process ends, on Linux and Windows."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from gatherer.model import timestamps
from gatherer.model.errors import GathererError

HOLDER_WRITE_SECONDS: Final = (
    0.2  # within this time after it got the lock, a process writes its name beside it
)


class LockHeldError(GathererError):
    """Another process holds the lock."""

    exit_code = 2

    def __init__(self, path: Path, holder: str, since: datetime | None) -> None:
        """Describe who holds the lock file `path`: `holder`, as a phrase, since the time `since` if it is known."""
        super().__init__(f"{path} is held by {holder}")
        self.holder = holder
        self.since = since


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the duration of the block.

    The file `<path>.holder` names the process that holds the lock. It is for error messages only: the kernel keeps
    the lock itself.

    Raises:
        LockHeldError: another process holds the lock; raised without waiting for it.

    """
    from filelock import FileLock, Timeout

    holder_file = path.with_name(path.name + ".holder")
    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        time.sleep(
            HOLDER_WRITE_SECONDS
        )  # a process that has just got the lock may not have written its name yet
        raise LockHeldError(path, *_read_holder(holder_file)) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": timestamps.iso(timestamps.now())}
        holder_file.write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # Windows: another process may be reading it
            holder_file.unlink()
        lock.release()


def _read_holder(holder_file: Path) -> tuple[str, datetime | None]:
    """Return which process holds the lock, as a phrase, and since when."""
    try:
        holder = json.loads(holder_file.read_text(encoding="utf-8"))
        since = holder["since"]
        return f"process {holder['pid']} on {holder['host']} since {since}", timestamps.parse(since)
    except (OSError, ValueError, LookupError, TypeError):  # half written, or deleted by the operator
        return "another process", None
