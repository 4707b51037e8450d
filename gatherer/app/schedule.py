"""Runs on a schedule, for hosts without cron or Task Scheduler."""

import logging
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Final

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, GathererError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5  # how often to look whether to stop: Windows wakes nobody who waits for a lock


def run(one_run: Callable[[], object], *, every: timedelta | None = None, cron: str | None = None) -> None:
    """Call `one_run` `every` so often, starting now, or at the times of `cron`, until SIGTERM or Ctrl-C.

    Runs never overlap; missed ones are made up for by one. A run that fails is logged, and the next
    one comes. A stop lets the current run finish.

    Raises:
        ConfigurationError: `cron` is no crontab expression of five fields.

    """
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    scheduler = BackgroundScheduler(
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    if every is not None:
        trigger = IntervalTrigger(seconds=every.total_seconds())
        scheduler.add_job(_logged, trigger, args=[one_run], next_run_time=timestamps.now())
    else:
        try:
            trigger = CronTrigger.from_crontab(cron)
        except ValueError as error:
            raise ConfigurationError(f"{cron!r} is no crontab expression: {error}") from None
        if trigger.get_next_fire_time(None, timestamps.now()) is None:
            raise ConfigurationError(f"{cron!r} is a time that never comes")
        scheduler.add_job(_logged, trigger, args=[one_run])

    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping  # and nothing that takes a lock: the thread that is interrupted may hold it
        stopping = True

    for name in ("SIGINT", "SIGTERM") if sys.platform != "win32" else ("SIGINT", "SIGBREAK"):
        signal.signal(getattr(signal, name), stop)
    scheduler.start()
    while not stopping:
        time.sleep(LOOK_SECONDS)
    log.info("stopping after the current run, if there is one")
    scheduler.shutdown(wait=True)


def _logged(one_run: Callable[[], object]) -> None:
    try:
        one_run()
    except GathererError as error:
        log.error("the run failed: %s", error)
    except Exception:
        log.exception("the run failed")
