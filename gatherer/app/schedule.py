"""`gatherer gather --every` and `--cron`: runs on a schedule, for hosts without cron or Task Scheduler."""

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

STOP_CHECK_SECONDS: Final = (
    0.5  # between two checks: on Windows, a signal does not wake a thread that waits for a lock
)


def run(job: Callable[[], object], *, every: timedelta | None = None, cron: str | None = None) -> None:
    """Call `job` at the interval `every`, starting now, or at the times of `cron`, until SIGTERM or Ctrl-C.

    Runs never overlap, and one run makes up for several missed ones. The failure of a run is logged, and the
    schedule continues. At a stop, the current run is completed.

    Raises:
        ConfigurationError: `cron` is not a cron expression of five fields, or matches no time.

    """
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    scheduler = BackgroundScheduler(
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    )
    if every is not None:
        trigger = IntervalTrigger(seconds=every.total_seconds())
        scheduler.add_job(_run_logged, trigger, args=[job], next_run_time=timestamps.now())
    else:
        try:
            trigger = CronTrigger.from_crontab(cron)
        except ValueError as error:
            raise ConfigurationError(f"invalid cron expression {cron!r}: {error}") from None
        if trigger.get_next_fire_time(None, timestamps.now()) is None:
            raise ConfigurationError(f"invalid cron expression {cron!r}: it matches no time")
        scheduler.add_job(_run_logged, trigger, args=[job])

    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping  # a signal handler must not take locks: the interrupted thread may hold them
        stopping = True

    for name in ("SIGINT", "SIGTERM") if sys.platform != "win32" else ("SIGINT", "SIGBREAK"):
        signal.signal(getattr(signal, name), stop)
    scheduler.start()
    while not stopping:
        time.sleep(STOP_CHECK_SECONDS)
    log.info("stopping after the current run, if there is one")
    scheduler.shutdown(wait=True)


def _run_logged(job: Callable[[], object]) -> None:
    """Call `job`, and log an exception instead of raising it."""
    try:
        job()
    except GathererError as error:
        log.error("the run failed: %s", error)
    except Exception:
        log.exception("the run failed")
