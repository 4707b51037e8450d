"""A kernel lock on a file beside the data: it dies with its process, on Linux and on Windows."""

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

WRITTEN_AFTER_SECONDS: Final = 0.2


class LockHeldError(GathererError):
    """Another process has the lock."""

    exit_code = 2

    def __init__(self, path: Path, holder: str, since: datetime | None) -> None:
        super().__init__(f"{path} is held by {holder}")
        self.holder = holder
        self.since = since


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` for the duration of the block, or raise :class:`LockHeldError` at once.

    Who holds it is written to `<path>.holder`, for people: the lock itself is the kernel's.
    """
    from filelock import FileLock, Timeout

    holder_file = path.with_name(path.name + ".holder")
    lock = FileLock(path, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        time.sleep(WRITTEN_AFTER_SECONDS)  # whoever has just got the lock has not said so yet
        raise LockHeldError(path, *_read_holder(holder_file)) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": timestamps.iso(timestamps.now())}
        holder_file.write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # somebody may be reading it
            holder_file.unlink()
        lock.release()


def _read_holder(holder_file: Path) -> tuple[str, datetime | None]:
    try:
        holder = json.loads(holder_file.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']} since {holder['since']}", timestamps.parse(
            holder["since"]
        )
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
    ):  # being written this very moment, or removed by hand
        return "another process", None
