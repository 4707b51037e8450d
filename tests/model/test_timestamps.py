"""Times as providers write them: parsed exactly or rejected."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.model import timestamps
from gatherer.targets import sql_datetime

MOMENT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
moments = st.integers(
    timestamps.to_milliseconds(timestamps.EARLIEST), timestamps.to_milliseconds(timestamps.LATEST) - 1
).map(lambda milliseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds))


@pytest.mark.parametrize(
    "notation",
    [
        1790000000,
        1790000000.0,
        1790000000000,
        "1790000000",
        "1790000000000",
        "1790000000.0",
        "1.79e9",
        "2026-09-21T14:13:20Z",
        "2026-09-21 14:13:20",
        "2026-09-21t14:13:20".upper(),
        "2026-09-21T14:13:20.0000000Z",
        "2026-09-21T14:13:20,000+00:00",
        "2026-09-21T16:13:20+0200",
        "2026-09-21T16:13:20.000+02:00",
        "2026-09-21T11:13:20-0300",
        " 2026-09-21T14:13:20Z ",
        1_790_000_000_000_000,  # microseconds
        "1790000000000000",
        1_790_000_000_000_000_999,  # nanoseconds
    ],
)
def test_every_notation_of_a_moment_is_parsed(notation: object) -> None:
    assert timestamps.parse(notation) == MOMENT


@pytest.mark.parametrize(
    "notation",
    [
        None, "", " ", "soon", "0", 0, -1790000000, "-1790000000", 1, 1e400, float("nan"), "nan", "inf", "1e400",
        "1_790_000_000", "١٧٩٠٠٠٠٠٠٠", True, [], {}, [1790000000], b"1790000000", "9" * 5000, 9 * 10**4200, 10**400,
        253402300799, "253402300799", 1000000000, "2008-12-31T23:59:59Z", "2100-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-09-21T25:00:00Z", "2026-09-21T14:13:20+99:99",
        "2026-09-21", "21.09.2026 14:13:20", 4_200_000_000_000_000, "2026-09-21T14:13:61Z",
    ],
)  # fmt: skip
def test_invalid_times_are_none(notation: object) -> None:
    assert timestamps.parse(notation) is None


def test_fractions_are_truncated_to_milliseconds() -> None:
    assert timestamps.parse("2026-09-21T14:13:20.1239999Z") == MOMENT + timedelta(milliseconds=123)
    assert timestamps.parse("2026-09-21T14:13:20.5Z") == MOMENT + timedelta(milliseconds=500)


@given(moments)
def test_a_moment_survives_each_of_our_formats(moment: datetime) -> None:
    assert sql_datetime.parse(sql_datetime.text(moment)) == moment
    assert timestamps.from_milliseconds(timestamps.to_milliseconds(moment)) == moment
    assert timestamps.parse(timestamps.iso(moment)) == moment


@given(moments)
def test_milliseconds_are_parsed_exactly(moment: datetime) -> None:
    milliseconds = timestamps.to_milliseconds(moment)
    assert timestamps.parse(milliseconds) == timestamps.parse(str(milliseconds)) == moment
    assert timestamps.parse(milliseconds / 1000) == moment


@given(st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.booleans(), st.none()))
def test_parse_never_raises(notation: object) -> None:
    moment = timestamps.parse(notation)
    assert moment is None or timestamps.EARLIEST <= moment < timestamps.LATEST


@given(moments, moments)
def test_sql_text_sorts_like_the_moments_it_represents(first: datetime, second: datetime) -> None:
    assert (sql_datetime.text(first) < sql_datetime.text(second)) == (first < second)


def test_now_is_in_utc_and_in_whole_milliseconds() -> None:
    moment = timestamps.now()
    assert moment.tzinfo is UTC
    assert moment.microsecond % 1000 == 0


def test_a_leap_second_is_the_first_second_of_the_next_minute() -> None:
    assert timestamps.parse("2016-12-31T23:59:60Z") == datetime(2017, 1, 1, tzinfo=UTC)
    assert timestamps.parse("2016-12-31T23:59:60.5+00:00") == datetime(
        2017, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC
    )
