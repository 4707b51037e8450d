"""Logging: one line per event, on standard error for systemd and people, or in a file for Task Scheduler."""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, GathererError

FILE_BYTES: Final = 10_000_000
FILES_KEPT: Final = 5
LEVELS: Final = ("debug", "info", "warning", "error")
_DEEPEST: Final = 5  # exceptions, one after the other
FLOOD_LINES: Final = 50  # of one kind, in so many seconds
FLOOD_SECONDS: Final = 10
STRANGERS: Final = (  # make these log
    "gatherer.server.webhook.handler",
    "gatherer.server.http.connection",
    "gatherer.server.http.connection_pool",
    "gatherer.server.http.listener",
    "gatherer.server.http.error_responses",
)


def described(error: BaseException) -> str:
    """Return what kind of error it is, with its text only where that never holds a value from outside."""
    known = isinstance(error, OSError | GathererError) or type(error).__module__ == "sqlite3"
    return f"{type(error).__name__} ({error})" if known else type(error).__name__


class _OneLine(logging.Formatter):
    """Time in UTC, level, message; control characters escaped, so that no input can forge a line."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        return timestamps.iso(timestamps.from_milliseconds(int(record.created * 1000)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return where an exception came from; the standard form has its text, and that may hold what people wrote."""
        error: BaseException | None = ei[1]
        parts: list[str] = []
        while error is not None and len(parts) < _DEEPEST:
            frames = reversed(traceback.extract_tb(error.__traceback__))
            where = " < ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in frames)
            parts.append(f"{described(error)} at {where}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "Traceback: " + ", after ".join(parts)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _Flood(logging.Filter):
    """Lets through so many lines of one kind, and then only their number: strangers must not fill the disk.

    Of one kind are lines with one text, whatever is filled into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}  # since when, and how many since then

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.name, str(record.msg)
        since, count = self._kinds.get(kind, (record.created, 0))
        if not 0 <= record.created - since < FLOOD_SECONDS:
            if count > FLOOD_LINES:
                record.msg = f"{record.msg} (and {count - FLOOD_LINES} more like it before)"
            since, count = record.created, 0
        self._kinds[kind] = since, count + 1
        return count < FLOOD_LINES


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
    for name in STRANGERS:
        logger = logging.getLogger(name)
        logger.filters = [_Flood()]
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _rotated(file: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    try:
        return RotatingFileHandler(
            file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as error:
        raise ConfigurationError(f"--log-file {file} cannot be written: {error.strerror or error}") from None
