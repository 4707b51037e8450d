"""Logging: one line per event on standard error, which systemd, Task Scheduler and people can all keep."""

import logging
import sys
from typing import Final

from gatherer import timestamps

LEVELS: Final = ("debug", "info", "warning", "error")


class _OneLine(logging.Formatter):
    """Time in UTC, level, message; control characters escaped, so that no input can forge a line."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return timestamps.iso(timestamps.from_milliseconds(int(record.created * 1000)))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def set_up(level: str = "info") -> None:
    """Send log records of `level` and above to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Libraries that print request bytes or repeat what we already say.
    for name in ("aiohttp", "aiohttp.server", "aiohttp.access", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
