"""Privacy in SQL Server, with a server: what the shared suite cannot ask of a file."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatherer.model import timestamps
from gatherer.model.records import Kind
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlserver import schema
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.connection_string import get, parse
from gatherer.targets.sqlserver.target import SQLServerTarget
from tests.factories import configure, fill_inbox, notification, receipts, run
from tests.targets.engines import SERVER, SQLServerPlace, drop, needs_server, rows
from tests.targets.tcp_proxy import Cutter, says
from tests.targets.test_contract import response
from tests.targets.test_privacy import ANN, ERASURE, PHONE, STONES, WRITTEN, erase, ids, key
from tests.targets.test_sqlserver import at, changed

pytestmark = [pytest.mark.sqlserver, needs_server, pytest.mark.timeout(600)]
OLD = timestamps.from_milliseconds(1_500_000_000_000)


@pytest.fixture
def place(tmp_path: Path) -> SQLServerPlace:
    return SQLServerPlace(tmp_path)


@pytest.mark.parametrize("deliver", [False, True])
def test_a_connection_that_breaks_at_the_commit_of_an_erasure_costs_nothing(
    place: SQLServerPlace, deliver: bool
) -> None:
    """And the account of it is there once."""
    host, _, port = (get(parse(SERVER), "server") or "").removeprefix("tcp:").partition(",")
    with closing(at(place)) as target:
        target.apply(Batch(records=[response(key(number), phone=PHONE) for number in range(10)]))
        chosen = ids(target)
    with Cutter((host, int(port or 1433)), says("COMMIT TRANSACTION"), deliver=deliver) as cutter:
        text = changed(server=f"127.0.0.1,{cutter.port}", encrypt="no")
        with closing(at(place, text)) as target:
            assert erase(target, rows=chosen, tombstones=STONES, erasure=ERASURE) == Outcome(removed=10)
            assert sorted(target.tombstones()) == sorted(STONES)
    assert cutter.cuts == 1
    assert rows(place) == []
    assert len(place.query("SELECT * FROM $(schema).erasure")) == 1


def test_what_is_refused_while_somebody_is_erased_is_rejected(place: SQLServerPlace) -> None:
    """A kept notification may hold a record of somebody else that did not fit, and does not fit now."""
    source = notification(b"of somebody else", 1)
    refused = response(key(1), message_id="x" * 451)
    batch = Batch(records=[refused, response(key(2))], notifications=[source])
    with closing(at(place)) as target:
        target.apply(Batch(records=[response(key(3), phone=PHONE)]))
        outcome = erase(target, rows=ids(target), batch=batch, tombstones=STONES, erasure=ERASURE)
        assert outcome == Outcome(removed=1, inserted={"sent": 1}, rejected=1)
        ((kept,),) = target.kept_notifications()
        assert kept.body == source.body
    assert [row["key"] for row in rows(place)] == [key(2)]
    assert len(place.query("SELECT * FROM $(schema).erasure")) == 1


@pytest.fixture
def older(tmp_path: Path) -> Iterator[str]:
    """Return the name of a schema of version 2 with a row in it."""
    name = f"{SQLServerPlace.schema}_older"
    session = SQLServerPlace.session()
    for version in schema.VERSIONS[:2]:
        script = "\n".join([schema.text("0000_versions", name), schema.text(version.name, name)])
        for batch in [*schema.split(script), *schema.split(schema._record(version, name))]:
            session.run(batch)
    values = {
        "[key]": key(1), "provider": "meta", "endpoint": "apteco", "inbox_id": "inbox-a", "notification_id": 1,
        "received_at": sql_datetime.text(OLD), "occurred_at": sql_datetime.text(OLD), "occurred_at_source": "element",
        "is_test": False, "kind": "replied", "phone": PHONE, "inserted_at": sql_datetime.text(OLD),
        "changed_at": sql_datetime.text(OLD), **WRITTEN,
    }  # fmt: skip
    session.run(
        f"INSERT INTO {name}.response ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        *values.values(),
    )
    yield name
    drop(name)


def test_tables_of_version_2_are_brought_up_to_date_with_their_rows(older: str, tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    configure(
        tmp_path,
        f'[target]\nkind = "sqlserver"\nschema = "{older}"\nconnection = {{ env = "TARGET" }}\n'
        "keep_days = { text = 1 }\n",
    )
    refused = run(tmp_path, "gather", TARGET=SERVER)
    assert (refused.returncode, b"gatherer schema apply" in refused.stderr) == (3, True), refused.stderr
    applied = run(tmp_path, "schema", "apply", TARGET=SERVER)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(run(tmp_path, "schema", "check", "--json", TARGET=SERVER).stdout)["problem"] is None
    gathered = run(tmp_path, "gather", "--json", TARGET=SERVER)
    assert json.loads(gathered.stdout)["retired"] == {"blanked": 1, "deleted": 0}, gathered.stderr
    made = response(key(1), kind=Kind.REPLIED, phone=PHONE, occurred_at=OLD, received_at=OLD, **WRITTEN)
    with closing(SQLServerTarget(Access.parse(SERVER), schema_name=older)) as target:
        assert target.apply(Batch(records=[made])) == Outcome(duplicates=1)
        assert [row["key"] for row in target.find(ANN, OLD)["response"]] == [made.key]
    found: Any = SQLServerPlace.session().run(f"SELECT * FROM {older}.response_local WHERE kind = N'replied'")
    ((row,),) = found
    assert (row.reply_text, row.blanked_at is None, row.occurred_local) == (None, False, row.occurred_at)
