"""The campaign map: what an import writes, and what is missing, in each engine."""

import itertools
import re
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.model.errors import GathererError
from gatherer.model.message_map import WIDTHS, MapRow
from gatherer.targets.base import Batch, MapStatus, Target
from gatherer.targets.sqlite.schema import sql
from gatherer.targets.sqlserver import schema
from tests.targets.engines import Database, SQLiteDatabase
from tests.targets.test_views import Facts, at, fact

SINCE = at("00:00", 20)
SENT_AT = "2026-11-20 10:00:00.000"
PHONE = "+15550001111"


def stored(database: Database) -> list[dict[str, Any]]:
    """Return the rows of the map in order of insertion, without id and time of insertion."""
    return [
        {name: value for name, value in row.items() if name not in ("id", "inserted_at", "version")}
        for row in database.query("SELECT * FROM $(schema).message_map ORDER BY id")
    ]


def versions(database: Database) -> list[Any]:
    """Return the number of the last change of each row."""
    if isinstance(database, SQLiteDatabase):
        rows = database.query("SELECT commit_number AS number FROM message_map_change ORDER BY map_id")
    else:
        rows = database.query(
            "SELECT CONVERT(bigint, version) AS number FROM $(schema).message_map ORDER BY id"
        )
    return [row["number"] for row in rows]


ROWS = [
    MapRow("Autumn", message_id="wamid.1", urn="1", phone=PHONE, sent_at=SENT_AT),
    MapRow("Autumn", client_reference="ref-1", urn="2", phone=PHONE),
    MapRow("Autumn", client_reference="ref-1", urn="3", phone="+15550001112"),
    MapRow("Autumn", client_reference="ref-1"),
    MapRow("Autumn", communication_key="c-1", urn="4", phone=PHONE, sent_at=SENT_AT),
    MapRow("Autumn", communication_key="c-2", urn="4", phone=PHONE, sent_at=SENT_AT),
    MapRow("Autumn", communication_key="C-2", urn="4", phone=PHONE, sent_at=SENT_AT),
    MapRow("Autumn", phone=PHONE, sent_at=SENT_AT),
]


def test_the_same_rows_again_change_nothing(database: Database, target: Target) -> None:
    assert target.import_map(ROWS) == (len(ROWS), 0)
    rows, written_at = stored(database), versions(database)
    assert rows == [row._asdict() for row in ROWS]
    assert target.import_map(ROWS[::-1]) == (0, 0)
    assert target.import_map([]) == (0, 0)
    assert (stored(database), versions(database)) == (rows, written_at)


def test_a_later_row_changes_what_it_has_and_leaves_the_rest(database: Database, target: Target) -> None:
    target.import_map(ROWS)
    before = versions(database)
    changes = [
        MapRow("autumn", message_id="wamid.1"),
        MapRow("Autumn", client_reference="ref-1", phone=PHONE, message_name="Voucher"),
        MapRow("Winter", phone=PHONE, sent_at=SENT_AT),
    ]
    assert target.import_map(changes) == (0, 3)
    rows = stored(database)
    assert rows[0] == ROWS[0]._replace(campaign="autumn")._asdict()
    assert rows[1] == ROWS[1]._replace(message_name="Voucher")._asdict()
    assert rows[7] == ROWS[7]._replace(campaign="Winter")._asdict()
    after = versions(database)
    assert [i for i in range(len(rows)) if before[i] != after[i]] == [0, 1, 7], (
        "exports repeat their responses"
    )
    assert target.import_map(changes) == (0, 0)


def test_a_dry_run_writes_no_map(database: Database, target: Target) -> None:
    dry = database.open(dry_run=True)
    try:
        assert dry.import_map(ROWS) == (len(ROWS), 0)
    finally:
        dry.close()
    assert stored(database) == []


_WORD = st.sampled_from(["1", "2", None])


@given(
    st.lists(
        st.builds(
            MapRow, st.sampled_from(["A", "B"]), message_id=_WORD, client_reference=_WORD, urn=_WORD,
            phone=st.just(PHONE), sent_at=st.just(SENT_AT),
        ),
        max_size=8,
        unique_by=lambda row: row.identity,
    )
)  # fmt: skip
def test_any_rows_are_there_once_and_a_second_import_changes_nothing(rows: Sequence[MapRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = SQLiteDatabase(Path(folder))
        with closing(database.open()) as target:
            assert target.import_map(rows) == (len(rows), 0)
            assert target.import_map(rows) == (0, 0)
        assert len(stored(database)) == len(rows)


def status(target: Target, since: datetime = SINCE) -> MapStatus:
    return target.map_status(since, at("00:00", 25))


def test_responses_without_a_campaign_are_those_that_the_view_leaves_out(database: Database) -> None:
    """By id, reference, quoted message, and the latest message to the person; and the period counts."""
    facts = Facts(database)
    target = facts.target
    facts.tell(
        fact("sent", "m-id"),
        fact("read", "m-id", "12:10"),
        fact("sent", "m-ref", client_reference="ref-1", phone="+15550003333"),
        fact("sent", "m-unknown", phone="+15550004444"),
        fact("sent", "m-other-person", client_reference="ref-1", phone="+15550005555"),
        fact("replied", "a-1", "13:00", about_message_id="m-id"),
        fact("replied", "a-2", "13:00", about_message_id="m-unknown", phone="+15550004444"),
        fact("replied", "a-3", "13:00"),
        fact("replied", "a-4", "13:00", phone="+15550003333"),
        fact("replied", "a-5", "13:00", phone="+15550004444"),
        fact("replied", "a-6", "13:00", phone="+15550006666"),
        fact("replied", "a-7", "13:00", day=24),
        fact("replied", "a-8", "13:00", business_phone="+15559999999"),
        fact("reacted", "a-9", "13:00", about_message_id="m-ref", phone="+15550003333"),
        fact("replied", "a-10", "11:00"),
        fact("sent", "m-test", is_test=True),
        fact("sent", "m-old", day=10),
    )
    facts.map("Autumn", message_id="m-id")
    facts.map("Autumn", client_reference="ref-1", phone="+15550003333")
    facts.map(
        "Winter", phone="+15550006666", business_phone="+15550002222", sent_at="2026-11-20 12:00:00.000"
    )
    found = database.query(
        "SELECT kind, COUNT(*) AS responses FROM $(schema).response AS r WHERE r.is_test = 0 "
        "AND r.occurred_at >= '2026-11-20' AND NOT EXISTS "
        "(SELECT 1 FROM $(schema).response_campaign AS c WHERE c.id = r.id) GROUP BY kind"
    )
    expected = {row["kind"]: row["responses"] for row in found}
    assert expected == {"sent": 2, "replied": 5}
    assert status(target).without_campaign == expected
    assert status(target, at("00:00", 24)).without_campaign == {"replied": 1}
    assert status(target, at("00:00", 10)).without_campaign == {"sent": 3, "replied": 5}
    target.close()


def test_messages_without_any_receipt_are_counted_by_campaign(database: Database) -> None:
    facts = Facts(database)
    target = facts.target
    facts.tell(
        fact("sent", "m-1"),
        fact("failed", "m-2"),
        fact("replied", "a-1", about_message_id="m-3"),
        fact("delivered", "m-4", client_reference="ref-1", phone="+15550003333"),
        fact("delivered", "m-5", client_reference="ref-1", phone="+15550004444"),
        fact("delivered", "wamid.6", provider_message_id="m-6"),
    )
    for message_id in ("m-1", "m-2", "m-3", "m-6", "m-none"):
        facts.map("Autumn", message_id=message_id, sent_at=SENT_AT)
    facts.map("Winter", client_reference="ref-1", phone="+15550003333", sent_at=SENT_AT)
    facts.map("Winter", client_reference="ref-1", phone="+15550009999", sent_at=SENT_AT)
    facts.map("Winter", client_reference="ref-2", sent_at=SENT_AT)
    facts.map("Spring", message_id="m-inserted", inserted_at=SENT_AT)
    facts.map("Old", message_id="m-old", sent_at="2026-11-01 10:00:00.000")
    facts.map("New", message_id="m-new", sent_at="2026-11-25 10:00:00.000")
    facts.map("Unbound", phone=PHONE, sent_at=SENT_AT)
    state = status(target)
    assert state.campaigns == [("Autumn", 5, 2), ("Winter", 3, 2), ("Spring", 1, 1)]
    assert state.unbound == 1
    target.close()


def test_the_rows_of_a_query_are_read_while_the_target_is_written(database: Database, target: Target) -> None:
    target.apply(Batch(records=[fact("sent", f"m-{number}") for number in range(5000)]))
    schema_name = getattr(database, "schema", None)
    table = "response" if schema_name is None else f"{schema_name}.response"
    rows = target.query_rows(f"SELECT message_id, phone FROM {table} ORDER BY message_id")
    assert list(next(rows)) == ["message_id", "phone"]
    read = 0
    for chunk in iter(lambda: list(itertools.islice(rows, 1000)), []):
        target.import_map([MapRow("Autumn", message_id=str(row[0]), phone=str(row[1])) for row in chunk])
        read += len(chunk)
    assert read == 5000
    assert len(stored(database)) == 5000
    with pytest.raises(GathererError, match="the query failed"):
        list(target.query_rows("SELECT nothing FROM nowhere"))


@pytest.mark.parametrize("name", ["count_unbound", "count_without_campaign", "count_without_receipt"])
def test_the_status_reads_no_table_from_end_to_end(database: Database, target: Target, name: str) -> None:
    if not isinstance(database, SQLiteDatabase):
        pytest.skip("the plan of SQL Server is not read here")
    times = {"since": SENT_AT, "until": SENT_AT}
    with closing(sqlite3.connect(database.path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql(name)}", times)]
    scanned = [line for line in plan if re.match(r"SCAN (?!a$|attribution|message$)", line)]
    assert all("message_map_unbound" in line for line in scanned), plan


def test_the_limits_of_texts_are_the_widths_of_the_columns() -> None:
    table = re.search(
        r"CREATE TABLE \$\(schema\)\.message_map \((.*?)\n\);", schema.packaged("tables"), re.DOTALL
    )
    assert table is not None
    assert {
        name: int(width)
        for name, width in re.findall(r"^    (\w+) +nvarchar\((\d+)\)", table[1], re.MULTILINE)
    } == WIDTHS
    for name, width in WIDTHS.items():
        assert re.search(rf"{name} +nvarchar\({width}\)", schema.packaged("upsert_message_map"))


def test_the_period_of_the_status_is_half_open(database: Database, target: Target) -> None:
    target.import_map([MapRow("Autumn", message_id="m-1", sent_at=SENT_AT)])
    moment = at("10:00", 20)
    assert target.map_status(moment, moment + timedelta(seconds=1)).campaigns == [("Autumn", 1, 1)]
    assert target.map_status(moment - timedelta(days=1), moment).campaigns == []
