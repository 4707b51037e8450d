"""Privacy in SQL Server, with a server: what the shared suite cannot ask of a file."""

from contextlib import closing
from pathlib import Path

import pytest

from gatherer.model import timestamps
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlserver.connection_string import get, parse
from tests.factories import notification
from tests.targets.engines import SERVER, SQLServerPlace, needs_server, rows
from tests.targets.tcp_proxy import Cutter, says
from tests.targets.test_contract import response
from tests.targets.test_privacy import ERASURE, PHONE, STONES, erase, ids, key
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
