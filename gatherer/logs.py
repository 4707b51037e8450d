"""Logging: one line per event, on standard error for systemd and people, or in a file for Task Scheduler."""

import logging
import sys
from pathlib import Path
from typing import Final

from gatherer import timestamps
from gatherer.errors import ConfigurationError

FILE_BYTES: Final = 10_000_000
FILES_KEPT: Final = 5
LEVELS: Final = ("debug", "info", "warning", "error")


class _OneLine(logging.Formatter):
    """Time in UTC, level, message; control characters escaped, so that no input can forge a line."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return timestamps.iso(timestamps.from_milliseconds(int(record.created * 1000)))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def set_up(level: str = "info", file: Path | None = None) -> None:
    """Send log records of `level` and above to standard error, or to `file`, which is rotated.

    Raises:
        ConfigurationError: the file cannot be written.

    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if file is None else _rotated(file)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Libraries that print request bytes or repeat what we already say.
    for name in ("aiohttp", "aiohttp.server", "aiohttp.access", "asyncio", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _rotated(file: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    try:
        return RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as error:
        raise ConfigurationError(f"--log-file {file} cannot be written: {error.strerror or error}") from None
