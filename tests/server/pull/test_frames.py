"""A response that was damaged on its way is read correctly or raises CorruptFrameError."""

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.inbox.base import Row
from gatherer.inbox.remote import protocol

INBOX = "0123456789abcdef"
ROWS: list[Row] = [
    (3, 1_790_000_000_001, "a", "meta", b"", None, None, None, None),
    (
        4,
        1_790_000_000_002,
        "ä",
        "wati",
        bytes(range(256)),
        "text/plain",
        '{"X": "1"}',
        "203.0.113.9",
        b"d" * 16,
    ),
    (9, 1_790_000_000_003, "a", "meta", os.urandom(3000), "application/json", None, "::1", None),
]


def response(*batches: list[Row], end: protocol.End | None = None) -> bytes:
    last = batches[-1][-1][0] if batches else None
    end = end or protocol.End(inbox_id=INBOX, count=sum(map(len, batches)), last_id=last)
    return b"".join(map(protocol.of_batch, batches)) + protocol.of_end(end)


def read(data: bytes, after: int = 0) -> list[list[Row]]:
    return list(protocol.read(io.BytesIO(data).read, inbox_id=INBOX, after=after))


def test_frames_survive_a_round_trip() -> None:
    assert read(response(ROWS[:2], ROWS[2:])) == [ROWS[:2], ROWS[2:]]
    assert read(response()) == []


WHOLE = response(ROWS[:2], ROWS[2:])


@given(st.integers(0, len(WHOLE) - 1))
def test_a_truncated_response_is_detected(length: int) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_detected_and_no_wrong_row_is_read(place: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= change
    batches: list[list[Row]] = []
    with pytest.raises(protocol.CorruptFrameError):
        batches.extend(protocol.read(io.BytesIO(bytes(damaged)).read, inbox_id=INBOX, after=0))
    assert batches == [ROWS[:2], ROWS[2:]][: len(batches)]


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_rejected(data: bytes) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(data)


@pytest.mark.parametrize(
    "frames",
    [
        response(ROWS[2:], ROWS[:2]),  # out of order
        response(ROWS, ROWS),  # twice
        protocol.of_batch(ROWS[:2])
        + protocol.of_end(protocol.End(inbox_id=INBOX, count=3, last_id=9)),  # one missing
        response(ROWS, end=protocol.End(inbox_id="another", count=3, last_id=9)),
    ],
)
def test_misplaced_frames_are_detected(frames: bytes) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(frames)


def test_rows_outside_the_request_are_rejected() -> None:
    with pytest.raises(protocol.CorruptFrameError, match="order"):
        read(WHOLE, after=3)


def test_a_frame_that_decompresses_beyond_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_PAYLOAD_BYTES", 20_000)
    with pytest.raises(protocol.CorruptFrameError, match="too large"):
        read(response([(1, 1, "a", "meta", bytes(1_000_000), None, None, None, None)]))
