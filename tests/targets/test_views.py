"""What the views show after unusual sequences of facts, in every order of arrival."""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatherer.model import message_ids
from gatherer.model.records import WHATSAPP, Kind, OtherEvent, Record, Response, make_key
from gatherer.targets.base import Batch
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.targets.engines import DATABASES, ENGINES, Database, SQLiteDatabase, SQLServerDatabase


def at(clock: str, day: int = 20) -> datetime:
    return datetime.fromisoformat(f"2026-11-{day}T{clock}:00+00:00").astimezone(UTC)


def fact(kind: str, message_id: str, clock: str = "12:00", day: int = 20, **fields: Any) -> Response:
    """Return a response of one person to one campaign."""
    occurred_at = at(clock, day)
    return Response(
        **{
            "key": make_key(WHATSAPP, kind, message_id),
            "provider": "meta",
            "endpoint": "apteco",
            "inbox_id": "inbox-a",
            "notification_id": 1,
            "received_at": occurred_at,
            "occurred_at": occurred_at,
            "occurred_at_source": "element",
            "kind": Kind(kind),
            "message_id": message_id,
            "phone": "+15550001111",
            "business_phone": "+15550002222",
            "phone_number_id": "100",
        }
        | fields
    )


class Facts:
    """A target with some facts, whose views a test queries."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.target = database.open()

    def tell(self, *facts: Record) -> "Facts":
        for record in facts:
            self.target.apply(Batch(records=[record], pairs=message_ids.pairs([record])))
        return self

    def map(self, campaign: str, **columns: str) -> "Facts":
        values = {"campaign": campaign} | columns
        names, placeholders = ", ".join(values), ", ".join("?" * len(values))
        self.database.query(
            f"INSERT INTO $(schema).message_map ({names}) VALUES ({placeholders})", *values.values()
        )
        return self

    def query(self, view: str, **where: Any) -> list[dict[str, Any]]:
        conditions = " AND ".join(f"{name} = ?" for name in where) or "1 = 1"
        return self.database.query(f"SELECT * FROM $(schema).{view} WHERE {conditions}", *where.values())

    def row(self, view: str, **where: Any) -> dict[str, Any]:
        (row,) = self.query(view, **where)
        return row

    def close(self) -> None:
        self.target.close()


class Databases:
    """Creates empty databases of one engine."""

    def __init__(self, make: Callable[[Path], Database], folder: Path) -> None:
        self._make, self._folder, self._given = make, folder, 0

    def __call__(self) -> Database:
        self._given += 1
        folder = self._folder / str(self._given)
        folder.mkdir()
        return self._make(folder)


@pytest.fixture(params=ENGINES)
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    return Databases(DATABASES[request.param], tmp_path)


@pytest.fixture
def facts(databases: Databases) -> Iterator[Facts]:
    with closing(Facts(databases())) as opened:
        yield opened


def in_every_order(databases: Databases, *records: Record) -> Iterator[Facts]:
    for order in itertools.permutations(records):
        with closing(Facts(databases())) as facts:
            yield facts.tell(*order)


# --- message_status -------------------------------------------------------------------------------


def test_a_read_without_delivered_was_delivered(databases: Databases) -> None:
    for facts in in_every_order(databases, fact("sent", "w1", "12:00"), fact("read", "w1", "12:05")):
        row = facts.row("message_status")
        assert (row["status"], row["delivered_at"], row["read_at"]) == (
            "read",
            "2026-11-20 12:05:00.000",
            "2026-11-20 12:05:00.000",
        )


def test_a_played_voice_message_was_read(facts: Facts) -> None:
    assert facts.tell(fact("played", "w1", "12:05")).row("message_status")["status"] == "read"


def test_delivered_after_failed_counts_as_delivered_and_keeps_the_failure(databases: Databases) -> None:
    failed = fact("failed", "w1", "12:01", errors="[]", error_code=131026, error_title="undeliverable")
    for facts in in_every_order(databases, failed, fact("delivered", "w1", "12:02"), fact("sent", "w1")):
        row = facts.row("message_status")
        assert (row["status"], row["failed_at"], row["error_code"]) == (
            "delivered",
            "2026-11-20 12:01:00.000",
            131026,
        )


def test_a_failed_message_says_why(facts: Facts) -> None:
    facts.tell(fact("sent", "w1"), fact("failed", "w1", errors="[]", error_code=131049, error_details="cap"))
    row = facts.row("message_status")
    assert (row["status"], row["error_code"], row["error_details"]) == ("failed", 131049, "cap")


def test_a_delivered_without_sent_is_a_row(facts: Facts) -> None:
    row = facts.tell(fact("delivered", "w1", "12:02")).row("message_status")
    assert (row["status"], row["sent_at"]) == ("delivered", None)


def test_a_marker_counts_only_until_its_reply_comes(databases: Databases) -> None:
    marker = fact("reply_marker", "w1", "12:09", about_message_id="w1")
    facts = Facts(databases())
    with closing(facts):
        row = facts.tell(fact("sent", "w1"), marker).row("message_status")
        assert (row["reply_count"], row["first_reply_text"]) == (1, None)
    reply = fact("replied", "r1", "12:08", about_message_id="w1", reply_text="yes")
    for target in in_every_order(databases, fact("sent", "w1"), marker, reply):
        row = target.row("message_status")
        assert (row["reply_count"], row["first_reply_text"]) == (1, "yes")


def test_a_marker_does_not_bring_back_a_revoked_reply(databases: Databases) -> None:
    records = (
        fact("sent", "w1"),
        fact("reply_marker", "w1", "12:09", about_message_id="w1"),
        fact("replied", "r1", "12:08", about_message_id="w1", reply_text="oops"),
        fact("revoked", "x1", "12:10", about_message_id="r1"),
    )
    for facts in in_every_order(databases, *records):
        row = facts.map("spring", message_id="w1").row("message_status")
        assert (row["reply_count"], row["first_reply_at"]) == (0, None)
        assert facts.row("campaign_funnel")["replied"] == 0


def test_message_status_counts_replies_and_shows_the_reaction(facts: Facts) -> None:
    facts.tell(
        fact("sent", "w1"),
        fact("replied", "r2", "12:20", about_message_id="w1", reply_text="second"),
        fact("replied", "r1", "12:10", about_message_id="w1", reply_text="first"),
        fact("reacted", "e1", "12:11", about_message_id="w1", emoji="👍"),
    )
    row = facts.row("message_status")
    assert (row["reply_count"], row["first_reply_text"], row["reaction"]) == (2, "first", "👍")


# --- reply, reaction_current, opt_out_current, flow_answer ----------------------------------------


def test_a_reply_shows_its_latest_edit(databases: Databases) -> None:
    records = (
        fact("replied", "r1", "12:00", reply_text="yse"),
        fact("edited", "x1", "12:01", about_message_id="r1", reply_text="yes"),
        fact("edited", "x2", "12:02", about_message_id="r1", reply_text="yes please"),
    )
    for facts in in_every_order(databases, *records):
        row = facts.row("reply")
        assert (row["reply_text"], row["edited_at"]) == ("yes please", "2026-11-20 12:02:00.000")


def test_a_revoked_reply_is_hidden(databases: Databases) -> None:
    records = (
        fact("replied", "r1", reply_text="oops"),
        fact("revoked", "x1", "12:01", about_message_id="r1"),
    )
    for facts in in_every_order(databases, *records):
        assert facts.query("reply") == []


def test_a_reply_deleted_on_premises_is_hidden(databases: Databases) -> None:
    deleted = OtherEvent(
        key=make_key(WHATSAPP, "other:statuses", "r1 deleted"),
        provider="onprem",
        endpoint="apteco",
        inbox_id="inbox-a",
        notification_id=1,
        received_at=at("12:02"),
        occurred_at=at("12:02"),
        occurred_at_source="element",
        family="statuses",
        name="deleted",
        message_id="r1",
    )
    for facts in in_every_order(databases, fact("replied", "r1"), fact("replied", "r2"), deleted):
        assert [row["message_id"] for row in facts.query("reply")] == ["r2"]


def test_a_reaction_changed_and_removed_is_what_came_last(databases: Databases) -> None:
    changed = (
        fact("reacted", "e1", "12:01", about_message_id="w1", emoji="👍"),
        fact("reacted", "e2", "12:02", about_message_id="w1", emoji="❤️"),
    )
    removed = fact("reacted", "e3", "12:03", about_message_id="w1", emoji="")
    for facts in in_every_order(databases, *changed):
        assert facts.row("reaction_current")["emoji"] == "❤️"
        facts.tell(removed)
        assert facts.query("reaction_current") == []


def test_in_one_second_a_removal_counts_before_an_emoji_and_then_the_later_receipt(
    databases: Databases,
) -> None:
    def reacted(message_id: str, emoji: str, received: str) -> Response:
        received_at = at(received)
        return fact(
            "reacted", message_id, "12:01", about_message_id="w1", emoji=emoji, received_at=received_at
        )

    emojis = reacted("e9", "👍", "12:05"), reacted("e1", "❤️", "12:06")
    for facts in in_every_order(databases, *emojis):
        assert facts.row("reaction_current")["emoji"] == "❤️"
    for facts in in_every_order(databases, *emojis, reacted("e5", "", "12:04")):
        assert facts.query("reaction_current") == []


def test_people_react_for_themselves(facts: Facts) -> None:
    facts.tell(
        fact("reacted", "e1", about_message_id="w1", emoji="👍"),
        fact("reacted", "e2", "12:02", about_message_id="w1", emoji="", phone="+15550003333"),
        fact("reacted", "e3", about_message_id="w1", emoji="🎉", phone=None, user_id="US.1"),
    )
    assert {(row["person"], row["emoji"]) for row in facts.query("reaction_current")} == {
        ("+15550001111", "👍"),
        ("US.1", "🎉"),
    }


def test_a_person_whose_phone_is_withheld_later_still_has_one_reaction(databases: Databases) -> None:
    by_phone = fact("reacted", "e1", "12:01", about_message_id="w1", emoji="👍")
    by_user_id = fact("reacted", "e2", "12:02", about_message_id="w1", emoji="", phone=None, user_id="US.1")
    both = fact("delivered", "w1", user_id="US.1")
    for facts in in_every_order(databases, by_phone, by_user_id, both):
        assert facts.query("reaction_current") == []
    changed = fact("reacted", "e3", "12:03", about_message_id="w1", emoji="🎉", phone=None, user_id="US.1")
    with closing(Facts(databases())) as facts:
        row = facts.tell(both, by_phone, changed).row("reaction_current")
        assert (row["person"], row["phone"], row["user_id"]) == ("+15550001111", "+15550001111", "US.1")


def test_an_unreadable_emoji_is_not_a_removed_reaction(facts: Facts) -> None:
    facts.tell(fact("reacted", "e1", about_message_id="w1", emoji=None))
    assert facts.row("reaction_current")["emoji"] is None


def test_the_latest_word_on_marketing_counts_for_each_number(databases: Databases) -> None:
    records = (
        fact("opted_out", "o1", "12:00"),
        fact("opted_in", "o2", "12:01"),
        fact("opted_out", "o3", "12:00", phone_number_id="200"),
    )
    for facts in in_every_order(databases, *records):
        rows = {row["phone_number_id"]: row["opted_out"] for row in facts.query("opt_out_current")}
        assert rows == {"100": 0, "200": 1}


def test_an_opt_out_wins_a_tie(databases: Databases) -> None:
    for facts in in_every_order(databases, fact("opted_in", "o1"), fact("opted_out", "o2")):
        assert facts.row("opt_out_current")["opted_out"] == 1


def test_a_person_whose_phone_is_withheld_later_has_one_word_on_marketing(databases: Databases) -> None:
    records = (
        fact("opted_in", "o1", "12:00"),
        fact("opted_out", "o2", "12:01", phone=None, user_id="US.1"),
        fact("sent", "w1", user_id="US.1"),
    )
    for facts in in_every_order(databases, *records):
        row = facts.row("opt_out_current")
        assert (row["person"], row["phone"], row["opted_out"]) == ("+15550001111", "+15550001111", 1)


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_a_flow_answer_is_a_row_for_each_name(facts: Facts) -> None:
    answer = {"size": "M", "age": 42, "news": True, "tags": ["a", "ß"], "flow_token": "t"}
    facts.tell(
        fact("replied", "r1", reply_type="flow", reply_payload=json.dumps(answer, ensure_ascii=False)),
        fact("replied", "r2", reply_type="flow", reply_payload="no json"),
        fact("replied", "r3", reply_type="flow", reply_payload="[1]"),
        fact("replied", "r4", reply_type="button", reply_payload='{"a": 1}'),
    )
    answers = {row["name"]: row["value"] for row in facts.query("flow_answer")}
    assert json.loads(answers.pop("tags")) == ["a", "ß"]  # with or without a space, as the engine likes
    assert answers == {"size": "M", "age": "42", "news": "true", "flow_token": "t"}
    assert len(facts.query("reply")) == 4


# --- response_campaign, campaign_funnel -----------------------------------------------------------


def test_a_mapping_filled_in_afterwards_finds_its_responses(facts: Facts) -> None:
    facts.tell(fact("sent", "w1"), fact("sent", "w2", client_reference="ref-2"), fact("sent", "w3"))
    assert facts.query("response_campaign") == []
    facts.map("spring", message_id="w1", urn="U1").map("autumn", client_reference="ref-2")
    campaigns = {
        row["message_id"]: (row["campaign"], row["rule"]) for row in facts.query("response_campaign")
    }
    assert campaigns == {"w1": ("spring", "message"), "w2": ("autumn", "reference")}


def test_a_trailing_blank_makes_another_reference(facts: Facts) -> None:
    facts.tell(fact("sent", "w1", client_reference="ref1"), fact("sent", "w2", client_reference="ref1 "))
    facts.map("spring", client_reference="ref1")
    assert [row["message_id"] for row in facts.query("response_campaign")] == ["w1"]
    facts.map("autumn", client_reference="ref1 ")
    campaigns = {row["message_id"]: row["campaign"] for row in facts.query("response_campaign")}
    assert campaigns == {"w1": "spring", "w2": "autumn"}


def test_an_answer_belongs_to_the_message_it_is_about(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("autumn", client_reference="ref-2")
    facts.tell(
        fact("sent", "w2", client_reference="ref-2"),
        fact("replied", "r1", about_message_id="w1"),
        fact("reacted", "e1", about_message_id="w2", emoji="👍"),
        fact("replied", "r2", about_message_id="unknown"),
    )
    campaigns = {
        row["message_id"]: (row["campaign"], row["rule"]) for row in facts.query("response_campaign")
    }
    assert campaigns == {"w2": ("autumn", "reference"), "r1": ("spring", "about"), "e1": ("autumn", "about")}


def test_a_typed_answer_belongs_to_the_latest_message_within_the_hours(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("autumn", message_id="w2").map("winter", message_id="w3")
    facts.tell(
        fact("sent", "w1", "08:00"),
        fact("sent", "w2", "09:00"),
        fact("sent", "w3", "18:00"),
        fact("replied", "r1", "12:00"),
        fact("replied", "r2", "12:00", phone="+15550009999"),
        fact("replied", "r3", "12:00", business_phone="+15550007777"),
        fact("replied", "r4", "19:00", day=24),
    )
    campaigns = {
        row["message_id"]: (row["campaign"], row["rule"])
        for row in facts.query("response_campaign", kind="replied")
    }
    assert campaigns == {"r1": ("autumn", "recent")}
    facts.database.query("UPDATE $(schema).setting SET value = '2' WHERE name = 'attribution_hours'")
    assert facts.query("response_campaign", kind="replied") == []


def test_two_campaigns_to_one_person_keep_their_own_answers(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("autumn", message_id="w2")
    facts.tell(
        fact("sent", "w1", "08:00"),
        fact("sent", "w2", "09:00"),
        fact("replied", "r1", "09:30", about_message_id="w1"),
        fact("replied", "r2", "09:40"),
        fact("opted_out", "r2", "09:40"),
    )
    campaigns = {
        (row["kind"], row["message_id"]): row["campaign"] for row in facts.query("response_campaign")
    }
    assert campaigns["replied", "r1"] == "spring"
    assert campaigns["replied", "r2"] == campaigns["opted_out", "r2"] == "autumn"


def test_a_person_without_a_phone_is_found_by_user_id(facts: Facts) -> None:
    facts.map("spring", message_id="w1")
    facts.tell(
        fact("sent", "w1", "08:00", phone=None, user_id="US.1"),
        fact("replied", "r1", "09:00", phone=None, user_id="US.1"),
    )
    assert facts.row("response_campaign", kind="replied")["rule"] == "recent"


def test_a_message_mapped_by_its_reference_is_as_good_as_one_mapped_by_its_id(facts: Facts) -> None:
    facts.map("spring", client_reference="ref-1", urn="U1")
    facts.tell(
        fact("sent", "w1", "08:00", client_reference="ref-1"),
        fact("read", "w1", "08:05"),
        fact("replied", "r1", "09:00"),
    )
    rules = {row["kind"]: (row["rule"], row["our_message_id"]) for row in facts.query("response_campaign")}
    assert rules == {"sent": ("reference", "w1"), "read": ("reference", "w1"), "replied": ("recent", "w1")}
    row = facts.row("campaign_funnel")
    assert (row["sent_on"], row["mapped"], row["read"], row["replied"]) == ("2026-11-20", 1, 1, 1)


def test_a_reference_of_a_whole_campaign_stands_for_each_of_its_messages(facts: Facts) -> None:
    facts.map("spring", client_reference="SPR26")
    people = {"w1": "+15550001111", "w2": "+15550003333", "w3": "+15550004444"}
    facts.tell(
        *(
            fact("sent", message, "08:00", client_reference="SPR26", phone=phone)
            for message, phone in people.items()
        ),
        fact("delivered", "w1", "08:01", client_reference="SPR26"),
        fact("replied", "r2", "09:00", phone=people["w2"]),
    )
    assert facts.row("response_campaign", kind="replied")["our_message_id"] == "w2"
    row = facts.row("campaign_funnel")
    assert (row["mapped"], row["sent"], row["delivered"], row["replied"]) == (3, 3, 1, 1)


def test_of_several_rows_for_one_reference_the_one_with_the_own_phone_counts(facts: Facts) -> None:
    facts.map("spring", client_reference="SPR26", phone="+15550003333", urn="U3")
    facts.map("spring", client_reference="SPR26", phone="+15550001111", urn="U1")
    facts.map("spring", client_reference="SPR26", urn="nobody")
    facts.tell(
        fact("sent", "w1", client_reference="SPR26"),
        fact("sent", "w3", client_reference="SPR26", phone="+15550003333"),
        fact("sent", "w4", client_reference="SPR26", phone="+15550004444"),
    )
    urns = {row["message_id"]: row["urn"] for row in facts.query("response_campaign")}
    assert urns == {"w1": "U1", "w3": "U3", "w4": "nobody"}


def test_a_typed_answer_belongs_to_no_message_that_failed_and_comes_from_no_group(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("autumn", message_id="w2")
    facts.tell(
        fact("sent", "w1", "08:00"),
        fact("sent", "w2", "09:00"),
        fact("failed", "w2", "09:01", errors="[]", error_code=131049),
        fact("replied", "r1", "10:00"),
        fact("replied", "r2", "10:00", group_id="G1"),
    )
    row = facts.row("response_campaign", kind="replied")
    assert (row["message_id"], row["campaign"]) == ("r1", "spring")


def test_without_our_number_in_a_notification_the_endpoint_decides(facts: Facts) -> None:
    facts.map("spring", message_id="w1")
    unnamed = {"business_phone": None, "phone_number_id": None}
    facts.tell(
        fact("sent", "w1", "08:00", **unnamed),
        fact("replied", "r1", "09:00", **unnamed),
        fact("replied", "r2", "09:00", endpoint="elsewhere", **unnamed),
    )
    assert facts.row("response_campaign", kind="replied")["message_id"] == "r1"


def test_the_time_of_sending_may_be_written_as_iso(facts: Facts) -> None:
    if not isinstance(facts.database, SQLiteDatabase):
        pytest.skip("in SQL Server the column is a datetime2 in UTC, and no text")
    facts.map(
        "spring", phone="+15550001111", business_phone="+15550002222", sent_at="2026-11-20T10:00:00+02:00"
    )
    facts.tell(fact("replied", "r0", "07:59"), fact("replied", "r1", "08:01"))
    assert facts.row("response_campaign")["message_id"] == "r1"
    assert facts.row("campaign_funnel")["sent_on"] == "2026-11-20"


def test_typed_answers_find_their_messages_by_an_index(facts: Facts) -> None:
    if not isinstance(facts.database, SQLiteDatabase):
        pytest.skip("this is about SQLite's plan; SQL Server has another way to ask for its own")
    plan = facts.database.query("EXPLAIN QUERY PLAN SELECT * FROM response_campaign")
    steps = [row["detail"] for row in plan]
    for person in ("phone", "user_id"):
        assert any("SEARCH m USING" in step and f"({person}=?" in step for step in steps), steps


def test_the_funnel_counts_each_message_once_by_day_of_sending(facts: Facts) -> None:
    for number in range(1, 6):
        facts.map("spring", message_id=f"w{number}")
    facts.map("spring", message_id="w9", sent_at="2026-11-21 08:00:00.000")
    failed = {"errors": "[]", "error_code": 131026}
    facts.tell(
        *(fact("sent", f"w{number}", "08:00") for number in range(1, 6)),
        fact("delivered", "w1", "08:01"),
        fact("read", "w1", "08:02"),
        fact("read", "w2", "08:02"),
        fact("failed", "w3", "08:01", **failed),
        fact("failed", "w2", "08:01", **failed),
        fact("replied", "r1", "09:00", about_message_id="w1"),
        fact("replied", "r2", "09:01", about_message_id="w1"),
        fact("replied", "r3", "09:01", about_message_id="w2"),
        fact("revoked", "x3", "09:02", about_message_id="r3"),
        fact("reacted", "e1", "09:00", about_message_id="w2", emoji="👍"),
        fact("reacted", "e2", "09:00", about_message_id="w1", emoji="👍"),
        fact("reacted", "e3", "09:01", about_message_id="w1", emoji=""),
        fact("opted_out", "r1", "09:00", about_message_id="w1"),
    )
    first, second = sorted(facts.query("campaign_funnel"), key=lambda row: row["sent_on"])
    counted = {
        name: first[name]
        for name in ["mapped", "sent", "delivered", "read", "replied", "reacted", "failed", "opted_out"]
    }
    assert counted == {
        "mapped": 5,
        "sent": 5,
        "delivered": 2,
        "read": 2,
        "replied": 1,
        "reacted": 1,
        "failed": 1,
        "opted_out": 1,
    }
    assert (first["delivered_rate"], first["read_rate"], first["failed_rate"]) == (0.4, 1.0, 0.2)
    assert (second["sent_on"], second["mapped"], second["sent"]) == ("2026-11-21", 1, 0)


# --- tests and time zones -------------------------------------------------------------------------


def test_test_rows_are_nowhere(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("autumn", client_reference="ref")
    test = {"is_test": True}
    facts.tell(
        fact("sent", "w1", **test),
        fact("failed", "w1", errors="[]", **test),
        fact("sent", "w2", client_reference="ref", **test),
        fact("replied", "r1", about_message_id="w1", reply_type="flow", reply_payload='{"a": 1}', **test),
        fact("replied", "r2", **test),
        fact("reacted", "e1", about_message_id="w1", emoji="👍", **test),
        fact("reply_marker", "w1", about_message_id="w1", **test),
        fact("opted_out", "r2", **test),
    )
    for view in (
        "message_status",
        "reply",
        "reaction_current",
        "opt_out_current",
        "flow_answer",
        "response_campaign",
    ):
        assert facts.query(view) == [], view
    assert {row["sent"] + row["replied"] for row in facts.query("campaign_funnel")} == {0}
    facts.tell(
        fact("replied", "real"), fact("edited", "x1", about_message_id="real", reply_text="no", **test)
    )
    assert facts.row("reply")["edited_at"] is None, "a test does not edit a real reply"
    assert len(facts.query("response_local")) == 10


def show_tests(database: Database, *, shown: bool) -> None:
    if isinstance(database, SQLiteDatabase):
        with closing(SQLiteTarget(database.path)) as target:
            target.show_tests(shown=shown)
        return
    from gatherer.targets.sqlserver import schema

    schema.apply(SQLServerDatabase.session(), SQLServerDatabase.schema, include_tests=shown)


def test_test_rows_are_shown_and_marked_on_request(facts: Facts) -> None:
    facts.map("spring", message_id="w1").map("spring", message_id="w2")
    facts.tell(
        fact("sent", "w1", is_test=True),
        fact("sent", "w2"),
        fact(
            "replied", "r1", about_message_id="w1", reply_type="flow", reply_payload='{"a": 1}', is_test=True
        ),
        fact("reacted", "e1", about_message_id="w1", emoji="👍", is_test=True),
        fact("opted_out", "r2", is_test=True),
        fact("opted_in", "r3", day=21),
    )
    show_tests(facts.database, shown=True)
    try:
        for view in ("reply", "reaction_current"):
            assert facts.row(view)["is_test"] == 1, view
        # Babelfish leaves the escapes of JSON in texts from OPENJSON, so that the payload is no JSON there.
        if isinstance(facts.database, SQLiteDatabase) or not SQLServerDatabase.is_babelfish():
            assert facts.row("flow_answer")["is_test"] == 1
        assert {row["message_id"]: int(row["is_test"]) for row in facts.query("message_status")} == {
            "w1": 1,
            "w2": 0,
        }
        assert {int(row["is_test"]): row["opted_out"] for row in facts.query("opt_out_current")} == {
            0: 0,
            1: 1,
        }, "an opt-out of a test changes no real state"
        funnel = {row["is_test"]: (row["mapped"], row["replied"]) for row in facts.query("campaign_funnel")}
        assert funnel == {0: (1, 0), 1: (1, 1)}
        assert {int(row["is_test"]) for row in facts.query("response_campaign")} == {0, 1}
    finally:
        show_tests(facts.database, shown=False)
    assert facts.query("reply") == []


def test_local_times_are_utc_until_a_zone_is_set(facts: Facts) -> None:
    row = facts.tell(fact("sent", "w1", "12:00")).row("response_local")
    assert row["occurred_local"] == row["occurred_at"] == "2026-11-20 12:00:00.000"
