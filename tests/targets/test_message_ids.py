"""Rows of two ids of one message are one message: in every order, in views and exports, after each way of removing rows."""

import itertools
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.model import merge, message_ids, timestamps
from gatherer.model.person import Person
from gatherer.model.records import Kind, OtherEvent, Response, make_key
from gatherer.targets.base import Batch, Export, Outcome, Target
from gatherer.targets.columns import ORIGINAL
from tests.targets.engines import Database, SQLiteDatabase, clear
from tests.targets.test_views import Databases, Facts, at, databases, fact, facts

__all__ = ["databases", "facts"]  # fixtures

W, P = "wamid.W1", "gs-1"  # WhatsApp's id and the provider's id of one message of ours
IDS = ("id", "message_id", "original_message_id", "about_message_id", "original_about_id")


def pair_of(provider_message_id: str, message_id: str, kind: str = "sent", **fields: Any) -> Response:
    """Return a receipt that tells that two ids are one message."""
    return fact(kind, message_id, "08:00", provider_message_id=provider_message_id, **fields)


def shown(facts: Facts) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all views, without surrogate ids, times of writing, and what the raw rows alone have."""
    without = {
        *("id", "map_id", "inserted_at", "changed_at", "commit_number", "told_commit_number"),
        *("original_message_id", "original_about_id", "key"),
    }
    views = (
        "message_status",
        "reply",
        "reaction_current",
        "opt_out_current",
        "flow_answer",
        "mapped_message",
        "response_campaign",
        "campaign_funnel",
    )
    return {
        view: sorted(
            (
                {name: value for name, value in row.items() if name not in without}
                for row in facts.query(view)
            ),
            key=str,
        )
        for view in views
    }


def some(facts: Facts, orders: Iterable[Any], count: int) -> list[Any]:
    """Return all `orders` for a file, and `count` of them, evenly spread, for a server: there each takes seconds."""
    listed = list(orders)
    return listed if isinstance(facts.database, SQLiteDatabase) else listed[:: max(1, len(listed) // count)]


# --- every order ----------------------------------------------------------------------------------

DELIVERED = fact("delivered", P, "08:01")  # before the provider knew WhatsApp's id
BOTH = pair_of(P, W)
READ = fact("read", W, "08:05")
QUOTES_PROVIDER = fact("replied", "r1", "08:10", about_message_id=P, reply_type="text", reply_text="first")
QUOTES_WHATSAPP = fact("replied", "r2", "08:20", about_message_id=W, reply_type="text", reply_text="second")
REACTION = fact("reacted", "e1", "08:30", about_message_id=P, emoji="👍")


@pytest.mark.parametrize("mapped_id", [P, W])
def test_the_views_show_one_message_in_every_order(facts: Facts, mapped_id: str) -> None:
    told = [
        (DELIVERED,),
        (BOTH,),
        (QUOTES_PROVIDER, REACTION),
        (QUOTES_WHATSAPP,),
        (),
    ]  # (): the row of the map
    expected = None
    for order in some(facts, itertools.permutations(told), 12):
        clear(facts.database)
        facts.database.query("DELETE FROM $(schema).message_map")
        for records in order:
            if not records:
                facts.map("spring", message_id=mapped_id)
            facts.tell(*records)
        if expected is None:
            expected = shown(facts)
            check_views(facts)
        assert shown(facts) == expected, order


def check_views(facts: Facts) -> None:
    status = facts.row("message_status")
    assert (status["message_id"], status["provider_message_id"]) == (W, P)
    assert (status["sent_at"], status["delivered_at"]) == (
        "2026-11-20 08:00:00.000",
        "2026-11-20 08:01:00.000",
    )
    assert (status["reply_count"], status["first_reply_text"], status["reaction"]) == (2, "first", "👍")
    assert {row["about_message_id"] for row in facts.query("reply")} == {W}
    assert facts.row("reaction_current")["about_message_id"] == W
    mapped = facts.row("mapped_message")
    assert (mapped["message_id"], mapped["rule"], mapped["sent_at"]) == (
        W,
        "message",
        "2026-11-20 08:00:00.000",
    )
    campaign = {
        (row["kind"], row["message_id"], row["rule"], row["our_message_id"])
        for row in facts.query("response_campaign")
    }
    assert campaign == {
        ("delivered", W, "message", W),
        ("sent", W, "message", W),
        ("replied", "r1", "about", W),
        ("replied", "r2", "about", W),
        ("reacted", "e1", "about", W),
    }
    row = facts.row("campaign_funnel")
    counts = ("mapped", "sent", "delivered", "read", "replied", "reacted", "failed")
    assert [row[name] for name in counts] == [1, 1, 1, 0, 1, 1, 0]


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_an_answer_to_a_flow_that_came_with_each_id_is_one_answer(facts: Facts) -> None:
    answer = {"reply_type": "flow", "reply_payload": '{"a": "1"}'}
    facts.tell(
        BOTH,
        fact("replied", "gs-r", about_message_id=P, **answer),
        fact("replied", "wamid.R", about_message_id=W, provider_message_id="gs-r", **answer),
    )
    row = facts.row("flow_answer")
    assert (row["message_id"], row["about_message_id"], row["value"]) == ("wamid.R", W, "1")


def test_one_fact_with_each_id_is_one_row_of_views_and_exports(databases: Databases) -> None:
    ids = (P, W)
    records = (
        BOTH,
        *(fact("delivered", message_id, "08:01") for message_id in ids),
        *(
            fact("replied", message_id, "08:10", about_message_id=about, reply_text="yes")
            for message_id, about in (("gs-r", P), ("wamid.R", W))
        ),
        fact("opted_out", "wamid.R", "08:11", provider_message_id="gs-r"),
        fact("opted_out", "gs-r", "08:12"),
    )
    for order in (records, records[::-1]):
        with closing(Facts(databases())) as facts:
            facts.map("spring", message_id=P).tell(*order)
            assert len(facts.query("response")) == 7, "the table has one row for each fact and id"
            told = [(row["kind"], row["message_id"]) for row in exported(facts)]
            assert sorted(told) == [
                ("delivered", W),
                ("opted_out", "wamid.R"),
                ("replied", "wamid.R"),
                ("sent", W),
            ]
            assert len(facts.query("response_campaign")) == 4
            assert facts.row("message_status")["reply_count"] == 1
            assert facts.row("reply")["message_id"] == "wamid.R"
            assert facts.row("reply")["provider_message_id"] == "gs-r"
            assert facts.row("opt_out_current")["opted_out"] == 1
            row = facts.row("campaign_funnel")
            assert (row["mapped"], row["delivered"], row["replied"], row["opted_out"]) == (1, 1, 1, 1)


def test_a_later_edit_or_removal_may_name_either_id_of_the_reply(databases: Databases) -> None:
    told = fact("replied", "wamid.R", "08:10", provider_message_id="gs-r", reply_text="yse")
    edited = fact("edited", "x1", "08:11", about_message_id="gs-r", reply_text="yes")
    revoked = fact("revoked", "x2", "08:12", about_message_id="gs-r")
    deleted = OtherEvent(
        key=b"d" * 16,
        provider="onprem",
        endpoint="apteco",
        inbox_id="inbox-a",
        notification_id=1,
        received_at=at("08:12"),
        occurred_at=at("08:12"),
        occurred_at_source="element",
        family="statuses",
        name="deleted",
        message_id="gs-r",
    )
    for order in ((told, edited), (edited, told)):
        with closing(Facts(databases())) as facts:
            assert facts.tell(*order).row("reply")["reply_text"] == "yes"
    for removal in (revoked, deleted):
        for pair in ((told, removal), (removal, told)):
            with closing(Facts(databases())) as facts:
                assert facts.tell(*pair).query("reply") == []


def test_reactions_to_either_id_are_reactions_to_one_message(databases: Databases) -> None:
    records = (
        BOTH,
        fact("reacted", "e1", "08:10", about_message_id=P, emoji="👍"),
        fact("reacted", "e2", "08:20", about_message_id=W, emoji=""),
    )
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        with closing(Facts(databases())) as facts:
            facts.tell(*(records[i] for i in order))
            assert facts.query("reaction_current") == []
            assert facts.row("message_status")["reaction"] is None


def test_receipts_of_one_message_to_a_group_stay_different_facts(facts: Facts) -> None:
    people = ("+15550001111", "+15550003333")
    for phone in people:
        key = make_key("meta", Kind.DELIVERED, P, phone)
        facts.tell(fact("delivered", P, key=key, phone=phone, group_id="G1"))
    key = make_key("whatsapp", Kind.DELIVERED, W, people[0])
    facts.tell(fact("delivered", W, key=key, phone=people[0], group_id="G1"), BOTH)
    told = [row["phone"] for row in exported(facts) if row["kind"] == "delivered"]
    assert sorted(told) == sorted(people)


def test_of_two_whatsapp_ids_of_one_provider_id_the_smaller_counts(databases: Databases) -> None:
    records = (pair_of(P, "wamid.B"), pair_of(P, "wamid.A"), fact("delivered", P, "08:01"))
    for order in itertools.permutations(records):
        with closing(Facts(databases())) as facts:
            facts.map("spring", message_id=P).tell(*order)
            delivered = {row["message_id"]: row["delivered_at"] for row in facts.query("message_status")}
            assert delivered == {"wamid.A": "2026-11-20 08:01:00.000", "wamid.B": None}
            assert facts.row("mapped_message")["message_id"] == "wamid.A"


def test_two_ids_of_providers_for_one_whatsapp_id_are_one_message(databases: Databases) -> None:
    """As when two services forward the webhooks of one number."""
    records = (
        pair_of("gs-1", W, provider="meta"),
        pair_of("wati-1", W, "read", provider="wati"),
        fact("delivered", "gs-1", "08:01"),
        fact("delivered", "wati-1", "08:01", provider="wati"),
    )
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        with closing(Facts(databases())) as facts:
            facts.tell(*(records[i] for i in order))
            assert facts.row("message_status")["message_id"] == W
            assert sorted(row["kind"] for row in exported(facts)) == ["delivered", "read", "sent"]
            assert len(facts.query("message_id_pair")) == 2


def test_of_two_rows_of_the_map_for_one_message_the_one_with_whatsapps_id_counts(facts: Facts) -> None:
    facts.map("by whatsapp", message_id=W).map("by provider", message_id=P).tell(BOTH, DELIVERED)
    assert {row["campaign"] for row in facts.query("response_campaign")} == {"by whatsapp"}
    assert facts.row("campaign_funnel")["mapped"] == 1


# --- any history ----------------------------------------------------------------------------------

_ID = st.sampled_from(["A", "B", "C", "D"])


@st.composite
def histories(draw: st.DrawFn) -> list[Response]:
    """Deliveries of few messages with few ids, which contradict each other and make chains."""
    made = []
    for _ in range(draw(st.integers(2, 7))):
        message_id = draw(_ID)
        made.append(
            fact(
                draw(st.sampled_from(["sent", "replied"])),
                message_id,
                provider_message_id=draw(st.none() | _ID),
                about_message_id=draw(st.none() | _ID),
                phone=draw(st.sampled_from([None, "+15550001111"])),
            )
        )
    return made


def expected_ids(records: Iterable[Response]) -> set[tuple[Any, ...]]:
    """Return what the rows of `records` must have in the columns with ids of messages."""
    current: dict[str, str] = {}
    for pair in sorted(message_ids.pairs(records), key=lambda pair: pair.message_id, reverse=True):
        current[pair.provider_message_id] = pair.message_id
    rows = set()
    for record in merge.fold(records):
        row: list[Any] = [record.key]
        for told in (record.message_id, record.about_message_id):
            replaced = current.get(told or "")
            row += [replaced or told, told if replaced else None]
        rows.add(tuple(row))
    return rows


def stored_ids(database: Database) -> set[tuple[Any, ...]]:
    names = ("key", *itertools.chain.from_iterable(ORIGINAL.items()))
    rows = database.query(f"SELECT {', '.join(names).replace('key', '[key]')} FROM $(schema).response")
    return {tuple(row[name] for name in names) for row in rows}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), data=st.data())
def test_the_ids_of_rows_depend_on_what_was_told_and_not_on_its_order(
    target: Target, database: Database, history: list[Response], data: st.DataObject
) -> None:
    for order in (history, history[::-1], data.draw(st.permutations(history))):
        clear(database)
        remaining = list(order)
        while remaining:
            size = data.draw(st.integers(1, len(remaining)))
            batch, remaining = remaining[:size], remaining[size:]
            target.apply(Batch(records=list(merge.fold(batch)), pairs=message_ids.pairs(batch)))
        assert stored_ids(database) == expected_ids(history)
        before = raw(database)
        again = target.apply(Batch(records=list(merge.fold(history)), pairs=message_ids.pairs(history)))
        assert (again.inserted, again.filled) == ({}, 0)
        assert raw(database) == before, "a replay changes nothing, not even a time of writing"


def raw(database: Database) -> list[dict[str, Any]]:
    return [
        row
        for table in ("response", "message_id_pair")
        for row in database.query(f"SELECT * FROM $(schema).{table} ORDER BY id")
    ]


def test_pairs_are_no_rows_of_the_outcome(target: Target) -> None:
    batch = Batch(records=[BOTH], pairs=message_ids.pairs([BOTH, BOTH]))
    assert target.apply(batch) == Outcome(inserted={"sent": 1})
    assert target.apply(batch) == Outcome(duplicates=1)
    assert target.status().rows["message_id_pair"] == 1


def test_no_pair_is_told_by_one_id_alone() -> None:
    marker = msgspec.structs.replace(fact("reply_marker", W, provider_message_id=P), message_id=None)
    assert message_ids.pairs([DELIVERED, READ, marker, fact("sent", P, provider_message_id=P)]) == []
    (pair,) = message_ids.pairs([BOTH, fact("read", W, provider_message_id=P)])
    assert (pair.provider_message_id, pair.message_id, pair.occurred_at) == (P, W, at("08:00"))


def test_the_pairs_of_a_batch_are_those_of_its_deliveries_one_by_one(database: Database) -> None:
    """The merge keeps one of two provider ids of one fact; a batch must not lose the other."""
    deliveries = [pair_of("gs-2", W), pair_of("gs-1", W)]
    quoting = [fact("replied", "r1", about_message_id="gs-1"), fact("replied", "r2", about_message_id="gs-2")]
    with closing(database.open()) as target:
        pairs = message_ids.pairs(deliveries)
        target.apply(Batch(records=[*merge.fold(deliveries), *quoting], pairs=pairs))
    rows = database.query("SELECT DISTINCT about_message_id FROM $(schema).response WHERE kind = 'replied'")
    assert [row["about_message_id"] for row in rows] == [W]


# --- rows that are removed ------------------------------------------------------------------------


def test_a_pair_outlives_the_receipt_that_told_it(facts: Facts) -> None:
    facts.map("spring", message_id=W)
    facts.tell(BOTH, fact("replied", "r1", day=25, about_message_id=P))
    facts.target.apply_retention(text_before=None, rows_before=at("00:00", 22))
    row = facts.row("response_campaign")
    assert (row["message_id"], row["our_message_id"], row["rule"]) == ("r1", W, "about")
    facts.tell(fact("reacted", "e1", day=25, about_message_id=P, emoji="👍"))
    assert facts.row("reaction_current")["about_message_id"] == W
    assert len(facts.query("message_id_pair")) == 1
    facts.target.apply_retention(text_before=None, rows_before=at("00:00", 26))
    assert facts.query("response") == facts.query("message_id_pair") == []


def test_a_pair_that_is_not_old_is_kept_without_a_row(facts: Facts) -> None:
    facts.target.apply(Batch(pairs=message_ids.pairs([BOTH])))
    facts.target.apply_retention(text_before=None, rows_before=at("00:00", 20))
    assert len(facts.query("message_id_pair")) == 1


def test_a_rebuild_without_the_pair_gives_the_rows_their_own_ids_again(facts: Facts) -> None:
    wrong = pair_of(P, W, notification_id=2)
    quoting = fact("replied", "r1", about_message_id=P)
    facts.tell(DELIVERED, quoting, wrong)
    assert facts.row("reply")["about_message_id"] == W
    right = fact("sent", W, "08:00", notification_id=2)
    facts.target.rebuild([("inbox-a", 2)], [Batch(records=[right])])
    assert facts.query("message_id_pair") == []
    assert stored_ids(facts.database) == expected_ids([DELIVERED, quoting, right])
    assert facts.row("reply")["about_message_id"] == P


def test_a_rebuild_falls_back_to_the_pair_that_is_left(facts: Facts) -> None:
    first, second = pair_of(P, "wamid.A", notification_id=2), pair_of(P, "wamid.B", notification_id=3)
    facts.tell(DELIVERED, first, second)
    facts.target.rebuild([("inbox-a", 2)], [])
    assert stored_ids(facts.database) == expected_ids([DELIVERED, second])
    batch = Batch(records=[first], pairs=message_ids.pairs([first]))
    facts.target.rebuild([("inbox-a", 3)], [batch])
    assert stored_ids(facts.database) == expected_ids([DELIVERED, first])


def test_an_erasure_removes_the_pairs_of_the_persons_messages(facts: Facts) -> None:
    unnamed = {"phone": None, "phone_raw": None}
    others = fact("replied", "r9", about_message_id="gs-2", phone="+15550009999")
    facts.tell(BOTH, fact("delivered", P, **unnamed), pair_of("gs-2", "wamid.W2", **unnamed), others)
    found = facts.target.find(Person(message_ids=frozenset({P})), timestamps.LATEST)
    assert [row["message_id"] for row in found["message_id_pair"]] == [W]
    found = facts.target.find(Person(message_ids=frozenset({W, "wamid.W2"})), timestamps.LATEST)
    (mine, other) = found["message_id_pair"]
    assert (mine["provider_message_id"], other["provider_message_id"]) == (P, "gs-2")
    seen = dict(facts.target.about_people(timestamps.EARLIEST))
    assert {row["provider_message_id"] for row in seen["message_id_pair"]} == {P, "gs-2"}
    assert {row["original_message_id"] for row in seen["response"]} == {None, P}
    erase(facts.target, message_id_pair=[other["id"]])
    assert facts.row("response", kind="replied")["about_message_id"] == "gs-2"
    assert facts.row("response", kind="delivered")["message_id"] == W


def erase(target: Target, **rows: list[int]) -> None:
    target.erase(rows=rows, texts={}, bodies=(), batch=Batch(), tombstones=(), erasure=None)


# --- exports and plans ----------------------------------------------------------------------------


def exported(facts: Facts, **selection: Any) -> list[dict[str, Any]]:
    return [row for batch in facts.target.export(Export(**selection)) for row in batch]


def test_a_row_that_gets_another_id_is_in_the_next_export(facts: Facts) -> None:
    facts.map("spring", message_id=P).tell(DELIVERED)
    first = facts.target.horizon()
    facts.tell(BOTH)
    window = {"changed_after": first, "changed_to": facts.target.horizon()}
    told = {(row["kind"], row["message_id"], row["provider_message_id"]) for row in exported(facts, **window)}
    assert told == {("delivered", W, P), ("sent", W, P)}
    campaign = exported(facts, view="campaign", **window)
    assert {(row["kind"], row["message_id"]) for row in campaign} == {("delivered", W), ("sent", W)}
    facts.tell(READ)
    window = {"changed_after": window["changed_to"], "changed_to": facts.target.horizon()}
    assert [row["kind"] for row in exported(facts, view="campaign", **window)] == ["read"]
    assert [row["kind"] for row in exported(facts, **window)] == ["read"]


def test_a_receipt_that_a_later_pair_links_to_the_map_is_in_the_next_export(facts: Facts) -> None:
    facts.map("spring", message_id=P).tell(READ)
    first = facts.target.horizon()
    assert exported(facts, view="campaign", changed_to=first) == []
    facts.tell(BOTH)
    campaign = exported(facts, view="campaign", changed_after=first, changed_to=facts.target.horizon())
    assert {row["kind"] for row in campaign} == {"read", "sent"}


FILTERED = [
    *((view, "message_id") for view in ("message_status", "reply", "flow_answer")),
    *((view, "about_message_id") for view in ("reply", "reaction_current", "flow_answer")),
]


@pytest.mark.parametrize(("view", "column"), FILTERED)
def test_a_view_finds_a_message_by_index_also_with_pairs(facts: Facts, view: str, column: str) -> None:
    if not isinstance(facts.database, SQLiteDatabase):
        pytest.skip("this is about SQLite's plan; SQL Server has another way to ask for its own")
    plan = facts.database.query(f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE {column} = 'x'")
    steps = [row["detail"] for row in plan]
    index = "response_message" if column == "message_id" else "response_about"
    assert any(f"USING INDEX {index} ({column}=?)" in step for step in steps), steps
    tables = ("response", "r", "x", "p", "e", "message_id_pair", "other_event")
    assert not [step for step in steps if step.split()[:2] in [["SCAN", table] for table in tables]], steps


def test_the_statements_of_a_batch_find_rows_by_index(facts: Facts) -> None:
    if not isinstance(facts.database, SQLiteDatabase):
        pytest.skip("this is about SQLite's plan; SQL Server has another way to ask for its own")
    from gatherer.targets.sql_template import render
    from gatherer.targets.sqlite.schema import sql

    facts.tell(BOTH)
    for column, original in ORIGINAL.items():
        statement = render(sql("replace_ids"), {"column": column, "original": original})
        plan = facts.database.query(f"EXPLAIN QUERY PLAN {statement}", "2026-11-20 08:00:00.000", 1)
        assert not [row["detail"] for row in plan if row["detail"].startswith("SCAN")]
