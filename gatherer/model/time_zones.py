"""A time zone as a table of offsets from UTC, which every SQL engine can join."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
END: Final = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
_FROM: Final = datetime(2009, 1, 1, tzinfo=UTC)  # WhatsApp began
_UNTIL: Final = datetime(2051, 1, 1, tzinfo=UTC)  # afterwards the last offset is kept


class Interval(NamedTuple):
    """A period in which the offset does not change."""

    starts_at: datetime
    ends_at: datetime  # exclusive
    offset_minutes: int


def intervals(name: str) -> list[Interval]:
    """Return the offsets of the IANA time zone `name`, without gaps from the year 1 to 9999.

    Raises:
        ZoneInfoNotFoundError, ValueError: there is no such zone.

    """
    zone = ZoneInfo(name)
    result: list[Interval] = []
    start, moment, offset = BEGINNING, _FROM, _minutes(_FROM, zone)
    while moment < _UNTIL:
        following = moment + timedelta(days=1)
        if (changed := _minutes(following, zone)) != offset:
            change = _find_change(moment, following, zone)
            result.append(Interval(start, change, offset))
            start, offset = change, changed
        moment = following
    return [*result, Interval(start, END, offset)]


def _minutes(moment: datetime, zone: ZoneInfo) -> int:
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    return round(offset / timedelta(minutes=1))


def _find_change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the minute between `before` and `after` in which the offset changes."""
    offset = _minutes(before, zone)
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) // 2
        middle = middle.replace(second=0, microsecond=0)
        if _minutes(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after
