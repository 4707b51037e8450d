"""SQL Server with a server: what the shared suites do not test because a file has no such thing."""

import dataclasses
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatherer.inbox.base import Selection
from gatherer.inbox.reader import LocalInbox
from gatherer.model import timestamps
from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.retry import RetryPolicy
from gatherer.pipeline.gather import GatherSummary, gather_inbox
from gatherer.pipeline.replay import replay_notifications
from gatherer.targets.base import Batch, Position, Run
from gatherer.targets.sqlserver import schema
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.connection_string import build, get, parse
from gatherer.targets.sqlserver.errors import SQLServerError
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.target import SQLServerTarget
from tests.factories import configure, fill_inbox, notification, receipts, run
from tests.targets.engines import SERVER, SQLServerDatabase, all_rows, drop, needs_server, rows
from tests.targets.tcp_proxy import CuttingProxy, contains
from tests.targets.test_contract import response
from tests.targets.test_privacy import ERASURE, STONES

pytestmark = [pytest.mark.sqlserver, needs_server, pytest.mark.timeout(600)]
QUICK = RetryPolicy(attempts=4, first_wait_seconds=0.05, longest_wait_seconds=15, deadline_seconds=60)


@pytest.fixture
def database(tmp_path: Path) -> SQLServerDatabase:
    return SQLServerDatabase(tmp_path)


def changed(**keywords: str) -> str:
    """Return the connection string of the tests with some of its values replaced."""
    pairs = [(name, keywords.pop(name.lower(), value)) for name, value in parse(SERVER)]
    return build([*pairs, *keywords.items()])


def at(database: SQLServerDatabase, text: str = SERVER, **more: Any) -> SQLServerTarget:
    return SQLServerTarget(
        Access.parse(text), schema_name=database.schema, **({"retry_policy": QUICK} | more)
    )


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


# --- two at once ----------------------------------------------------------------------------------


def test_two_gatherers_at_once_lose_and_double_nothing(database: SQLServerDatabase, tmp_path: Path) -> None:
    """Two machines with an inbox each, whose notifications overlap, into one database."""
    shared = [receipts(f"wamid.{number}") for number in range(400)]
    for name in ("one", "two"):
        fill_inbox(tmp_path / name, [*shared, *(receipts(f"wamid.{name}.{number}") for number in range(100))])
    problems: list[Exception] = []
    summaries: list[GatherSummary] = []

    def gather(name: str) -> None:
        try:
            with closing(LocalInbox(tmp_path / name)) as inbox, closing(at(database)) as target:
                for _ in range(10):
                    summaries.append(gather_inbox(inbox, target, limit=50))
        except Exception as problem:  # noqa: BLE001 - the test shows every error
            problems.append(problem)

    threads = [threading.Thread(target=gather, args=(name,)) for name in ("one", "two", "one")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(row["message_id"] for row in rows(database)) == sorted(
        [f"wamid.{number}" for number in range(400)]
        + [f"wamid.{name}.{number}" for name in ("one", "two") for number in range(100)]
    )
    assert sum(summary.outcome.inserted.get("sent", 0) for summary in summaries) == 600
    assert {row["notification_id"] for row in database.query("SELECT * FROM $(schema).inbox_position")} == {
        500
    }


# --- a connection that breaks ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "deliver"),
    [
        ("INSERT INTO #applied", False),  # in the middle of the transaction
        ("COMMIT TRANSACTION", False),  # at the commit, which the server never sees
        ("COMMIT TRANSACTION", True),  # after the commit, before its answer
    ],
)
@pytest.mark.parametrize("with_position", [True, False])
def test_a_connection_that_breaks_costs_nothing(
    database: SQLServerDatabase, moment: str, deliver: bool, with_position: bool
) -> None:
    host, _, port = (get(parse(SERVER), "server") or "").removeprefix("tcp:").partition(",")
    position = Position("inbox-a", 7, b"d" * 16) if with_position else None
    batch = Batch(records=[response(key(number)) for number in range(10)], position=position)
    with CuttingProxy((host, int(port or 1433)), contains(moment), deliver=deliver) as proxy:
        text = changed(server=f"127.0.0.1,{proxy.port}", encrypt="no")
        with closing(at(database, text)) as target:
            outcome = target.apply(batch)
            assert target.position("inbox-a") == position
    assert proxy.cuts == 1
    assert len(rows(database)) == 10
    if deliver and not with_position:  # nothing tells that the lost answer was a yes: they are there already
        assert outcome.duplicates == 10
    else:
        assert outcome.inserted == {"sent": 10}


def test_a_connection_that_never_holds_ends_with_75_and_nothing_written(database: SQLServerDatabase) -> None:
    host, _, port = (get(parse(SERVER), "server") or "").removeprefix("tcp:").partition(",")
    with CuttingProxy(
        (host, int(port or 1433)), contains("COMMIT TRANSACTION"), deliver=False, times=99
    ) as proxy:
        text = changed(server=f"127.0.0.1,{proxy.port}", encrypt="no")
        with closing(at(database, text)) as target, pytest.raises(TemporaryError, match="nothing is lost"):
            target.apply(Batch(records=[response()]))
    assert proxy.cuts == QUICK.attempts
    assert rows(database) == []


def test_a_lost_transaction_is_noticed(database: SQLServerDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback without an error does not count as a commit."""
    with closing(at(database, retry_policy=dataclasses.replace(QUICK, attempts=1))) as target:
        original = target.session.run

        def losing_the_transaction(statement: str, *parameters: object) -> list[list[Any]]:
            if "COMMIT TRANSACTION" in statement:
                original("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            return original(statement, *parameters)

        monkeypatch.setattr(target.session, "run", losing_the_transaction)
        with pytest.raises(TemporaryError, match="rolled the transaction back"):
            target.apply(Batch(records=[response()]))
    assert rows(database) == []


# --- rows that are refused ------------------------------------------------------------------------


def test_a_record_that_does_not_fit_is_rejected_and_the_others_are_written(
    database: SQLServerDatabase,
) -> None:
    sources = [notification(b"body %d" % number, number) for number in range(1, 61)]
    records = [
        response(key(number), notification_id=number, message_id="x" * (451 if number == 33 else 20))
        for number in range(1, 61)
    ]
    batch = Batch(records=records, notifications=sources, position=Position("inbox-a", 60, b"d" * 16))
    with closing(at(database)) as target:
        outcome = target.apply(batch)
        assert (outcome.inserted, outcome.rejected) == ({"sent": 59}, 1)
        assert target.position("inbox-a") == batch.position
        (stored,) = rows(database, "rejected")
        assert stored["reason_class"] == "refused"
        ((again,),) = target.rejected_notifications()
        assert again.body == b"body 33"


def test_many_that_do_not_fit_stop_the_run(database: SQLServerDatabase) -> None:
    sources = [notification(b"body %d" % number, number) for number in range(1, 41)]
    records = [
        response(key(number), notification_id=number, message_id="x" * (451 if number % 3 == 0 else 20))
        for number in range(1, 41)
    ]
    batch = Batch(records=records, notifications=sources, position=Position("inbox-a", 40, b"d" * 16))
    with closing(at(database)) as target:
        with pytest.raises(TargetError, match="fault of the tables"):
            target.apply(batch)
        assert target.position("inbox-a") is None
    assert rows(database) == rows(database, "rejected") == []


def test_spaces_at_the_end_make_a_difference(database: SQLServerDatabase) -> None:
    """In T-SQL 'a' = 'a ' with every collation."""
    for first, second in (("a ", "a"), ("a", "a ")):
        database.query("DELETE FROM $(schema).response")
        with closing(at(database)) as target:
            for text in (first, second):
                target.apply(Batch(records=[response(reply_text=text, message_id=text)]))
        (row,) = rows(database)
        assert (row["reply_text"], row["message_id"]) == ("a", "a")


# --- restored -------------------------------------------------------------------------------------


def test_an_older_copy_of_the_target_refills_by_itself(database: SQLServerDatabase, tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox", [receipts(f"wamid.{number}") for number in range(60)] + [b"no json"])
    with closing(LocalInbox(tmp_path / "inbox")) as inbox, closing(at(database)) as target:
        gather_inbox(inbox, target, limit=20)
        (older,) = database.query("SELECT * FROM $(schema).inbox_position")
        before = all_rows(database)
        gather_inbox(inbox, target)
        expected = all_rows(database)
        # What a restore from the copy amounts to: the rows and the position of that moment.
        stored = {row["key"] for row in before["response"]}
        for row in expected["response"]:
            if row["key"] not in stored:
                database.query("DELETE FROM $(schema).response WHERE [key] = ?", row["key"])
        database.query("DELETE FROM $(schema).rejected")
        database.query("DELETE FROM $(schema).rejected_notification")
        database.query(
            "UPDATE $(schema).inbox_position SET notification_id = ?, digest = ?",
            older["notification_id"],
            older["digest"],
        )
        assert all_rows(database) == before
        gather_inbox(inbox, target)
        assert all_rows(database) == expected


def test_a_copy_that_lost_a_tables_rows_is_healed_by_replay(
    database: SQLServerDatabase, tmp_path: Path
) -> None:
    fill_inbox(tmp_path / "inbox", [receipts(f"wamid.{number}") for number in range(30)])
    with closing(LocalInbox(tmp_path / "inbox")) as inbox, closing(at(database)) as target:
        gather_inbox(inbox, target)
        expected = all_rows(database)
        position = target.position(inbox.identity)
        database.query("DELETE FROM $(schema).response")
        assert replay_notifications(inbox, target, Selection()).outcome.inserted == {"sent": 30}
        assert all_rows(database) == expected
        assert replay_notifications(inbox, target, Selection(), rebuild=True).outcome.removed == 30
        assert all_rows(database) == expected
        assert target.position(inbox.identity) == position


# --- schema and rights ----------------------------------------------------------------------------


def test_a_missing_or_incompatible_schema_is_refused_with_the_command(database: SQLServerDatabase) -> None:
    with pytest.raises(TargetError, match="gatherer schema apply"):
        SQLServerTarget(Access.parse(SERVER), schema_name="gatherer_nowhere")
    try:
        database.query("INSERT INTO $(schema).schema_version (number, required) VALUES (999, 1)")
        at(database).close()  # newer, and compatible
        database.query("UPDATE $(schema).schema_version SET required = 999 WHERE number = 999")
        with pytest.raises(TargetError, match=r"newer gatherer.*pip install --upgrade"):
            at(database)
    finally:
        database.query("DELETE FROM $(schema).schema_version WHERE number = 999")


@pytest.mark.babelfish("renames indexes, so that the script makes them twice")
def test_a_missing_table_or_view_is_named_and_created_again(
    database: SQLServerDatabase, tmp_path: Path
) -> None:
    with closing(at(database)) as target:
        target.apply(Batch(records=[response(key(1))], position=Position("a", 1, b"d" * 16)))
    before = all_rows(database)["response"]
    database.query("DROP VIEW $(schema).campaign_funnel")
    database.query("DROP TABLE $(schema).gather_run")
    configure(
        tmp_path,
        f'[target]\nkind = "sqlserver"\nschema = "{database.schema}"\nconnection = {{ env = "TARGET" }}\n',
    )
    for command in (["schema", "check"], ["target", "check"]):
        result = run(tmp_path, *command, TARGET=SERVER)
        assert result.returncode == 3
        output = (result.stdout + result.stderr).decode()
        assert "missing: gather_run, campaign_funnel" in " ".join(output.split()), output
    applied = run(tmp_path, "schema", "apply", TARGET=SERVER)
    assert (applied.returncode, applied.stderr) == (0, b"")
    assert run(tmp_path, "schema", "check", TARGET=SERVER).returncode == 0
    assert run(tmp_path, "schema", "apply", TARGET=SERVER).stdout == b"applied: views\n"
    assert all_rows(database)["response"] == before


@pytest.mark.babelfish("renames indexes, so that the script makes them twice")
def test_a_table_that_lacks_a_column_is_named_and_kept(database: SQLServerDatabase) -> None:
    database.query("ALTER TABLE $(schema).other_event DROP COLUMN user_id")
    try:
        with pytest.raises(TargetError, match=r"still missing: other_event\.user_id"):
            schema.apply(database.session(), database.schema)
    finally:
        database.query(
            "ALTER TABLE $(schema).other_event ADD user_id nvarchar(450) COLLATE Latin1_General_BIN2 NULL"
        )


def test_missing_and_different_columns_are_named(database: SQLServerDatabase) -> None:
    assert schema.examine(database.session(), database.schema).problem is None
    database.query("ALTER TABLE $(schema).other_event DROP COLUMN user_id")
    database.query("ALTER TABLE $(schema).account_event DROP COLUMN severity")
    database.query("ALTER TABLE $(schema).account_event ADD severity nvarchar(20) NOT NULL DEFAULT (N'')")
    database.query("ALTER TABLE $(schema).flow_event DROP COLUMN threshold")
    database.query("ALTER TABLE $(schema).flow_event ADD threshold int NULL")
    try:
        state = schema.examine(database.session(), database.schema)
        assert state.missing == ("other_event.user_id",)
        assert state.different == (
            "flow_event.threshold is int NULL instead of float NULL",
            "account_event.severity is nvarchar(20) NOT NULL instead of nvarchar(255) NULL",
        )
    finally:
        drop(database.schema)
        schema.apply(database.session(), database.schema)


def test_a_row_of_bookkeeping_that_is_refused_is_an_error_with_the_servers_words(
    database: SQLServerDatabase,
) -> None:
    done = Run(
        started_at=timestamps.now(),
        finished_at=timestamps.now(),
        host="h",
        version="1",
        inbox_id="a",
        read=1,
        inserted=1,
        filled=0,
        duplicates=0,
        rejected=0,
        exit_code=0,
        problem=None,
    )
    database.query(
        "ALTER TABLE $(schema).gather_run ADD CONSTRAINT version_is_none CHECK (version = N'none')"
    )
    try:
        with closing(at(database)) as target, pytest.raises(TargetError, match="version_is_none"):
            target.record_run(done)
    finally:
        database.query("ALTER TABLE $(schema).gather_run DROP CONSTRAINT version_is_none")


@pytest.mark.babelfish("renames indexes, so that the script makes them twice")
def test_the_printed_script_can_be_run_again_and_takes_nothing_away(database: SQLServerDatabase) -> None:
    """As a DBA would who is not sure whether it ran to its end."""
    with closing(at(database)) as target:
        target.apply(Batch(records=[response(key(1))], position=Position("a", 1, b"d" * 16)))
    before, versions = all_rows(database), database.query("SELECT * FROM $(schema).schema_version")
    for _ in range(2):
        for batch in schema.split(schema.script(database.schema)):
            database.session().run(batch)
    assert all_rows(database) == before
    assert database.query("SELECT * FROM $(schema).schema_version") == versions
    with closing(at(database)) as target:
        assert target.apply(Batch(records=[response(key(2))])).inserted == {"sent": 1}


@pytest.fixture
def writer(database: SQLServerDatabase) -> Iterator[str]:
    """Return the connection string of a login that has the rights of grants.sql and no others."""
    name, password = f"w{uuid.uuid4().hex[:12]}", f"Pw;{{}}{uuid.uuid4().hex}"
    session = Session(Access.parse(SERVER))
    text = Path("config/sqlserver/grants.sql").read_text(encoding="utf-8")
    for batch in schema.split(schema.placed(text, database.schema)):
        # Where the engine has no GRANT on a whole schema, the role of the readers stays as it is.
        session.run(batch)
    session.run(f"CREATE LOGIN [{name}] WITH PASSWORD = N'{password}'")
    session.run(f"CREATE USER [{name}] FOR LOGIN [{name}]")
    session.run(f"ALTER ROLE gatherer_writer ADD MEMBER [{name}]")
    yield changed(uid=name, pwd=password)
    session.run(f"DROP USER [{name}]")
    for attempt in range(50):  # the server may not have noticed yet that its last session is gone
        try:
            session.run(f"DROP LOGIN [{name}]")
            break
        except SQLServerError:
            if attempt == 49:
                raise
            time.sleep(0.1)
    session.disconnect()


def test_a_run_needs_no_more_than_the_rights_that_are_granted(
    database: SQLServerDatabase, writer: str, tmp_path: Path
) -> None:
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A"), receipts("wamid.A", word="read"), b"no json"])
    secret = get(parse(writer), "pwd") or ""
    configure(
        tmp_path,
        f'[target]\nkind = "sqlserver"\nschema = "{database.schema}"\nconnection = {{ env = "TARGET" }}\n'
        'time_zone = "Europe/London"\n',
    )
    checked = run(tmp_path, "target", "check", "--json", TARGET=writer)
    assert json.loads(checked.stdout)["problems"] == []
    ended = run(tmp_path, "gather", TARGET=writer)
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr
    assert b"1 read, 1 sent" in ended.stdout
    assert b"SQL Server" in ended.stdout
    assert secret.encode() not in ended.stdout + ended.stderr + checked.stdout + checked.stderr
    assert len(rows(database)) == 2
    exported = run(tmp_path, "export", "--format", "ferg", TARGET=writer)
    assert exported.returncode == 0, exported.stderr
    replayed = run(tmp_path, "replay", "--all", "--rebuild", "--json", TARGET=writer)
    assert (replayed.returncode, json.loads(replayed.stdout)["removed"]) == (0, 3), replayed.stderr
    with closing(at(database, writer)) as target:
        target.erase(
            rows={"response": [1], "message_map": [1]},
            texts={"response": {2: {"details": None}}, "other_event": {1: {"details": None}}},
            bodies=[b"k" * 16],
            batch=Batch(),
            tombstones=STONES,
            erasure=ERASURE,
        )
        assert (
            target.apply_retention(text_before=timestamps.LATEST, rows_before=timestamps.LATEST).deleted == 3
        )
    refused = run(tmp_path, "schema", "apply", "--connection-env", "TARGET", TARGET=writer)
    assert refused.returncode in (0, 3), "nothing to apply, or no right to"
    with (
        closing(at(database, writer)) as target,
        pytest.raises(Exception, match=r"(?i)permission|denied|must be owner"),
    ):
        target.session.run(f"DROP TABLE {database.schema}.response")


def test_a_wrong_password_is_reported_once_and_not_shown(database: SQLServerDatabase, tmp_path: Path) -> None:
    configure(
        tmp_path,
        f'[target]\nkind = "sqlserver"\nschema = "{database.schema}"\nconnection = {{ env = "TARGET" }}\n',
    )
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    ended = run(tmp_path, "gather", TARGET=changed(pwd="not;the}password"))
    assert ended.returncode == 3
    assert b"not;the" not in ended.stderr
    assert ended.stderr.count(b"\n") == 1, ended.stderr
    unreachable = changed(server="127.0.0.1,9")
    ended = run(tmp_path, "target", "check", TARGET=unreachable)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (75, False)
