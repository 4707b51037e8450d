"""What every target promises. A new engine joins by a line in `engines.py`."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.inbox import consumers
from gatherer.model import merge, time_zones, timestamps
from gatherer.model.records import TABLES, Kind, OtherEvent, Reason, Record, Response
from gatherer.pipeline.decode import decode_batch
from gatherer.providers.base import reject
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Outcome, Position, Run, Target
from tests.factories import envelope, notification, receipts, status, text, value
from tests.targets.engines import Database, all_rows, clear, rows

NOW = timestamps.from_milliseconds(1_790_000_000_000)


def response(key: bytes = b"k" * 16, **fields: Any) -> Response:
    return Response(
        **{
            "key": key,
            "provider": "meta",
            "endpoint": "apteco",
            "inbox_id": "inbox-a",
            "notification_id": 1,
            "received_at": NOW,
            "occurred_at": NOW,
            "occurred_at_source": "element",
            "kind": Kind.SENT,
        }
        | fields
    )


def test_a_target_keeps_its_identity_when_its_settings_change(database: Database) -> None:
    """As which it is known to the inboxes; a name of a consumer, so that it can name a file."""
    with closing(database.open()) as target:
        identity = target.identity
        assert consumers.is_name(identity)
        target.save_settings(time_zone="Europe/London", attribution_hours=24)
    with closing(database.open()) as target:
        assert target.identity == identity
        target.save_settings(time_zone="UTC", attribution_hours=72)
    with closing(database.open(dry_run=True)) as target:
        assert target.identity == identity
    stored_settings = database.query("SELECT name, value FROM $(schema).setting")
    assert {row["name"]: row["value"] for row in stored_settings} == {
        "identity": identity,
        "time_zone": "UTC",
        "attribution_hours": "72",
    }


def test_views_take_up_an_update_of_the_time_zone_database(
    target: Target, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.apply(Batch(records=[response(occurred_at=NOW)]))
    for behaves_as, hours in (("Europe/London", 1), ("Europe/Berlin", 2), ("UTC", 0)):
        zone = ZoneInfo(behaves_as)  # the rules of London change, not the name
        monkeypatch.setattr(time_zones, "ZoneInfo", lambda _name, zone=zone: zone)
        target.save_settings(time_zone="Europe/London", attribution_hours=72)
        (row,) = database.query("SELECT occurred_at, occurred_local FROM $(schema).response_local")
        occurred_at, local = (datetime.fromisoformat(str(value)) for value in row.values())
        assert local - occurred_at == timedelta(hours=hours)


def test_an_empty_target_has_no_position_and_no_rejections(target: Target) -> None:
    assert target.position("inbox-a") is None
    assert target.open_rejections() == set()
    assert target.status().rows["response"] == 0
    assert target.status().last_run is None


def test_rows_and_position_arrive_together(target: Target, database: Database) -> None:
    position = Position("inbox-a", 7, b"d" * 16)
    outcome = target.apply(Batch(records=[response()], position=position))
    assert outcome == Outcome(inserted={"sent": 1})
    assert target.position("inbox-a") == position
    assert len(rows(database)) == 1


def test_nothing_of_a_batch_arrives_when_a_part_fails(target: Target, database: Database) -> None:
    broken = response(b"2" * 16, occurred_at_source=None)
    with pytest.raises(Exception, match=r"(?i)null"):
        target.apply(Batch(records=[response(), broken], position=Position("inbox-a", 7, b"d" * 16)))
    assert rows(database) == []
    assert target.position("inbox-a") is None


def test_nothing_of_a_batch_arrives_when_the_position_fails(target: Target, database: Database) -> None:
    nowhere = Position("inbox-a", None, b"d" * 16)  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"(?i)null"):
        target.apply(Batch(records=[response()], position=nowhere))
    assert rows(database) == []
    assert target.position("inbox-a") is None


def test_the_position_only_moves_forward(target: Target) -> None:
    for number in (5, 9, 3):
        target.apply(Batch(position=Position("inbox-a", number, bytes([number]) * 16)))
    assert target.position("inbox-a") == Position("inbox-a", 9, b"\x09" * 16)


def test_positions_of_different_inboxes_do_not_meet(target: Target) -> None:
    target.apply(Batch(position=Position("inbox-a", 5, b"a" * 16)))
    assert target.position("inbox-b") is None


def test_every_column_of_a_record_arrives(target: Target, database: Database) -> None:
    """Columns of the table are the fields of the record, in every table."""
    for table in TABLES:
        made = _full(table)
        target.apply(Batch(records=[made]))
        (row,) = rows(database, table.table)
        expected = {name: _stored(value) for name, value in msgspec.structs.asdict(made).items()}
        assert row == expected


@pytest.mark.parametrize(
    "words",
    [
        pytest.param("👩‍👩‍👧‍👦🏳️‍🌈", id="emoji"),
        pytest.param("مرحبا بالعالم", id="right to left"),
        pytest.param("𝔘𝔫𝔦", id="beyond the BMP"),
        pytest.param("'; DROP TABLE response; --", id="quotes"),
        pytest.param("", id="empty"),
        pytest.param(
            "x" * 60_000,
            id="long",
            marks=pytest.mark.babelfish("cuts texts from OPENJSON at 4 000 characters"),
        ),
    ],
)
def test_text_of_every_kind_survives(target: Target, database: Database, words: str) -> None:
    target.apply(Batch(records=[response(reply_text=words)]))
    assert [row["reply_text"] for row in rows(database)] == [words]


def test_counts_tell_new_filled_and_duplicate_apart(target: Target) -> None:
    sent, read = response(b"1" * 16), response(b"2" * 16, kind=Kind.READ)
    assert target.apply(Batch(records=[sent, read])) == Outcome(inserted={"sent": 1, "read": 1})
    filled = response(b"1" * 16, client_reference="spring")
    new = response(b"3" * 16)
    assert target.apply(Batch(records=[filled, read, new])) == Outcome(
        inserted={"sent": 1}, filled=1, duplicates=1
    )


def test_a_duplicate_changes_nothing_not_even_changed_at(target: Target, database: Database) -> None:
    target.apply(Batch(records=[response()]))
    before = _raw(database)
    later = response(received_at=NOW + timedelta(hours=1), notification_id=99)
    assert target.apply(Batch(records=[later])).duplicates == 1
    assert _raw(database) == before


_WORDS = st.none() | st.sampled_from(["", "a", "a ", "b", "é", "\U0001f600", "\uffff"])
_TIMES = st.sampled_from([NOW + timedelta(seconds=s) for s in range(3)])


@st.composite
def deliveries(draw: st.DrawFn, tables: Sequence[type[Record]] = TABLES) -> list[Record]:
    """Several deliveries of one fact that fill and contradict each other in every column."""
    table = draw(st.sampled_from(tables))
    made = []
    for _ in range(draw(st.integers(1, 4))):
        fields: dict[str, Any] = {
            "key": b"k" * 16,
            "provider": draw(st.sampled_from(["meta", "wati"])),
            "endpoint": draw(st.sampled_from(["one", "two"])),
            "inbox_id": draw(st.sampled_from(["inbox-a", "inbox-b"])),
            "notification_id": draw(st.integers(1, 3)),
            "received_at": draw(_TIMES),
            "occurred_at": draw(_TIMES),
            "occurred_at_source": draw(st.sampled_from(["element", "entry", "receipt"])),
            "is_test": draw(st.booleans()),
        }
        for field in msgspec.structs.fields(table):
            if field.name in fields:
                continue
            if field.name == "kind":
                fields["kind"] = Kind.SENT
            elif field.required:
                fields[field.name] = "word"
            elif "int" in str(field.type):
                fields[field.name] = draw(st.none() | st.integers(-2, 2))
            elif "float" in str(field.type):
                fields[field.name] = draw(st.none() | st.sampled_from([0.0, 0.5, 99.9]))
            elif "bool" in str(field.type):
                fields[field.name] = draw(st.none() | st.booleans())
            else:
                fields[field.name] = draw(_WORDS)
        if table is Response and fields["errors"] is None:
            fields |= {"error_code": None, "error_title": None, "error_details": None}
        made.append(table(**fields))
    return made


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=deliveries())
def test_the_upsert_is_the_merging_rule(target: Target, database: Database, made: list[Record]) -> None:
    """Row by row, in every order of arrival, SQL gives the same as `merge.fold`."""
    (expected,) = merge.fold(made)
    wanted = {name: _stored(value) for name, value in msgspec.structs.asdict(expected).items()}
    for order in itertools.islice(itertools.permutations(made), 6):
        clear(database)
        for delivery in order:
            target.apply(Batch(records=[delivery]))
        assert rows(database, type(expected).table) == [wanted]


def test_a_bare_delivery_takes_nothing_from_a_whole_row_and_the_other_way_round(
    target: Target, database: Database
) -> None:
    """Rows without answers and failures are written without those columns."""
    bare = response(phone="+15550001111")
    complete = response(
        profile_name="Ann",
        emoji="",
        reply_text="yes",
        error_code=1,
        error_title="no",
        errors="[]",
        billable=False,
    )
    (expected,) = merge.fold([bare, complete])
    wanted = {name: _stored(value) for name, value in msgspec.structs.asdict(expected).items()}
    for first, second in ((bare, complete), (complete, bare)):
        clear(database)
        assert target.apply(Batch(records=[first])) == Outcome(inserted={"sent": 1})
        assert target.apply(Batch(records=[second])) == Outcome(filled=1)
        assert target.apply(Batch(records=[first, response(b"l" * 16, group_id="g")])) == Outcome(
            inserted={"sent": 1}, duplicates=1
        )
        assert rows(database)[0] == wanted


def test_a_rejection_is_kept_once_with_its_notification_kept_once(target: Target, database: Database) -> None:
    notifications = [notification(b'{"entry":[1,2]}', number) for number in (1, 2, 3)]
    refusals = [
        [reject(source, "meta", ("entry", i), "an entry must be an object") for i in (0, 1)]
        for source in notifications
    ]
    assert target.apply(Batch(rejected=refusals[1])).rejected == 2
    assert target.apply(Batch(rejected=refusals[2])).rejected == 0
    assert target.apply(Batch(rejected=refusals[0])).rejected == 0
    stored = rows(database, "rejected")
    assert [row["notification_id"] for row in stored] == [1, 1], "the first receipt counts"
    assert target.status().rejected_open == 2
    (body,) = _raw(database, "SELECT body FROM $(schema).rejected_notification")
    assert body == (b'{"entry":[1,2]}',)


def test_a_later_success_resolves_a_rejection(target: Target) -> None:
    source = notification(receipts("wamid.A"), provider="nobody")
    batch = decode_batch([source], target.open_rejections())
    target.apply(batch)
    assert batch.rejected[0].reason_class is Reason.UNKNOWN_PROVIDER
    ((again,),) = target.rejected_notifications()
    assert again.body == source.body
    mended = decode_batch([again], target.open_rejections(), provider="meta")
    assert target.apply(mended).resolved == 1
    assert target.open_rejections() == set()
    assert list(target.rejected_notifications()) == []


def test_a_rejection_that_happens_again_stays_open(target: Target) -> None:
    source = notification(b"no json")
    for _ in range(2):
        outcome = target.apply(decode_batch([source], target.open_rejections()))
        assert outcome.resolved == 0
    assert len(target.open_rejections()) == 1


@pytest.mark.parametrize("together", [True, False])
def test_what_is_kept_of_a_rejected_notification_does_not_depend_on_order(
    target: Target, database: Database, *, together: bool
) -> None:
    deliveries = [
        notification(b"no json", number)._replace(
            content_type=content_type, received_at=received_at, provider=provider
        )
        for number, content_type, received_at, provider in (
            (1, "text/plain", NOW + timedelta(seconds=2), "meta"),
            (2, None, NOW, "meta"),
            (3, "application/json", NOW + timedelta(seconds=1), "wati"),
        )
    ]
    for order in itertools.permutations(deliveries):
        for table in ("rejected", "rejected_notification"):
            database.query(f"DELETE FROM $(schema).{table}")
        for batch in [order] if together else [[delivery] for delivery in order]:
            target.apply(decode_batch(list(batch), frozenset()))
        ((kept,),) = target.kept_notifications()
        assert (kept.id, kept.received_at, kept.content_type) == (2, NOW, "application/json")
        ((of_meta, of_wati),) = target.rejected_notifications()
        assert of_meta == kept
        assert (of_wati.id, of_wati.provider, of_wati.content_type) == (3, "wati", "application/json")


def test_rejected_notifications_come_in_batches_without_end(target: Target) -> None:
    notifications = [notification(b"no json %d" % number, number) for number in range(250)]
    target.apply(decode_batch(notifications, frozenset()))
    sources = [source for batch in target.rejected_notifications() for source in batch]
    assert sorted(source.body for source in sources) == sorted(source.body for source in notifications)


def test_rebuild_removes_only_what_came_from_the_chosen(target: Target, database: Database) -> None:
    first, second = notification(receipts("wamid.A"), 1), notification(receipts("wamid.B"), 2)
    target.apply(decode_batch([first, second], frozenset()))
    outcome = target.rebuild([("inbox-a", 1)], [decode_batch([first], frozenset())])
    assert outcome.removed == 1
    assert outcome.inserted == {"sent": 1}
    assert len(rows(database)) == 2


def test_rebuild_is_all_or_nothing(target: Target, database: Database) -> None:
    target.apply(decode_batch([notification(receipts("wamid.A"))], frozenset()))
    before = _raw(database)

    def failing() -> Iterator[Batch]:
        yield Batch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        target.rebuild([("inbox-a", 1)], failing())
    assert _raw(database) == before


def test_a_dry_run_counts_but_leaves_nothing(database: Database) -> None:
    database.open().close()  # makes the file
    with closing(database.open(dry_run=True)) as target:
        batch = Batch(records=[response()], position=Position("inbox-a", 1, b"d" * 16))
        assert target.apply(batch).inserted == {"sent": 1}
        assert target.position("inbox-a") is None
    assert all_rows(database)["response"] == []


def test_runs_are_recorded(target: Target) -> None:
    run = Run(
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        host="app-server",
        version="1",
        inbox_id="inbox-a",
        read=3,
        inserted=2,
        filled=1,
        duplicates=4,
        rejected=5,
        exit_code=75,
        problem="the disk is full",
    )
    target.record_run(run)
    assert target.status().last_run == run


def test_keys_from_finds_records(target: Target) -> None:
    body = envelope(value(statuses=[status("wamid.A"), {"status": "sent"}], messages=[text("wamid.B")]))
    batch = decode_batch([notification(body, 4)], frozenset())
    target.apply(batch)
    keys = {record.key for record in batch.records}
    assert target.keys_from([("inbox-a", 4)]) == keys
    assert len(keys) == 2
    assert target.keys_from([("inbox-a", 5), ("inbox-b", 4)]) == set()


def _stored(value: Any) -> Any:
    return sql_datetime.text(value) if hasattr(value, "tzinfo") else value


def _full(table: type[Record]) -> Record:
    """Return a record with a value in every field."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(table):
        kind = str(field.type)
        if field.name == "kind":
            values["kind"] = Kind.FAILED
        elif field.name == "occurred_at_source":
            values[field.name] = "entry"
        elif "datetime" in kind:
            values[field.name] = NOW
        elif "bytes" in kind:
            values[field.name] = b"f" * 16
        elif "bool" in kind:
            values[field.name] = True
        elif "float" in kind:
            values[field.name] = 12.5
        elif "int" in kind:
            values[field.name] = 12
        else:
            values[field.name] = f"{field.name} ✓"
    return table(**values)


def _raw(database: Database, query: str = "SELECT * FROM $(schema).response") -> list[Any]:
    return [tuple(row.values()) for row in database.query(query)]


def test_other_events_are_counted_by_their_table(target: Target) -> None:
    event = OtherEvent(
        key=b"o" * 16,
        provider="meta",
        endpoint="apteco",
        inbox_id="inbox-a",
        notification_id=1,
        received_at=NOW,
        occurred_at=NOW,
        occurred_at_source="receipt",
        family="calls",
    )
    assert target.apply(Batch(records=[event])).inserted == {"other_event": 1}


def test_the_number_of_a_transaction_goes_up_whatever_the_clock_shows(
    target: Target, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of SQL Server the clock cannot be moved here: its numbers come from the same kind of row."""
    numbers = []
    for number, days in enumerate((0, 400, -400, 0), start=1):
        monkeypatch.setattr(timestamps, "now", lambda days=days: NOW + timedelta(days=days))
        before = target.horizon()
        target.apply(Batch(records=[response(number.to_bytes(16, "big"))]))
        ((row),) = database.query("SELECT MAX(commit_number) AS latest FROM $(schema).response")
        assert before.commit_number < row["latest"] == target.horizon().commit_number
        numbers.append(row["latest"])
    assert numbers == sorted(set(numbers))
