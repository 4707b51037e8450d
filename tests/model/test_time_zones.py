"""Time zones as intervals, and the local times that reports read."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gatherer.model import time_zones
from tests.factories import CONFIGURATION, call, configure, envelope, fill_inbox, status, value


@pytest.mark.parametrize(
    "name",
    ["UTC", "Europe/London", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca"],
)
def test_intervals_agree_with_the_zone_at_every_change(name: str) -> None:
    intervals = time_zones.intervals(name)
    assert (intervals[0].starts_at, intervals[-1].ends_at) == (time_zones.BEGINNING, time_zones.END)
    for interval, following in pairwise(intervals):
        assert interval.ends_at == following.starts_at
        assert interval.offset_minutes != following.offset_minutes
    zone = ZoneInfo(name)
    for changed in intervals[1:]:
        for moment in (changed.starts_at, changed.starts_at - timedelta(minutes=1)):
            (current,) = [
                interval for interval in intervals if interval.starts_at <= moment < interval.ends_at
            ]
            assert moment.astimezone(zone).utcoffset() == timedelta(minutes=current.offset_minutes)
    assert datetime(2026, 7, 1, tzinfo=UTC).astimezone(zone).utcoffset() is not None


def local_times(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return [
            local for (local,) in connection.execute("SELECT occurred_local FROM response_local ORDER BY 1")
        ]


def test_the_view_uses_the_configured_time_zone(tmp_path: Path) -> None:
    """Just before and just after clocks in London go back, on 26 October 2025 at 01:00 UTC."""
    change = int(datetime(2025, 10, 26, 1, tzinfo=UTC).timestamp())
    fill_inbox(
        tmp_path / "inbox.db",
        [envelope(value(statuses=[status("a", at=change - 60), status("b", at=change)]))],
    )
    zone = '[target]\ntime_zone = "Europe/London"\n'
    configure(tmp_path, zone + CONFIGURATION)
    call(tmp_path, "gather")
    assert local_times(tmp_path) == ["2025-10-26 01:00:00.000", "2025-10-26 01:59:00.000"]
    configure(tmp_path, zone.replace("Europe/London", "Asia/Kolkata") + CONFIGURATION)
    call(tmp_path, "gather")
    assert local_times(tmp_path) == ["2025-10-26 06:29:00.000", "2025-10-26 06:30:00.000"]


def test_an_unknown_time_zone_is_rejected(tmp_path: Path) -> None:
    configure(tmp_path, '[target]\ntime_zone = "Europe/Lundon"\n' + CONFIGURATION)
    result = call(tmp_path, "gather")
    assert (
        result.returncode,
        b"target.time_zone: there is no time zone 'Europe/Lundon'" in result.stderr,
    ) == (
        2,
        True,
    )
