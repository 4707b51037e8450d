"""Times: parsed from what providers send, kept as aware UTC, and written for SQL and people."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

# WhatsApp began in 2009. A time outside is invalid (0, a sentinel in the year 9999).
EARLIEST: Final = datetime(2009, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_EARLIEST_SECONDS: Final = EARLIEST.timestamp()
_LATEST_SECONDS: Final = LATEST.timestamp()
_LONGEST_NUMBER: Final = 20  # digits; a longer number is not a time
_FRACTION: Final = re.compile(r"\s*\d{1,20}(\.\d{0,20})?([eE]\+?\d{1,2})?\s*\Z", re.ASCII)
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s*(Z|z|[+-]\d\d:?\d\d)?\Z", re.ASCII
)


def parse(value: object) -> datetime | None:
    """Read a provider's time; None if it is missing, invalid, or outside 2009…2100.

    Accepts Unix seconds, milliseconds, microseconds or nanoseconds as number or text: their ranges do not overlap. And
    ISO-8601 with up to nine fractional digits and a zone with or without a colon; a text without zone is UTC, and a
    leap second is the first second of the next minute. Precision is milliseconds.
    """
    kind = type(value)
    if kind is str:
        return _parse_text(value)
    if kind is int or kind is float:
        return _from_number(value)  # type: ignore[arg-type]
    return None


@lru_cache(maxsize=8192)
def _parse_text(text: str) -> datetime | None:
    if text.isdigit() and text.isascii():
        return _from_number(int(text)) if len(text) <= _LONGEST_NUMBER else None
    match = _ISO.match(text.strip())
    if match is None:
        return _from_number(float(text)) if _FRACTION.match(text) else None
    day, clock, fraction, zone = match.groups()
    is_leap_second = clock.endswith(":60")
    if is_leap_second:
        clock = f"{clock[:-2]}59"
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    milliseconds = ((fraction or "") + "000")[:3]
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{milliseconds}{zone}").astimezone(UTC)
        if is_leap_second:
            moment += timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return moment if EARLIEST <= moment < LATEST else None


def _from_number(number: float) -> datetime | None:
    if _EARLIEST_SECONDS <= number < _LATEST_SECONDS:  # NaN and infinities fail this
        if type(number) is int:
            return datetime.fromtimestamp(number, UTC)
        return from_milliseconds(round(number * 1000))
    for units in (1_000, 1_000_000, 1_000_000_000):  # in a second
        if _EARLIEST_SECONDS * units <= number < _LATEST_SECONDS * units:
            return from_milliseconds(int(number * 1_000 // units))
    return None


@lru_cache(maxsize=8192)  # under load several things happen in one millisecond
def from_milliseconds(milliseconds: int) -> datetime:
    """Return the UTC moment that lies `milliseconds` after 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)  # rounds to microseconds: exact until 2100


def to_milliseconds(moment: datetime) -> int:
    """Return whole milliseconds since 1970 of an aware `moment`."""
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def now() -> datetime:
    """Return the present moment in UTC, cut to milliseconds."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def iso(moment: datetime) -> str:
    """Return `moment` (UTC) as ISO-8601 with milliseconds and `Z`, for people and for JSON."""
    return moment.isoformat("T", "milliseconds")[:23] + "Z"
