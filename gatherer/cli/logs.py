"""Logging: one line per event, on standard error for systemd and terminals, or in a file for Task Scheduler."""

import logging
import sys
import traceback
from pathlib import Path
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.model.errors import GathererError, output_error

LEVELS: Final = ("debug", "info", "warning", "error")
MAX_FILE_BYTES: Final = 10_000_000
OLD_FILES: Final = 5
MAX_CHAINED_ERRORS: Final = 5  # of a traceback
# Unauthenticated clients can cause these log lines: of each kind at most so many are written in so many seconds.
LIMITED_LOGGER: Final = "gatherer.server"  # with its children: all modules of the package
LIMITED_LINES: Final = 50
LIMITED_SECONDS: Final = 10
# These loggers write bytes of requests, or repeat what gatherer logs itself.
_SILENCED: Final = ("asyncio", "urllib3")


def set_up(level: str = "info", file: Path | None = None) -> None:
    """Send log records of `level` and above to standard error, or to `file`, which is rotated.

    Raises:
        OutputError: the file cannot be written.
        TemporaryError: the disk is full.

    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr) if file is None else _rotating_handler(file)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    handler.addFilter(RateLimit(LIMITED_LOGGER))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def describe_error(error: BaseException) -> str:
    """Return the class of `error`, with its text if texts of this class never contain received data."""
    is_known = isinstance(error, OSError | GathererError) or type(error).__module__ == "sqlite3"
    return f"{type(error).__name__} ({error})" if is_known else type(error).__name__


class LineFormatter(logging.Formatter):
    """Formats a record as one line: time in UTC, level, message. Control characters are escaped, so input cannot forge lines."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
        """Return the time of `record` in UTC."""
        return timestamps.iso(timestamps.from_milliseconds(int(record.created * 1000)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return the classes and places of the exceptions, without their texts, which may contain received data."""
        error: BaseException | None = ei[1]
        parts: list[str] = []
        while error is not None and len(parts) < MAX_CHAINED_ERRORS:
            frames = reversed(traceback.extract_tb(error.__traceback__))
            places = " < ".join(
                f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
            )
            parts.append(f"{describe_error(error)} at {places}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "Traceback: " + ", after ".join(parts)

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line."""
        text = super().format(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class RateLimit(logging.Filter):
    """Limits how many lines of one kind a logger and its children write, so that clients cannot fill the disk.

    Lines are of one kind if they have the same logger and the same text before their arguments are filled in. The
    first line of the next interval says how many were left out.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}  # start of the interval, lines since then

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write `record`."""
        is_limited = super().filter(record)  # whether the record comes from the logger or a child
        if not is_limited:
            return True
        kind = record.name, str(record.msg)
        start, count = self._kinds.get(kind, (record.created, 0))
        if not 0 <= record.created - start < LIMITED_SECONDS:
            if count > LIMITED_LINES:
                record.msg = f"{record.msg} (and {count - LIMITED_LINES} more like it before)"
            start, count = record.created, 0
        self._kinds[kind] = start, count + 1
        return count < LIMITED_LINES


def _rotating_handler(file: Path) -> logging.Handler:
    from logging.handlers import RotatingFileHandler

    try:
        return RotatingFileHandler(
            file, maxBytes=MAX_FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as error:
        raise output_error(f"--log-file {file}", error) from None
