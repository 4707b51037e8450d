"""Privacy in SQL Server, with a server: what the shared suite does not test."""

from contextlib import closing
from pathlib import Path

import pytest

from gatherer.model import timestamps
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlserver.connection_string import get, parse
from tests.factories import notification
from tests.targets.engines import SERVER, SQLServerDatabase, needs_server, rows
from tests.targets.tcp_proxy import CuttingProxy, contains
from tests.targets.test_contract import response
from tests.targets.test_privacy import ERASURE, PHONE, STONES, erase, ids, key
from tests.targets.test_sqlserver import at, changed

pytestmark = [pytest.mark.sqlserver, needs_server, pytest.mark.timeout(600)]
OLD = timestamps.from_milliseconds(1_500_000_000_000)


@pytest.fixture
def database(tmp_path: Path) -> SQLServerDatabase:
    return SQLServerDatabase(tmp_path)


@pytest.mark.parametrize("deliver", [False, True])
def test_a_connection_that_breaks_at_the_commit_of_an_erasure_costs_nothing(
    database: SQLServerDatabase, deliver: bool
) -> None:
    """And its row in the table `erasure` is there once."""
    host, _, port = (get(parse(SERVER), "server") or "").removeprefix("tcp:").partition(",")
    with closing(at(database)) as target:
        target.apply(Batch(records=[response(key(number), phone=PHONE) for number in range(10)]))
        chosen = ids(target)
    with CuttingProxy((host, int(port or 1433)), contains("COMMIT TRANSACTION"), deliver=deliver) as proxy:
        text = changed(server=f"127.0.0.1,{proxy.port}", encrypt="no")
        with closing(at(database, text)) as target:
            assert erase(target, rows=chosen, tombstones=STONES, erasure=ERASURE) == Outcome(removed=10)
            assert sorted(target.tombstones()) == sorted(STONES)
    assert proxy.cuts == 1
    assert rows(database) == []
    assert len(database.query("SELECT * FROM $(schema).erasure")) == 1


def test_a_record_that_is_refused_during_an_erasure_is_rejected(database: SQLServerDatabase) -> None:
    """A stored notification may hold a record about another person that did not fit, and does not fit now."""
    source = notification(b"of another person", 1)
    refused = response(key(1), message_id="x" * 451)
    batch = Batch(records=[refused, response(key(2))], notifications=[source])
    with closing(at(database)) as target:
        target.apply(Batch(records=[response(key(3), phone=PHONE)]))
        outcome = erase(target, rows=ids(target), batch=batch, tombstones=STONES, erasure=ERASURE)
        assert outcome == Outcome(removed=1, inserted={"sent": 1}, rejected=1)
        ((stored,),) = target.kept_notifications()
        assert stored.body == source.body
    assert [row["key"] for row in rows(database)] == [key(2)]
    assert len(database.query("SELECT * FROM $(schema).erasure")) == 1
