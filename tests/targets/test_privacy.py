"""What every target does for people's privacy: finding and erasing them, and not keeping things for ever."""

import itertools
import random
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from gatherer.model import merge, timestamps
from gatherer.model.notification import body_key
from gatherer.model.person import Erasure, Hashing, Person
from gatherer.model.records import Kind, OtherEvent, Response, TemplateEvent
from gatherer.pipeline.decode import decode_batch
from gatherer.providers import paths
from gatherer.providers.base import reject
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Outcome, RetentionResult, Target
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import notification, receipts
from tests.targets.engines import ALL_TABLES, Database, clear, rows
from tests.targets.test_contract import NOW, deliveries, response
from tests.waiting import wait_for_later_time

DAY = timedelta(days=1)
PHONE, USER = "+15550001111", "US.13491208655302741918"
ANN = Person(phones=frozenset({PHONE}), user_ids=frozenset({USER}), message_ids=frozenset({"wamid.ann"}))
NOBODY: dict[str, list[Any]] = {"response": [], "other_event": [], "message_id_pair": [], "message_map": []}


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def other(key: bytes = b"o" * 16, **fields: Any) -> OtherEvent:
    common = msgspec.structs.asdict(response(key))
    names = OtherEvent.__struct_fields__
    return OtherEvent(**({n: v for n, v in common.items() if n in names} | {"family": "calls"} | fields))


def template(key: bytes = b"t" * 16, **fields: Any) -> TemplateEvent:
    common = msgspec.structs.asdict(response(key))
    names = TemplateEvent.__struct_fields__
    return TemplateEvent(**({n: v for n, v in common.items() if n in names} | {"field": "status"} | fields))


def keys_by_table(target: Target, person: Person = ANN, until: Any = NOW) -> dict[str, list[bytes]]:
    """Return the keys of the rows about `person`, by table."""
    rows_by_table = target.find(person, until)
    return {
        table: sorted(row["key"] for row in rows_by_table[table]) for table in ("response", "other_event")
    }


def map_message(database: Database, **columns: str) -> None:
    columns = {"campaign": "spring"} | columns
    placeholders = ", ".join("?" * len(columns))
    database.query(
        f"INSERT INTO $(schema).message_map ({', '.join(columns)}) VALUES ({placeholders})", *columns.values()
    )


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables."""
    return {
        table: sorted(
            (tuple(row.values()) for row in database.query(f"SELECT * FROM $(schema).{table}")), key=repr
        )
        for table in ALL_TABLES
    }


# --- finding --------------------------------------------------------------------------------------


def test_a_person_is_found_by_their_number_in_every_way_of_writing_it_and_by_their_user_id(
    target: Target,
) -> None:
    about_ann = [
        response(key(1), phone=PHONE),
        response(key(2), phone_raw="15550001111"),
        response(key(3), phone_raw=PHONE),
        response(key(4), phone_raw="whatsapp:+15550001111"),
        response(key(5), phone_raw="0015550001111"),
        response(key(6), user_id=USER, group_id="a group"),
    ]
    other_records = [
        response(key(7), phone="+15550001112", phone_raw="15550001112"),
        response(key(8), user_id=USER.lower()),
        response(key(9), business_phone=PHONE),
        response(key(10)),
    ]
    target.apply(Batch(records=[*about_ann, *other_records]))
    assert keys_by_table(target)["response"] == [record.key for record in about_ann]
    assert target.find(Person(), NOW) == NOBODY


def test_what_occurred_later_is_not_found(target: Target) -> None:
    millisecond = timedelta(milliseconds=1)
    target.apply(
        Batch(
            records=[
                response(key(1), phone=PHONE, occurred_at=NOW),
                response(key(2), phone=PHONE, occurred_at=NOW + millisecond),
                other(key(3), user_id=USER, occurred_at=NOW + millisecond),
                other(key(4), details='{"from": "15550001111"}', occurred_at=NOW + millisecond),
                response(key(5), message_id="wamid.ann", occurred_at=NOW + DAY),
                other(key(6), message_id="wamid.ann", occurred_at=NOW + DAY),
            ]
        )
    )
    assert keys_by_table(target) == {"response": [key(1), key(5)], "other_event": [key(6)]}


def test_rows_about_a_persons_message_are_found_unless_they_name_another_person(
    target: Target,
) -> None:
    about = {"about_message_id": "wamid.ann"}
    about_ann = [response(key(1), message_id="wamid.ann"), response(key(2), **about)]
    other_records = [
        response(key(3), phone="+15550009999", **about),
        response(key(4), phone_raw="hidden", **about),
        response(key(5), user_id="US.1", **about),
        response(key(6), group_id="a group", **about),
        response(key(7), message_id="wamid.ANN"),
    ]
    events = [
        other(key(8), message_id="wamid.ann"),
        other(key(9), message_id="wamid.ann", phone="+15550009999"),
        other(key(10), message_id="wamid.ann", user_id="US.1"),
    ]
    target.apply(Batch(records=[*about_ann, *other_records, *events]))
    assert keys_by_table(target) == {"response": [key(1), key(2)], "other_event": [key(8)]}


def test_other_events_are_found_by_what_stands_in_their_details(target: Target) -> None:
    odd = Person(user_ids=frozenset({"A%b_[c]"}))
    events = [
        other(key(1), details='{"to": "15550001111"}'),
        other(key(2), details='{"to": "9915550001111000"}'),  # a part of a longer number: the caller can tell
        other(key(3), details=f'{{"user": "{USER}"}}'),
        other(key(4), details=f'{{"user": "{USER.lower()}"}}'),
        other(key(5), phone=PHONE),
        other(key(6), details='{"to": "1555"}'),
        other(key(7)),
        other(key(8), details="A%b_[c]"),
        other(key(9), details="Axxb_[c]"),
        other(key(10), details="A%bxc"),
    ]
    target.apply(Batch(records=events))
    assert keys_by_table(target)["other_event"] == [key(1), key(2), key(3), key(5)]
    assert keys_by_table(target, odd)["other_event"] == [key(8)]


@pytest.mark.parametrize("column", ["reply_text", "reply_payload", "details"])
def test_texts_of_other_people_are_found_by_a_number_in_any_format(target: Target, column: str) -> None:
    bob: dict[str, Any] = {
        "phone": "+15550009999",
        "reply_text": None,
        "reply_payload": None,
        "details": None,
    }
    texts = [
        '{"to": "15550001111"}',
        '{"to": "+1 (555) 000-1111"}',
        '{"to": "\u202a+1\u00a0555.000.1111\u202c"}',
        f'{{"user": "{USER}"}}',
    ]
    other_texts = [
        '{"to": "15550001112"}',
        '{"to": "1555", "no": "0001111"}',
        f'{{"user": "{USER.lower()}"}}',
    ]
    records = [
        response(key(number), **bob | {column: text})
        for number, text in enumerate([*texts, *other_texts], start=1)
    ]
    target.apply(Batch(records=[*records, response(key(99), **bob)]))
    assert keys_by_table(target)["response"] == [record.key for record in records[: len(texts)]]


def test_rows_are_found_with_all_their_columns(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response(phone=PHONE, is_test=True), other(phone=PHONE)]))
    map_message(database, phone=PHONE, sent_at="2026-11-21 12:30:00.250")
    rows_by_table = target.find(ANN, NOW)
    assert rows_by_table.pop("message_id_pair") == []
    for table, (row,) in rows_by_table.items():
        (stored,) = database.query(f"SELECT * FROM $(schema).{table}")
        assert {
            name: sql_datetime.text(value) if hasattr(value, "tzinfo") else value
            for name, value in row.items()
        } == stored
    (row,) = rows_by_table["response"]
    assert (row["key"], row["received_at"], row["occurred_at"], row["blanked_at"]) == (
        b"k" * 16, NOW, NOW, None,
    )  # fmt: skip
    assert rows_by_table["message_map"][0]["sent_at"] == timestamps.parse("2026-11-21T12:30:00.25Z")


def test_what_was_sent_to_a_person_is_found_by_number_and_by_message(
    target: Target, database: Database
) -> None:
    for columns in (
        {"phone": PHONE, "urn": "1"},
        {"phone": "15550001111", "urn": "2"},
        {"message_id": "wamid.ann", "urn": "3"},
        {"phone": "+15550009999", "urn": "4"},
        {"business_phone": PHONE, "urn": "5"},
    ):
        map_message(database, **columns)
    assert [row["urn"] for row in target.find(ANN, NOW)["message_map"]] == ["1", "2", "3"]


def test_people_with_thousands_of_messages_are_found(target: Target) -> None:
    target.apply(Batch(records=[response(key(number), message_id=f"wamid.{number}") for number in range(10)]))
    many = Person(
        phones=frozenset(f"+1555{number:07}" for number in range(3000)),
        message_ids=frozenset(f"wamid.{number}" for number in range(5, 3005)) | {"x" * 5000},
    )
    assert keys_by_table(target, many)["response"] == [key(number) for number in range(5, 10)]


def test_all_rows_about_people_can_be_read(target: Target, database: Database) -> None:
    records = [
        response(
            key(1), phone=PHONE, phone_raw="15550001111", user_id=USER, reply_text="hi", client_reference="r"
        ),
        response(key(2)),
        other(key(3), message_id="wamid.A", details="{}"),
        template(key(4)),
    ]
    target.apply(Batch(records=records))
    map_message(database, phone="+15550003333", sent_at="2026-09-01 10:00:00")
    pairs = [(table, row) for table, batch in target.about_people(timestamps.EARLIEST) for row in batch]
    assert [table for table, _ in pairs] == ["response", "response", "other_event", "message_map"]
    rows = {row["key"]: row for _, row in pairs[:3]}
    assert rows[key(1)]["occurred_at"] == NOW
    assert {rows[key(1)][name] for name in ("phone", "user_id", "reply_text", "client_reference")} == {
        PHONE, USER, "hi", "r"
    }  # fmt: skip
    assert rows[key(3)]["details"] == "{}"
    mapped = pairs[3][1]
    assert mapped["phone"] == "+15550003333"
    assert mapped["sent_at"] == timestamps.parse("2026-09-01T10:00:00Z")
    assert mapped["inserted_at"] > mapped["sent_at"]
    minute = timedelta(minutes=1)
    assert [row for _, batch in target.about_people(timestamps.now() - minute) for row in batch] == [
        row for _, row in pairs
    ]
    assert [row for _, batch in target.about_people(timestamps.now() + minute) for row in batch] == []


def test_kept_notifications_are_those_of_all_rejections(target: Target) -> None:
    resolved, decoded, open_ = (
        notification(b"resolved", 1), notification(receipts("wamid.A"), 2, "nobody"), notification(b"{", 3)
    )  # fmt: skip
    target.apply(decode_batch([resolved, decoded, open_], frozenset()))
    target.apply(decode_batch([decoded], target.open_rejections(), provider="meta"))
    assert len(target.open_rejections()) == 2
    stored = [source for batch in target.kept_notifications() for source in batch]
    assert sorted((source.id, source.body, source.received_at) for source in stored) == sorted(
        (source.id, source.body, source.received_at) for source in (resolved, decoded, open_)
    )


# --- erasing --------------------------------------------------------------------------------------

ERASURE = Erasure(
    erased_at=NOW,
    host="app-server",
    account="operator",
    version="1",
    reference="TICKET-7",
    identifiers=2,
    notifications=3,
    responses=4,
    other_rows=5,
)
STONES = Hashing("a key").bury(ANN, NOW)


def erase(target: Target, **more: Any) -> Outcome:
    nothing: dict[str, Any] = {
        "rows": {}, "texts": {}, "bodies": (), "batch": Batch(), "tombstones": (), "erasure": None
    }  # fmt: skip
    return target.erase(**(nothing | more))


def ids(target: Target, person: Person = ANN) -> dict[str, list[int]]:
    return {
        table: [row["id"] for row in found_rows] for table, found_rows in target.find(person, NOW).items()
    }


def rejected(number: int, *elements: paths.Path) -> Batch:
    source = notification(b'{"entry": %d}' % number, number)
    return Batch(rejected=[reject(source, "meta", path, "an entry must be an object") for path in elements])


def test_a_person_is_erased_and_the_others_stay(target: Target, database: Database) -> None:
    about = [response(key(1), phone=PHONE), response(key(2), phone=PHONE), other(key(3), details=PHONE)]
    other_records = [response(key(4), phone="+15550009999"), other(key(5)), template(key(6))]
    target.apply(Batch(records=[*about, *other_records]))
    target.apply(rejected(7, ("a",), ("b",)))
    target.apply(rejected(8, ("a",)))
    map_message(database, phone=PHONE)
    map_message(database, phone="+15550009999")
    body_key = rejected(7, ()).rejected[0].body_key
    again = Batch(records=[response(key(9), phone="+15550009999"), other_records[0]])

    outcome = erase(
        target, rows=ids(target), bodies=[body_key], batch=again, tombstones=STONES, erasure=ERASURE
    )

    assert outcome == Outcome(removed=6, inserted={"sent": 1}, duplicates=1)
    assert target.find(ANN, NOW) == NOBODY
    assert [row["key"] for row in rows(database)] == [key(4), key(9)]
    assert [row["key"] for row in rows(database, "other_event")] == [key(5)]
    assert [row["notification_id"] for row in rows(database, "rejected")] == [8]
    ((stored,),) = target.kept_notifications()
    assert stored.body == b'{"entry": 8}'
    assert [row["phone"] for row in database.query("SELECT phone FROM $(schema).message_map")] == [
        "+15550009999"
    ]
    assert sorted(target.tombstones()) == sorted(STONES)
    (account,) = database.query("SELECT * FROM $(schema).erasure")
    del account["id"]
    assert account == {name: getattr(ERASURE, name) for name in account} | {
        "erased_at": sql_datetime.text(NOW)
    }


def test_rows_of_others_lose_nothing_but_the_texts_that_are_given(target: Target, database: Database) -> None:
    text = {"reply_text": "hi", "reply_payload": "[1]", "details": '{"said": "of Ann"}'}
    target.apply(Batch(records=[response(key(1), **text), response(key(2), **text), other(key(3))]))
    before, event = {row["key"]: row for row in raw(database)}, raw(database, "other_event")[0]
    wait_for_later_time()
    erase(
        target,
        texts={
            "response": {before[key(1)]["id"]: {"reply_payload": None, "details": '{"ö": "\U0001f600"}'}},
            "other_event": {event["id"]: {"details": None}},
        },
    )
    after = {row["key"]: row for row in raw(database)}
    assert after[key(2)] == before[key(2)]
    assert after[key(1)]["changed_at"] > before[key(1)]["changed_at"]
    assert after[key(1)] == before[key(1)] | {
        "reply_payload": None,
        "details": '{"ö": "\U0001f600"}',
        "changed_at": after[key(1)]["changed_at"],
        "commit_number": after[key(2)]["commit_number"] + 1,
    }
    assert raw(database, "other_event")[0]["details"] is None


def test_no_other_columns_are_written(target: Target) -> None:
    with pytest.raises(ValueError, match="phone"):
        erase(target, texts={"response": {1: {"phone": None}}})
    with pytest.raises(ValueError, match="gather_run"):
        erase(target, texts={"gather_run": {1: {"details": None}}})


def test_an_erasure_is_all_or_nothing(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response(phone=PHONE)]))
    target.apply(rejected(7, ("a",)))
    before = everything(database)
    broken = Batch(records=[response(key(2), occurred_at_source=None)])
    bodies = [rejected(7, ()).rejected[0].body_key]
    with pytest.raises(Exception, match=r"(?i)null"):
        erase(target, rows=ids(target), bodies=bodies, batch=broken, tombstones=STONES, erasure=ERASURE)
    assert everything(database) == before


def test_rows_of_a_table_without_people_cannot_be_erased(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response(phone=PHONE)]))
    for name in ("inbox_position", "rejected", "response; DROP TABLE response"):
        with pytest.raises(ValueError, match="cannot delete rows"):
            erase(target, rows={"response": [1], name: [1]})
    assert len(rows(database)) == 1


def test_tombstones_are_copied_without_anything_else(target: Target, database: Database) -> None:
    assert erase(target, tombstones=STONES) == Outcome()
    assert sorted(target.tombstones()) == sorted(STONES)
    assert database.query("SELECT * FROM $(schema).erasure") == []
    assert erase(target) == Outcome()


def test_of_two_tombstones_the_later_time_counts(target: Target) -> None:
    stone = STONES[0]
    earlier, later = stone._replace(erased_at=NOW - DAY), stone._replace(erased_at=NOW + DAY)
    for stones in ([stone], [earlier], [later, stone], [earlier, stone]):
        erase(target, tombstones=stones)
    assert target.tombstones() == [later]
    assert later.erased_at.tzinfo is not None


def test_thousands_of_rows_and_tombstones_are_erased_at_once(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response(key(number), phone=PHONE) for number in range(4500)]))
    many = Person(message_ids=frozenset(f"wamid.{number}" for number in range(4500)))
    stones = Hashing("a key").bury(many, NOW)
    assert erase(target, rows=ids(target), tombstones=stones).removed == 4500
    assert rows(database) == []
    assert len(target.tombstones()) == 4500


def test_a_dry_run_erases_nothing_but_counts(database: Database) -> None:
    with closing(database.open()) as target:
        target.apply(Batch(records=[response(phone=PHONE)]))
        chosen = ids(target)
    before = everything(database)
    with closing(database.open(dry_run=True)) as target:
        assert erase(target, rows=chosen, tombstones=STONES, erasure=ERASURE).removed == 1
    assert everything(database) == before


# --- not keeping things for ever ------------------------------------------------------------------

WRITTEN = {"reply_text": "yes, please", "reply_payload": '{"a": 1}', "details": '{"context": {}}'}


def text_of(database: Database) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in merge.TEXT) for row in rows(database)]


def raw(database: Database, table: str = "response") -> list[dict[str, Any]]:
    return database.query(f"SELECT * FROM $(schema).{table}")


def blank(target: Target) -> RetentionResult:
    return target.apply_retention(text_before=NOW + DAY, rows_before=None)


@pytest.mark.parametrize("kind", Kind)
def test_the_text_of_answers_is_blanked_and_that_of_receipts_stays(
    target: Target, database: Database, kind: Kind
) -> None:
    receipt = kind in (Kind.SENT, Kind.DELIVERED, Kind.READ, Kind.PLAYED, Kind.FAILED)
    profile = {"profile_name": "Ann", "emoji": "", "client_reference": "spring", "reply_type": "text"}
    made = response(kind=kind, phone=PHONE, **profile, **WRITTEN)
    target.apply(Batch(records=[made]))
    (before,) = raw(database)
    assert blank(target) == RetentionResult(blanked=0 if receipt else 1)
    (after,) = raw(database)
    if receipt:
        assert after == before
    else:
        assert after["changed_at"] == after["blanked_at"] >= before["changed_at"]
        assert after["told_commit_number"] == before["commit_number"] < after["commit_number"]
        changed = {name for name in after if after[name] != before[name]} - {"changed_at"}
        assert changed == {*merge.TEXT, "blanked_at", "commit_number", "told_commit_number"}
        assert text_of(database) == [(None, None, None)]
    assert blank(target) == RetentionResult()
    assert raw(database) == [after], "once is enough"


def test_only_what_occurred_before_is_blanked(target: Target, database: Database) -> None:
    for number in (0, 1):
        moment = NOW + number * timedelta(milliseconds=1)
        target.apply(Batch(records=[response(key(number), kind=Kind.REPLIED, occurred_at=moment, **WRITTEN)]))
    assert target.apply_retention(text_before=NOW, rows_before=None) == RetentionResult()
    assert target.apply_retention(
        text_before=NOW + timedelta(milliseconds=1), rows_before=None
    ) == RetentionResult(blanked=1)
    assert [row["reply_text"] for row in rows(database)] == [None, "yes, please"]


def test_blanked_text_stays_blanked_after_any_delivery(target: Target, database: Database) -> None:
    made = response(kind=Kind.REPLIED, **WRITTEN)
    target.apply(Batch(records=[made]))
    blank(target)
    before = raw(database)
    later = msgspec.structs.replace(made, received_at=NOW + DAY, notification_id=99)
    other_words = msgspec.structs.replace(made, reply_text="a")
    outcome = target.apply(Batch(records=[made]))
    outcome.add(target.apply(Batch(records=[later])))
    outcome.add(target.apply(Batch(records=[other_words])))
    assert outcome == Outcome(duplicates=3)
    assert raw(database) == before, "not even changed_at"


def test_what_differs_but_does_not_win_does_not_rewrite_what_was_blanked(
    target: Target, database: Database
) -> None:
    made = response(kind=Kind.REPLIED, profile_name="Ann", **WRITTEN)
    target.apply(Batch(records=[made]))
    blank(target)
    before = raw(database)
    losing = msgspec.structs.replace(made, profile_name="Zoe", reply_text="a", occurred_at=NOW + DAY)
    assert target.apply(Batch(records=[losing])) == Outcome(duplicates=1)
    assert raw(database) == before


def test_what_was_blanked_still_learns_everything_else(target: Target, database: Database) -> None:
    bare = response(kind=Kind.REPLIED)
    target.apply(Batch(records=[bare]))
    assert blank(target) == RetentionResult(blanked=1), (
        "also where nothing was written: it may be delivered later"
    )
    complete = response(kind=Kind.REPLIED, client_reference="spring", profile_name="Ann", **WRITTEN)
    earlier = msgspec.structs.replace(bare, received_at=NOW - DAY, details='{"earlier": true}')
    assert target.apply(Batch(records=[complete, response(key(2))])) == Outcome(
        inserted={"sent": 1}, filled=1
    )
    assert target.apply(Batch(records=[earlier])) == Outcome(filled=1)
    assert target.apply(Batch(records=[complete])) == Outcome(duplicates=1)
    expected = merge.blanked(merge.merge(merge.merge(bare, complete), earlier))
    row = next(row for row in rows(database) if row["key"] == bare.key)
    assert row["profile_name"] == "Ann"
    assert row == {
        name: sql_datetime.text(value) if hasattr(value, "tzinfo") else value
        for name, value in msgspec.structs.asdict(expected).items()
    }


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=deliveries([Response]))
def test_in_any_order_a_blanked_row_is_the_merged_one_without_its_text(
    target: Target, database: Database, made: list[Response]
) -> None:
    made = [msgspec.structs.replace(delivery, kind=Kind.REPLIED) for delivery in made]
    (merged,) = merge.fold(made)
    expected = {
        name: sql_datetime.text(value) if hasattr(value, "tzinfo") else value
        for name, value in msgspec.structs.asdict(merge.blanked(merged)).items()
    }
    for order in itertools.islice(itertools.permutations(made), 3):
        clear(database)
        target.apply(Batch(records=order[:1]))
        blank(target)
        for delivery in order:
            target.apply(Batch(records=[delivery]))
        assert rows(database) == [expected]
        assert target.apply(Batch(records=made[:1])) == Outcome(duplicates=1)


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_a_rebuild_forgets_what_was_blanked(target: Target, database: Database) -> None:
    made = response(kind=Kind.REPLIED, **WRITTEN)
    target.apply(Batch(records=[made]))
    blank(target)
    target.rebuild([("inbox-a", 1)], [Batch(records=[made])])
    assert text_of(database) == [tuple(WRITTEN[name] for name in merge.TEXT)]


def test_old_rows_are_deleted_from_every_table(target: Target, database: Database) -> None:
    old, new = {"occurred_at": NOW - DAY}, {"occurred_at": NOW}
    for number, times in enumerate((old, new)):
        target.apply(
            Batch(
                records=[
                    response(key(number), **times),
                    other(key(number), **times),
                    template(key(number), **times),
                ]
            )
        )
    map_message(database, phone=PHONE, sent_at="2020-01-01 00:00:00.000")
    assert target.apply_retention(text_before=None, rows_before=NOW) == RetentionResult(deleted=3)
    for table in ("response", "other_event", "template_event"):
        assert [row["key"] for row in rows(database, table)] == [key(1)]
    assert len(raw(database, "message_map")) == 1, "that is the site's own"
    assert target.apply_retention(text_before=None, rows_before=NOW) == RetentionResult()


@pytest.mark.parametrize("limit", ["text_before", "rows_before"])
def test_rejections_go_with_the_text_as_they_hold_whole_notifications(
    target: Target, database: Database, limit: str
) -> None:
    for number in (1, 2, 3):
        target.apply(rejected(number, ("a",), ("b",)))
    second = notification(b"", 2).received_at
    # The bytes of the first are rejected once more, for another reason, and later.
    again = notification(b'{"entry": 1}', 3, provider="wati")
    target.apply(Batch(rejected=[reject(again, "wati", (), "not from Wati")]))
    limits: dict[str, Any] = {"text_before": None, "rows_before": None}
    assert target.apply_retention(**(limits | {limit: second})) == RetentionResult(deleted=2)
    assert sorted(row["notification_id"] for row in rows(database, "rejected")) == [2, 2, 3, 3, 3]
    assert len(raw(database, "rejected_notification")) == 3
    assert target.apply_retention(**(limits | {limit: NOW + DAY})) == RetentionResult(deleted=5)
    assert raw(database, "rejected_notification") == raw(database, "rejected") == []


def test_more_than_one_step_is_done(target: Target, database: Database) -> None:
    many = [
        response(key(number), kind=Kind.REPLIED, reply_text="x", occurred_at=NOW + number % 2 * DAY)
        for number in range(9000)
    ]
    target.apply(Batch(records=many))
    assert target.apply_retention(text_before=NOW + 2 * DAY, rows_before=NOW + DAY) == RetentionResult(
        blanked=4500, deleted=4500
    )
    assert {row["reply_text"] for row in raw(database)} == {None}
    assert len(raw(database)) == 4500


def test_nothing_is_too_old_without_a_limit(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response(kind=Kind.REPLIED, **WRITTEN)]))
    before = everything(database)
    assert target.apply_retention(text_before=None, rows_before=None) == RetentionResult()
    assert everything(database) == before


def test_a_dry_run_counts_what_retention_would_remove(database: Database) -> None:
    with closing(database.open()) as target:
        records = [response(key(n), kind=Kind.REPLIED, **WRITTEN) for n in range(4500)]
        target.apply(Batch(records=records))
        target.apply(rejected(1, ("a",)))
    before = everything(database)
    with closing(database.open(dry_run=True)) as target:
        assert target.apply_retention(text_before=NOW + DAY, rows_before=None) == RetentionResult(
            blanked=4500, deleted=1
        )
        assert target.apply_retention(text_before=None, rows_before=NOW + DAY) == RetentionResult(
            deleted=4501
        )
    assert everything(database) == before


# --- the file alone -------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    """Return what stands in the file, in use or not, and in its log."""
    log = path.with_name(path.name + "-wal")
    return path.read_bytes() + (log.read_bytes() if log.exists() else b"")


def test_nothing_of_an_erased_person_is_left_in_the_file(tmp_path: Path) -> None:
    """Also where rows have grown, and were moved from one page to another."""
    path, chance = tmp_path / "responses.db", random.Random(1)

    def made(number: int) -> Response:
        phone = f"+1555{number % 100:07}"
        words = {"reply_text": "word " * chance.randrange(1000), "details": phone}
        return response(
            chance.randbytes(16),
            kind=Kind.REPLIED,
            phone=phone,
            phone_raw=phone[1:],
            message_id=f"wamid.{phone}.{number}",
            **(words if number % 3 else {}),
        )

    with closing(SQLiteTarget(path)) as target:
        first = [made(number) for number in range(3000)]
        target.apply(Batch(records=first))
        for _ in range(3):
            grown = [
                msgspec.structs.replace(record, profile_name="n" * chance.randrange(2000))
                for record in chance.sample(first, 1000)
            ]
            target.apply(Batch(records=grown))
        target.apply(Batch(rejected=[reject(notification(b"+15550000042"), "meta", (), "no JSON")]))
        assert b"15550000042" in _bytes(path)
        for number in range(40, 50):
            phone = f"+1555{number:07}"
            erase(
                target,
                rows=ids(target, Person(phones=frozenset({phone}))),
                bodies=[body_key(phone.encode())],
            )
            assert phone[1:].encode() not in _bytes(path)


def test_rows_are_erased_from_a_file_that_another_program_reads(tmp_path: Path) -> None:
    path = tmp_path / "responses.db"
    with closing(SQLiteTarget(path)) as target:
        target.apply(Batch(records=[response(phone=PHONE)]))
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("PRAGMA busy_timeout = 0")
            target._connection.execute("PRAGMA busy_timeout = 0")
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM response").fetchone()
            assert erase(target, rows=ids(target)).removed == 1
            assert target.find(ANN, NOW) == NOBODY
    assert PHONE.encode() not in _bytes(path), "at the latest when all connections are closed"


def test_retention_finds_old_rows_by_an_index(tmp_path: Path) -> None:
    """It is done after every run."""
    with closing(SQLiteTarget(tmp_path / "responses.db")) as target:
        run: list[str] = []
        target._connection.set_trace_callback(run.append)
        target.apply_retention(text_before=NOW, rows_before=NOW)
        target._connection.set_trace_callback(None)
        looking = [statement for statement in run if "WHERE" in statement]
        assert len(looking) == 8
        for statement in looking:
            steps = target._connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            scans = [step[3] for step in steps if "SCAN" in step[3]]
            assert set(scans) <= {"SCAN commit_sequence"}, statement  # it has one row
