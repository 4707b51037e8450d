"""The maintenance of an inbox by `serve`: purge, return free space, keep the write-ahead log short."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Final, TypeVar

from gatherer.inbox import consumers, sqlite_file
from gatherer.inbox.retention import PurgeStep, Retention, purge_step, try_truncate_log, vacuum_step
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter
from gatherer.model import timestamps
from gatherer.model.errors import TemporaryError

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 10.0
PAUSE_FACTOR: Final = 4  # pause after a step, in durations of the step: notifications are written meanwhile
SHORTEST_PAUSE_SECONDS: Final = 0.005
MAX_SPACE_STEPS: Final = 20  # of a purge for space, during which notifications wait
SHUTDOWN_SECONDS: Final = 2.0  # for the step that is being performed

T = TypeVar("T")


class InboxMaintenance:
    """The maintenance of one inbox, while its writer stores notifications."""

    def __init__(
        self, writer: InboxWriter, retention: Retention, *, round_seconds: float = ROUND_SECONDS
    ) -> None:
        """Maintain the inbox of `writer` every `round_seconds` seconds; purge what `retention` allows."""
        self._writer = writer
        self._retention = retention
        self._round_seconds = round_seconds
        self._log_file = Path(f"{writer.path}-wal")
        self._changes = -1  # of the connection, in the last round
        self._blocked_by_reader = False

    async def run(self) -> None:
        """Perform a round every `round_seconds` seconds until cancelled. A round that fails is logged, the next one retries."""
        while True:
            await asyncio.sleep(self._round_seconds)
            try:
                await self.perform_round()
            except InboxUnavailableError:
                pass  # the writer has logged why, and tries to recover
            except (sqlite3.Error, OSError) as error:
                log.warning("the maintenance of the inbox failed, retrying: %s", error)
            except Exception:
                log.exception("the maintenance of the inbox failed, retrying")

    async def perform_round(self) -> list[PurgeStep]:
        """Purge and vacuum what can be; return the steps of purging."""
        steps: list[PurgeStep] = []
        try:
            await self._purge(steps)
        finally:  # also when it was interrupted: what was deleted is logged
            report(steps)
        while await self._log_is_short() and await self._step(vacuum_step) > 0:
            pass
        await self._when_idle()
        return steps

    async def _purge(self, steps: list[PurgeStep]) -> None:
        """Purge while the write-ahead log stays short; append the steps to `steps`."""
        known = await asyncio.to_thread(consumers.read_all, self._writer.path)

        def work(connection: sqlite3.Connection) -> PurgeStep:
            step = purge_step(connection, self._retention, known, timestamps.now())
            if step.count:
                steps.append(step)  # here, so that a step is logged also if this task was cancelled meanwhile
            return step

        while await self._log_is_short() and (await self._step(work)).count:
            pass

    async def _step(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Perform one step on the writer's thread, then pause, so that it can store notifications."""
        started = time.perf_counter()
        result = await _perform(self._writer, work)
        await asyncio.sleep(max(SHORTEST_PAUSE_SECONDS, PAUSE_FACTOR * (time.perf_counter() - started)))
        return result

    async def _log_is_short(self) -> bool:
        """Return whether the write-ahead log may grow by what purging writes; try to truncate it if not."""
        if self._log_file.stat().st_size <= sqlite_file.LOG_BYTES:
            self._blocked_by_reader = False
            return True
        if await _perform(self._writer, try_truncate_log):
            return True
        if not self._blocked_by_reader:
            log.warning(
                "a program has been reading %s without a pause: its write-ahead log has grown to %d MB, and "
                "nothing is purged until the program ends its transaction",
                self._writer.path,
                self._log_file.stat().st_size // 1_000_000,
            )
        self._blocked_by_reader = True
        return False

    async def _when_idle(self) -> None:
        """Truncate the write-ahead log if nothing has been written for a whole round."""
        changes = await _perform(self._writer, lambda connection: connection.total_changes)
        if changes == self._changes and self._log_file.stat().st_size:
            await _perform(self._writer, try_truncate_log)
        self._changes = changes


def purge_for_space(path: Path, connection: sqlite3.Connection) -> None:
    """Purge the oldest notifications that every consumer has, even if they are young: the inbox at `path` is full.

    Raises:
        sqlite3.Error: the file cannot be written.

    """
    known, steps = consumers.read_all(path), []
    for _ in range(MAX_SPACE_STEPS):
        step = purge_step(connection, Retention(keep_days=0), known, timestamps.now())
        if not step.count:
            break
        steps.append(step)
    report(steps)


def purge_now(writer: InboxWriter, retention: Retention) -> list[PurgeStep]:
    """Purge and vacuum everything that can be, without a pause: while `serve` is stopped.

    Raises:
        TemporaryError: the inbox cannot be written at present.

    """
    known = consumers.read_all(writer.path)
    steps: list[PurgeStep] = []
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
    except (InboxUnavailableError, sqlite3.Error) as error:
        raise TemporaryError(f"the inbox {writer.path} cannot be written at present: {error}") from error
    finally:
        report(steps)
    return steps


def report(steps: list[PurgeStep]) -> None:
    """Log what was purged, as a warning where not every consumer had gathered it."""
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


async def _perform(writer: InboxWriter, work: Callable[[sqlite3.Connection], T]) -> T:
    future = writer.perform(work)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        wait([future], timeout=SHUTDOWN_SECONDS)  # short, or it never begins
        raise
