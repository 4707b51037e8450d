"""Rows know every notification that told them: a rebuild of any of these gives what a fresh target would have.

And a rejection is resolved by what its element became, in any order and in any batches.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.inbox.base import Bounds, Inbox, InboxStatus, Selection
from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
from gatherer.pipeline.replay import ReplaySummary, replay_notifications
from gatherer.targets.base import Target
from tests.factories import envelope, notification, receipts, status, text, value
from tests.targets.engines import Database, SQLiteDatabase, all_rows

# Bodies that tell the same facts with other values, ids of one message, elements that are rejected, and junk.
BODIES = (
    receipts("wamid.A"),
    receipts("wamid.A", "wamid.B"),
    envelope(value(statuses=[status("wamid.A", biz_opaque_callback_data="spring")])),
    envelope(value(statuses=[status("wamid.A", biz_opaque_callback_data="autumn"), {"status": "sent"}])),
    envelope(value(statuses=[status("wamid.B", recipient_user_id="US.1")], messages=[text("wamid.R")])),
    envelope(value(statuses=[status("wamid.B", at=1_790_000_007), {"status": "sent"}])),
    b"junk",
)
BOUNDS = Bounds()


class MemoryInbox:
    """An inbox of a few notifications, some of which are purged."""

    def __init__(self, identity: str, notifications: Sequence[Notification]) -> None:
        self.identity = identity
        self.has_contiguous_ids = True
        self.notifications = list(notifications)

    def select(self, selection: Selection, bounds: Bounds) -> Iterator[list[Notification]]:
        selected = [
            source
            for source in self.notifications
            if (selection.ids is None or source.id in selection.ids)
            and (selection.from_id is None or source.id >= selection.from_id)
            and (selection.to_id is None or source.id <= selection.to_id)
        ]
        for source in selected:
            yield [source]

    def last_id(self) -> int:
        raise NotImplementedError

    def first_id(self) -> int | None:
        raise NotImplementedError

    def purged_to(self) -> int:
        raise NotImplementedError

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        raise NotImplementedError

    def get(self, id: int) -> Notification | None:  # noqa: A002
        raise NotImplementedError

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        raise NotImplementedError

    def status(self) -> InboxStatus:
        raise NotImplementedError

    def close(self) -> None:
        """Hold nothing open."""


def deliver(body: bytes, number: int, inbox: str = "inbox-a", **more: Any) -> Notification:
    return notification(body, number, inbox_id=inbox, **more)


def gather(target: Target, *batches: Sequence[Notification]) -> None:
    for batch in batches:
        target.apply(decode_batch(batch, target.open_rejections()))


def facts(database: Database) -> dict[str, Any]:
    """Return the rows of all tables of facts, and the contributors."""
    contributors = database.query("SELECT * FROM $(schema).contributor")
    return {**all_rows(database), "contributor": sorted(contributors, key=str)}


def rebuild(target: Target, inbox: MemoryInbox, *others: MemoryInbox, **selection: Any) -> ReplaySummary:
    first: Inbox = inbox
    return replay_notifications(first, target, Selection(**selection), rebuild=True, other_inboxes=others)


def contributors(database: Database) -> set[tuple[str, int]]:
    stored = database.query("SELECT * FROM $(schema).contributor")
    return {(row["inbox_id"], row["notification_id"]) for row in stored}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_a_first_delivery_stores_no_contributor(target: Target, database: Database) -> None:
    gather(target, [deliver(body, number) for number, body in enumerate((BODIES[1], b"junk"), 1)])
    assert contributors(database) == set()


def test_each_further_notification_is_stored_once(target: Target, database: Database) -> None:
    first, second, third = (deliver(BODIES[0], 1), deliver(BODIES[0], 2), deliver(BODIES[2], 2, "inbox-b"))
    gather(target, [first], [second], [second, third], [first])
    assert contributors(database) == {("inbox-a", 2), ("inbox-b", 2)}


def test_an_earlier_receipt_makes_the_former_one_a_contributor(target: Target, database: Database) -> None:
    for body in (BODIES[0], b"junk"):
        gather(target, [deliver(body, 5)], [deliver(body, 3)], [deliver(body, 4)])
    assert contributors(database) == {("inbox-a", 5), ("inbox-a", 4)}
    assert {rows[0]["notification_id"] for rows in all_rows(database).values() if rows} == {3}


def test_old_rows_are_deleted_with_their_contributors(target: Target, database: Database) -> None:
    gather(target, [deliver(body, number) for body in BODIES for number in (1, 2)])
    assert contributors(database)
    target.apply_retention(text_before=None, rows_before=timestamps.LATEST)
    assert all(rows == [] for rows in facts(database).values())


def test_erased_rows_are_deleted_with_their_contributors(target: Target, database: Database) -> None:
    gather(target, [deliver(body, number) for body in (BODIES[0], b"junk") for number in (1, 2)])
    ((row,), (rejection,)) = (
        database.query(f"SELECT * FROM $(schema).{table}") for table in ("response", "rejected")
    )
    target.erase(
        rows={"response": [row["id"]]},
        texts={},
        bodies=[rejection["body_key"]],
        batch=decode_batch([], frozenset()),
        tombstones=(),
        erasure=None,
    )
    assert contributors(database) == set()


# --- rebuild ----------------------------------------------------------------------------------------------------------


def test_a_rebuild_keeps_what_another_inbox_told(target: Target, database: Database) -> None:
    first, second = deliver(BODIES[0], 1), deliver(BODIES[2], 1, "inbox-b")
    gather(target, [first], [second])
    before = facts(database)
    summary = rebuild(target, MemoryInbox("inbox-a", [first]), MemoryInbox("inbox-b", [second]))
    assert (summary.outcome.removed, summary.merged) == (1, 0)
    assert facts(database) == before
    assert before["response"][0]["client_reference"] == "spring"


@pytest.mark.parametrize("others", [[], [MemoryInbox("inbox-b", [])]], ids=["out of reach", "purged"])
def test_a_row_that_cannot_be_made_anew_is_merged_and_counted(
    target: Target, database: Database, others: list[MemoryInbox]
) -> None:
    first, second = deliver(BODIES[1], 1), deliver(BODIES[2], 1, "inbox-b")
    gather(target, [first], [second])
    before = facts(database)
    summary = rebuild(target, MemoryInbox("inbox-a", [first]), *others)
    assert (summary.outcome.removed, summary.merged) == (1, 1)
    assert facts(database) == before


def test_a_rebuild_removes_what_the_decoder_no_longer_makes(target: Target, database: Database) -> None:
    wrong, right = deliver(BODIES[1], 1), deliver(BODIES[2], 1)
    other = deliver(BODIES[0], 2)
    gather(target, [wrong], [other])
    rebuild(target, MemoryInbox("inbox-a", [right, other]), ids=frozenset({1}))
    with tempfile.TemporaryDirectory() as folder:
        fresh = SQLiteDatabase(Path(folder))
        with closing(fresh.open()) as fresh_target:
            gather(fresh_target, [right, other])
        assert facts(database)["response"] == facts(fresh)["response"] or not isinstance(
            database, SQLiteDatabase
        )
    assert [row["message_id"] for row in all_rows(database)["response"]] == ["wamid.A"]


DELIVERIES = st.lists(
    st.tuples(st.sampled_from(BODIES), st.sampled_from(["inbox-a", "inbox-b"]), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=DELIVERIES, data=st.data())
def test_rebuilds_of_any_part_give_the_rows_of_a_fresh_target(
    target: Target, database: Database, made: list[tuple[bytes, str, int]], data: st.DataObject
) -> None:
    sources = [
        deliver(
            body, number, inbox, received_at=timestamps.from_milliseconds(1_790_000_000_000 + second * 1000)
        )
        for number, (body, inbox, second) in enumerate(made, 1)
    ]
    _empty(database)
    for source in sources:
        gather(target, [source])
    expected = facts(database)
    _empty(database)
    for batch in _split(data, data.draw(st.permutations(sources))):
        gather(target, batch)
    assert facts(database) == expected
    inboxes = {
        name: MemoryInbox(name, [source for source in sources if source.inbox_id == name])
        for name in ("inbox-a", "inbox-b")
    }
    for _ in range(2):
        name = data.draw(st.sampled_from(sorted(inboxes)))
        bounds = sorted(data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8))))
        others = [inbox for other, inbox in inboxes.items() if other != name]
        summary = rebuild(target, inboxes[name], *others, from_id=bounds[0], to_id=bounds[1])
        assert summary.merged == 0
        assert facts(database) == expected
        rebuild(target, inboxes[name], from_id=bounds[0], to_id=bounds[1])  # the other inbox is out of reach
        assert facts(database) == expected


def _split(data: st.DataObject, sources: Sequence[Notification]) -> Iterator[Sequence[Notification]]:
    """Yield `sources` in batches of any sizes."""
    while sources:
        size = data.draw(st.integers(1, len(sources)))
        yield sources[:size]
        sources = sources[size:]


def _empty(database: Database) -> None:
    for table in ("response", "other_event", "rejected", "rejected_notification", "contributor"):
        database.query(f"DELETE FROM $(schema).{table}")


# --- rejections -------------------------------------------------------------------------------------------------------


def open_count(target: Target) -> int:
    return target.status().rejected_open


def test_junk_at_two_endpoints_stays_rejected_at_both(target: Target) -> None:
    """Nothing was decoded, in whichever order it comes."""
    first, second, third = (
        deliver(b"junk", number, endpoint=name, provider=name)
        for number, name in enumerate(("meta", "wati", "meta"), 1)
    )
    gather(target, [first], [second], [third])
    assert open_count(target) == 2
    gather(target, [third, second, first])
    assert open_count(target) == 2


def test_a_rejection_is_resolved_by_a_record_of_its_element_alone(target: Target) -> None:
    broken = deliver(envelope(value(statuses=[status("wamid.A"), {"status": "sent"}, {"status": "read"}])), 1)
    gather(target, [broken])
    assert open_count(target) == 2
    gather(target, [broken])
    assert open_count(target) == 2, "the sibling of the elements was decoded, they were not"


def test_one_more_rejection_opens_a_resolved_one_again_but_a_replay_does_not(target: Target) -> None:
    source = deliver(receipts("wamid.A"), 1, provider="nobody")
    gather(target, [source])
    target.apply(decode_batch([source], target.open_rejections(), provider="meta"))
    assert open_count(target) == 0
    gather(target, [source])
    assert open_count(target) == 0, "this notification is known to have been rejected"
    gather(target, [source._replace(id=2)])
    assert open_count(target) == 1
    gather(target, [source._replace(id=2)])
    target.apply(decode_batch([source], target.open_rejections(), provider="meta"))
    assert open_count(target) == 0


def test_a_record_at_another_endpoint_resolves_nothing_in_either_order(target: Target) -> None:
    body = receipts("wamid.A")
    unknown, known = deliver(body, 1, endpoint="one", provider="nobody"), deliver(body, 2, endpoint="two")
    gather(target, [unknown], [known])
    assert open_count(target) == 1
    gather(target, [known, unknown])
    assert open_count(target) == 1


def test_each_endpoint_that_rejected_a_body_is_replayed(target: Target) -> None:
    body = receipts("wamid.A")
    gather(
        target,
        [
            deliver(body, number, endpoint=name, provider=f"nobody-{name}")
            for number, name in enumerate("ab", 1)
        ],
    )
    for batch in target.rejected_notifications():
        assert [source.endpoint for source in batch] == ["a", "b"]
        target.apply(decode_batch(batch, target.open_rejections(), provider="meta"))
    assert open_count(target) == 0


def test_the_rejection_that_counts_the_rest_is_resolved_when_fewer_are_rejected(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = deliver(envelope(value(statuses=[status("wamid.A"), *[{"status": "sent"}] * 3])), 1)
    with monkeypatch.context() as limited:
        limited.setattr("gatherer.providers.base.MAX_REJECTIONS", 2)
        gather(target, [source])
        assert open_count(target) == 3
        gather(target, [source])
        assert open_count(target) == 3
    gather(target, [source])
    assert open_count(target) == 3, "the elements; the count of the rest is resolved"
