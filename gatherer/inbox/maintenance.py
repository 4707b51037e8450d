"""What `serve` does to its inbox beside receiving: purge, give space back, keep the write-ahead log short."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Final, TypeVar

from gatherer.inbox import consumers, sqlite_file
from gatherer.inbox.retention import Retention, Step, purge_step, try_truncate_log, vacuum_step
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter
from gatherer.model import timestamps
from gatherer.model.errors import TemporaryError

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 10.0
REST: Final = 4  # times as long as a step took is left to arrivals before the next one
SHORTEST_REST_SECONDS: Final = 0.005
STEPS_FOR_ROOM: Final = 20  # while arrivals wait
SHUTDOWN_SECONDS: Final = 2.0  # for the step that is being done

T = TypeVar("T")


class InboxMaintenance:
    """The tidying of one inbox, while its writer takes in notifications."""

    def __init__(
        self, writer: InboxWriter, retention: Retention, *, round_seconds: float = ROUND_SECONDS
    ) -> None:
        """Tidy the inbox of `writer` every `round_seconds` as `retention` says."""
        self._writer = writer
        self._retention = retention
        self._round_seconds = round_seconds
        self._log_file = Path(f"{writer.path}-wal")
        self._changes = -1  # of the connection, when we last looked
        self._reader_in_the_way = False

    async def run(self) -> None:
        """Tidy up until cancelled. What goes wrong is logged, and tried again in the next round."""
        while True:
            await asyncio.sleep(self._round_seconds)
            try:
                await self.tidy()
            except InboxUnavailableError:
                pass  # the writer has logged why, and is at it
            except (sqlite3.Error, OSError) as problem:
                log.warning("the inbox could not be tidied up, trying again: %s", problem)
            except Exception:
                log.exception("the inbox could not be tidied up")

    async def tidy(self) -> list[Step]:
        """Do one round: purge and give back what can be; return what was purged, step by step."""
        steps: list[Step] = []
        try:
            await self._purge(steps)
        finally:  # also when it was interrupted: what is gone is said to be gone
            report(steps)
        while await self._log_is_short() and await self._step(vacuum_step) > 0:
            pass
        await self._when_idle()
        return steps

    async def _purge(self, steps: list[Step]) -> None:
        """Purge what may go, as long as that does not swell the write-ahead log; add to `steps` what went."""
        known = await asyncio.to_thread(consumers.known, self._writer.path)

        def work(connection: sqlite3.Connection) -> Step:
            step = purge_step(connection, self._retention, known, timestamps.now())
            if step.count:
                steps.append(step)  # here, so that it is known also if nobody waits for it any more
            return step

        while await self._log_is_short() and (await self._step(work)).count:
            pass

    async def _step(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one step on the writer's thread, then leave it to arrivals for a while."""
        clock = time.perf_counter()
        found = await _performed(self._writer, work)
        await asyncio.sleep(max(SHORTEST_REST_SECONDS, REST * (time.perf_counter() - clock)))
        return found

    async def _log_is_short(self) -> bool:
        """Return whether the write-ahead log has room for what purging writes; try to make some if not."""
        if self._log_file.stat().st_size <= sqlite_file.LOG_BYTES:
            self._reader_in_the_way = False
            return True
        if await _performed(self._writer, try_truncate_log):
            return True
        if not self._reader_in_the_way:
            log.warning(
                "a program has been reading %s without a pause: its write-ahead log has grown to %d MB, and "
                "nothing is purged meanwhile",
                self._writer.path,
                self._log_file.stat().st_size // 1_000_000,
            )
        self._reader_in_the_way = True
        return False

    async def _when_idle(self) -> None:
        """Empty the write-ahead log if nothing has been written for a whole round."""
        changes = await _performed(self._writer, lambda connection: connection.total_changes)
        if changes == self._changes and self._log_file.stat().st_size:
            await _performed(self._writer, try_truncate_log)
        self._changes = changes


def purge_for_space(path: Path, connection: sqlite3.Connection) -> None:
    """Purge the oldest of what every consumer has, however young it is: the inbox at `path` is full.

    Raises:
        sqlite3.Error: it cannot be written.

    """
    known, steps = consumers.known(path), []
    for _ in range(STEPS_FOR_ROOM):
        step = purge_step(connection, Retention(keep_days=0), known, timestamps.now())
        if not step.count:
            break
        steps.append(step)
    report(steps)


def purge_now(writer: InboxWriter, retention: Retention) -> list[Step]:
    """Purge and give back all that can be, without a pause: while `serve` is stopped.

    Raises:
        TemporaryError: the inbox cannot be written just now.

    """
    known = consumers.known(writer.path)
    steps: list[Step] = []
    try:
        while True:
            now = timestamps.now()
            step = writer.perform(lambda c: purge_step(c, retention, known, now)).result()  # noqa: B023
            if not step.count:
                break
            steps.append(step)
        while writer.perform(vacuum_step).result():
            pass
        writer.perform(try_truncate_log).result()
    except (InboxUnavailableError, sqlite3.Error) as problem:
        raise TemporaryError(f"the inbox {writer.path} cannot be written just now: {problem}") from problem
    finally:
        report(steps)
    return steps


def report(steps: list[Step]) -> None:
    """Log what was purged, loudly where somebody had not gathered it."""
    if not steps:
        return
    count = sum(step.count for step in steps)
    log.info("purged %d notifications (%d to %d)", count, steps[0].first, steps[-1].last)
    unread = sum(step.unread for step in steps)
    if unread:
        log.warning(
            "LOST: %d notifications up to %d were purged although not every consumer had gathered them: they "
            "were older than keep_days_at_most = %d days",
            unread,
            steps[-1].last,
            steps[-1].keep_days,
        )


async def _performed(writer: InboxWriter, work: Callable[[sqlite3.Connection], T]) -> T:
    future = writer.perform(work)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        wait([future], timeout=SHUTDOWN_SECONDS)  # it is short, or never begins
        raise
