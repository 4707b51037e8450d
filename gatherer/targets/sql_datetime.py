"""Times as text for SQL: it sorts by time, and SQL Server converts it to datetime2(3)."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

from gatherer.model import time_zones

_WHOLE_SECONDS: Final = len("2026-11-21T12:00:00Z")


@lru_cache(maxsize=8192)  # a campaign's receipts share their seconds
def text(moment: datetime) -> str:
    """Return `moment` (UTC) as `YYYY-MM-DD HH:MM:SS.mmm`."""
    iso: str = msgspec.to_builtins(moment)  # 2026-11-21T12:00:00[.123456]Z, much faster than isoformat
    return f"{iso[:10]} {iso[11:19]}{iso[19:23] if len(iso) > _WHOLE_SECONDS else '.000'}"


def parse(text: str) -> datetime:
    """Return the time (aware UTC) of a text that :func:`text` returned."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def offsets(time_zone: str) -> list[tuple[str, str, int]]:
    """Return the rows of the table `time_zone_offset` for the IANA zone `time_zone`, in the order of their starts.

    They change when the time zone database of this machine is updated.
    """
    return [
        (text(starts_at), text(ends_at), minutes)
        for starts_at, ends_at, minutes in time_zones.intervals(time_zone)
    ]
