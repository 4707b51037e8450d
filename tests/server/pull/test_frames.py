"""Whatever happens to an answer on its way, what comes out of it is whole and right, or Damaged."""

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


def answer(*batches: list[Row], end: protocol.End | None = None) -> bytes:
    last = batches[-1][-1][0] if batches else None
    end = end or protocol.End(inbox_id=INBOX, count=sum(map(len, batches)), last_id=last)
    return b"".join(map(protocol.of_batch, batches)) + protocol.of_end(end)


def read(data: bytes, after: int = 0) -> list[list[Row]]:
    return list(protocol.read(io.BytesIO(data).read, inbox_id=INBOX, after=after))


def test_what_was_sent_comes_out() -> None:
    assert read(answer(ROWS[:2], ROWS[2:])) == [ROWS[:2], ROWS[2:]]
    assert read(answer()) == []


WHOLE = answer(ROWS[:2], ROWS[2:])


@given(st.integers(0, len(WHOLE) - 1))
def test_an_answer_that_was_cut_off_anywhere_is_noticed(length: int) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed_and_nothing_wrong_comes_out(place: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= change
    found: list[list[Row]] = []
    with pytest.raises(protocol.CorruptFrameError):
        found.extend(protocol.read(io.BytesIO(bytes(damaged)).read, inbox_id=INBOX, after=0))
    assert found == [ROWS[:2], ROWS[2:]][: len(found)]


@given(st.binary(max_size=200))
def test_anything_else_is_noticed(data: bytes) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(data)


@pytest.mark.parametrize(
    "wrong",
    [
        answer(ROWS[2:], ROWS[:2]),  # out of order
        answer(ROWS, ROWS),  # twice
        protocol.of_batch(ROWS[:2])
        + protocol.of_end(protocol.End(inbox_id=INBOX, count=3, last_id=9)),  # one missing
        answer(ROWS, end=protocol.End(inbox_id="another", count=3, last_id=9)),
    ],
)
def test_whole_frames_in_the_wrong_place_are_noticed(wrong: bytes) -> None:
    with pytest.raises(protocol.CorruptFrameError):
        read(wrong)


def test_what_was_not_asked_for_is_noticed() -> None:
    with pytest.raises(protocol.CorruptFrameError, match="order"):
        read(WHOLE, after=3)


def test_a_frame_that_unpacks_without_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_PAYLOAD_BYTES", 20_000)
    with pytest.raises(protocol.CorruptFrameError, match="too large"):
        read(answer([(1, 1, "a", "meta", bytes(1_000_000), None, None, None, None)]))
