"""Redaction removes the bytes of bodies from the files of an inbox; ids and positions stay valid."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.inbox.base import Bounds, Selection
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.redaction import (
    STEP_BYTES,
    STEP_ROWS,
    InboxRedaction,
    from_json_values,
    redact,
    steps,
    to_json_values,
)
from gatherer.inbox.writer import InboxWriter, NotificationRow
from gatherer.model.notification import body_key
from tests.factories import fill_inbox, inbox_files

SECRET = b"what a person wrote "


def apply(path: Path, *redactions: InboxRedaction) -> int:
    async def write() -> int:
        with closing(InboxWriter(path)) as writer:
            return await redact(writer, redactions)

    return asyncio.run(write())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    bodies = [SECRET * size for size in (1, 100, 5000)] + [
        b"nothing"
    ]  # in one page, in several pages, and without the secret
    fill_inbox(tmp_path / "inbox.db", bodies)
    return tmp_path / "inbox.db"


def test_redaction_removes_the_bytes_and_preserves_ids_order_and_digests(path: Path) -> None:
    with closing(LocalInbox(path)) as inbox:
        before = inbox.read(0, Bounds())
    remainders = [b"", b"rest", b"r" * 90_000]
    assert (
        apply(
            path,
            *(
                InboxRedaction(n.id, body_key(n.body), remainder)
                for n, remainder in zip(before, remainders, strict=False)
            ),
        )
        == 3
    )
    with closing(LocalInbox(path)) as inbox:
        after = inbox.read(0, Bounds())
    assert [n.body for n in after] == [*remainders, b"nothing"]
    assert [n.digest() for n in after] == [n.digest() for n in before], "positions refer to the digest"
    assert [n.is_erased for n in after] == [True, False, False, False]
    assert [(n.id, n.received_at, n.endpoint) for n in after] == [
        (n.id, n.received_at, n.endpoint) for n in before
    ]
    assert all(SECRET not in file.read_bytes() for file in inbox_files(path.parent))


def test_redaction_also_overwrites_purged_pages(tmp_path: Path) -> None:
    """Purging only marks pages as free; they may hold data of the same person."""
    bodies = [SECRET * size for size in (3, 2000, 7)] + [b"other" * 3000] * 40 + [SECRET, b"last"]
    fill_inbox(tmp_path / "inbox.db", bodies)

    async def write() -> None:
        with closing(InboxWriter(tmp_path / "inbox.db")) as writer:
            purge = writer.perform(
                lambda connection: connection.execute("DELETE FROM notification WHERE id <= 20")
            )
            await asyncio.wrap_future(purge)
            await redact(writer, [InboxRedaction(44, body_key(SECRET), b"")])

    asyncio.run(write())
    assert all(SECRET not in file.read_bytes() for file in inbox_files(tmp_path))
    with closing(LocalInbox(tmp_path / "inbox.db")) as inbox:
        assert [n.body for n in inbox.read(42, Bounds())] == [b"other" * 3000, b"", b"last"]


def test_a_notification_that_has_changed_is_not_redacted(path: Path) -> None:
    assert (
        apply(path, InboxRedaction(1, body_key(b"another body"), b""), InboxRedaction(99, body_key(b""), b""))
        == 0
    )
    assert apply(path, InboxRedaction(1, body_key(SECRET), b"one")) == 1
    assert apply(path, InboxRedaction(1, body_key(SECRET), b"two")) == 0, "a repeated redaction has no effect"
    with closing(LocalInbox(path)) as inbox:
        notification = inbox.get(1)
        assert notification is not None
        assert notification.body == b"one"


def test_redaction_removes_the_headers_with_the_signature(tmp_path: Path) -> None:
    async def receive() -> None:
        with closing(InboxWriter(tmp_path / "inbox.db")) as writer:
            await writer.append(
                NotificationRow(1_790_000_000_000, "a", "meta", None, None, '{"X": "sha256=1"}', SECRET)
            )

    asyncio.run(receive())
    apply(tmp_path / "inbox.db", InboxRedaction(1, body_key(SECRET), b"rest"))
    with closing(LocalInbox(tmp_path / "inbox.db")) as inbox:
        (batch,) = inbox.select(Selection(), Bounds())
        assert batch[0].headers is None


@given(st.lists(st.tuples(st.integers(1, 2**63 - 1), st.binary(max_size=50)), max_size=30))
def test_redactions_survive_a_round_trip_through_json(values: list[tuple[int, bytes]]) -> None:
    redactions = [InboxRedaction(number, body_key(body), body) for number, body in values]
    assert from_json_values(to_json_values(redactions)) == redactions


@pytest.mark.parametrize(
    "values", [None, 1, [1], [[1, "00"]], [["a", "00", ""]], [[1, "zz", ""]], [[1, "00", "%"]]]
)
def test_malformed_json_values_are_rejected(values: object) -> None:
    with pytest.raises(ValueError):
        from_json_values(values)


@given(st.lists(st.integers(0, 3 * STEP_BYTES), max_size=10), st.integers(0, 2 * STEP_ROWS))
def test_steps_are_small_and_contain_every_redaction(sizes: list[int], short: int) -> None:
    redactions = [InboxRedaction(i, b"", bytes(size)) for i, size in enumerate([*sizes, *[0] * short])]
    groups = list(steps(redactions))
    assert [redaction for group in groups for redaction in group] == redactions
    for group in groups:
        assert len(group) <= STEP_ROWS
        assert len(group) == 1 or sum(len(redaction.body) for redaction in group) <= STEP_BYTES
