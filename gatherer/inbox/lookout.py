"""Looking at the disk as rarely as it takes never to fill it, and having room made in a full inbox."""

import sqlite3
import time
from typing import Final

from gatherer.inbox import disk_space
from gatherer.inbox.committer import Committer, Work
from gatherer.inbox.outage import Outage

LOOK_SECONDS: Final = 1.0  # between looks at the disk while nothing is to be written
ON_DISK: Final = 3  # bytes on the disk for one of a body: in the log, in the file, and what goes with it
PURGE_SECONDS: Final = 10.0  # between attempts to make room in a full inbox


class Lookout:
    """Finds out whether there is room, and tells the shortage when there is none. On the writer's thread."""

    def __init__(
        self, file: Committer, space: disk_space.DiskSpace, make_room: Work[object] | None, shortage: Outage
    ) -> None:
        """Look after `file` within the limits of `space`; `make_room` deletes what may go."""
        self._file = file
        self._space = space
        self._make_room = make_room
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
            if self._make_room is not None and self._space.over(usage, size) and now >= self._purge_at:
                self._purge_at = now + PURGE_SECONDS
                self._file.perform(self._make_room)
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

    def _usage(self, connection: sqlite3.Connection) -> disk_space.Usage:
        return disk_space.usage(connection, self._file.path)
