"""Exports with a cursor hand on each version of each row once, whatever clocks, loaders and restores do."""

import csv
import io
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.model import timestamps
from gatherer.pipeline import export as exports
from gatherer.targets.base import Batch, ChangePoint, Export, Target
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import call, configure, fill_inbox, receipts
from tests.targets.engines import Database, SQLiteDatabase
from tests.targets.test_views import Facts, fact

DAY = timedelta(days=1)


@pytest.fixture
def facts(database: Database) -> Iterator[Facts]:
    with closing(Facts(database)) as opened:
        yield opened


def written(
    target: Target,
    format: exports.Format,  # noqa: A002
    name: str,
    kinds: tuple[str, ...] = (),
) -> list[str]:
    """Export with the cursor `name`, and return the ids of the messages that were written."""
    cursor = exports.Cursor(target, name)
    changed_after, changed_to = cursor.read()
    text = io.StringIO()
    what = Export(changed_after=changed_after, changed_to=changed_to, kinds=kinds)
    exports.write_responses(target, what, exports.Layout(format=format), text.write)
    cursor.write(changed_to)
    if format == "ndjson":
        return sorted(json.loads(line)["message_id"] for line in text.getvalue().splitlines())
    return sorted(row[6] for row in csv.reader(text.getvalue().splitlines()[1:], delimiter="\t"))


def map_row(database: Database, message_id: str) -> None:
    database.query(
        "INSERT INTO $(schema).message_map (message_id, campaign) VALUES (?, 'spring')", message_id
    )


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_that_is_wrong_for_one_run_hides_and_repeats_no_row(
    target: Target, database: Database, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """The clock of SQL Server cannot be moved here; no number of either engine comes from a clock."""
    right = timestamps.now
    for number, offset in enumerate((0, days, 0, 0), start=1):
        monkeypatch.setattr(timestamps, "now", lambda offset=offset: right() + offset * DAY)
        name = f"w{number}"
        target.apply(Batch(records=[fact("sent", name)]))
        map_row(database, name)
        assert written(target, "ndjson", "csv") == [name]
        assert written(target, "ferg", "ferg") == [name]
        assert written(target, "ndjson", "csv") == written(target, "ferg", "ferg") == []


def test_an_export_while_the_clock_is_ahead_does_not_silence_the_next_ones(tmp_path: Path) -> None:
    configure(tmp_path)
    right = timestamps.now
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(timestamps, "now", lambda: right() + 400 * DAY)
        fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
        call(tmp_path, "gather")
        assert call(tmp_path, "export", "--since-last", "x").stdout.count(b"wamid.A") == 1
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.B")])
    call(tmp_path, "gather")
    ended = call(tmp_path, "export", "--since-last", "x")
    assert (ended.stdout.count(b"wamid.B"), ended.stdout.count(b"wamid.A")) == (1, 0)


def test_a_row_that_is_blanked_while_the_clock_is_ahead_is_news_after_its_next_change(
    facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which came last, the blanking or the change, is told by their numbers."""
    reply = {"about_message_id": "w1", "reply_text": "yes"}
    facts.map("spring", message_id="w1").tell(fact("sent", "w1"), fact("replied", "r1", **reply))
    assert len(written(facts.target, "ferg", "ferg")) == 2
    right = timestamps.now
    with monkeypatch.context() as patched:
        patched.setattr(timestamps, "now", lambda: right() + 400 * DAY)
        assert facts.target.apply_retention(text_before=right(), rows_before=None).blanked == 1
    assert written(facts.target, "ferg", "ferg") == []
    facts.tell(fact("replied", "r1", client_reference="known later", **reply))
    assert written(facts.target, "ferg", "ferg") == ["w1"]


def test_a_change_that_is_blanked_before_the_next_export_is_handed_on(facts: Facts) -> None:
    reply = {"about_message_id": "w1", "reply_text": "yes"}
    facts.map("spring", message_id="w1").tell(fact("sent", "w1"))
    assert len(written(facts.target, "ferg", "ferg")) == 1
    facts.tell(fact("replied", "r1", **reply))
    before = facts.target.horizon()
    assert facts.target.apply_retention(text_before=timestamps.now(), rows_before=None).blanked == 1
    first, _ = exports.Cursor(facts.target, "ferg").read()
    for window, rows in (((first, before), 1), ((before, facts.target.horizon()), 0)):
        what = Export(changed_after=window[0], changed_to=window[1], view="campaign")
        assert sum(len(batch) for batch in facts.target.export(what)) == rows


@pytest.mark.babelfish("has no MIN_ACTIVE_ROWVERSION")
def test_a_long_transaction_on_the_map_loses_no_row(facts: Facts) -> None:
    """Its rows have lower versions than those of transactions that were committed while it was open."""
    if isinstance(facts.database, SQLiteDatabase):
        pytest.skip("a file has one writer at a time: the next test")
    from gatherer.targets.sqlserver.connection import Access
    from gatherer.targets.sqlserver.session import Session
    from tests.targets.engines import SERVER

    facts.tell(*(fact("sent", name) for name in ("w1", "w2", "w3")))
    loader = Session(Access.parse(SERVER))
    insert = (
        f"INSERT INTO {facts.database.schema}.message_map (message_id, campaign) VALUES (N'w1', N'spring')"  # type: ignore[attr-defined]
    )
    try:
        loader.run(f"BEGIN TRANSACTION; {insert}")
        map_row(facts.database, "w2")
        handed_on = written(facts.target, "ferg", "ferg")
        loader.run("COMMIT")
    finally:
        loader.disconnect()
    map_row(facts.database, "w3")
    assert handed_on == []
    assert written(facts.target, "ferg", "ferg") == ["w1", "w2", "w3"]
    assert written(facts.target, "ferg", "ferg") == []


def test_a_long_transaction_on_the_map_of_a_file_loses_no_row(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path)
    with (
        closing(Facts(database)) as facts,
        closing(sqlite3.connect(database.path, isolation_level=None)) as loader,
    ):
        facts.tell(fact("sent", "w1"))
        loader.execute("BEGIN IMMEDIATE")
        loader.execute("INSERT INTO message_map (message_id, campaign) VALUES ('w1', 'spring')")
        point = facts.target.horizon()  # does not wait
        loader.execute("COMMIT")
        assert facts.target.horizon() > point
        assert written(facts.target, "ferg", "ferg") == ["w1"]
        assert written(facts.target, "ferg", "ferg") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE message_map SET urn = 'U2'",
        "UPDATE OR IGNORE message_map SET urn = 'U2'",
        "UPDATE message_map SET id = 77",
        "REPLACE INTO message_map (id, message_id, campaign) VALUES (1, 'w1', 'summer')",
        "INSERT INTO message_map (id, campaign) VALUES (1, 'x') ON CONFLICT DO UPDATE SET campaign = 'summer'",
        "INSERT INTO message_map VALUES (2, NULL, 'ref', 'autumn', NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-01')",
    ],
)
def test_every_way_of_writing_the_map_of_a_file_is_seen(tmp_path: Path, statement: str) -> None:
    database = SQLiteDatabase(tmp_path)
    with closing(Facts(database)) as facts:
        facts.tell(
            fact("sent", "w1", client_reference="ref" if "INTO message_map VALUES" in statement else None)
        )
        if "INTO message_map VALUES" not in statement:
            map_row(database, "w1")
            assert written(facts.target, "ferg", "ferg") == ["w1"]
        database.query(statement)
        assert written(facts.target, "ferg", "ferg") == ["w1"]
        assert written(facts.target, "ferg", "ferg") == []
        database.query("DELETE FROM message_map")
        assert database.query("SELECT * FROM message_map_change") == []


@pytest.mark.parametrize("format", ["ndjson", "ferg"])
def test_two_exports_while_a_run_commits_have_each_row_once(facts: Facts, format: exports.Format) -> None:  # noqa: A002
    """What is committed after an export has begun, before it reads, is in the next one alone."""
    facts.map("spring", message_id="w1").map("spring", message_id="w2").tell(fact("sent", "w1"))
    cursor = exports.Cursor(facts.target, format)
    changed_after, changed_to = cursor.read()
    facts.tell(fact("sent", "w2"))
    text: list[str] = []
    what = Export(changed_after=changed_after, changed_to=changed_to)
    exports.write_responses(facts.target, what, exports.Layout(format=format), text.append)
    assert written(facts.target, format, "another") == ["w1", "w2"]
    cursor.write(changed_to)
    assert ("w1" in "".join(text), "w2" in "".join(text)) == (True, False)
    assert written(facts.target, format, format) == ["w2"]


def test_a_restored_target_hands_on_again_what_it_got_since_the_copy(tmp_path: Path) -> None:
    """Also if it has come further meanwhile than the last export before the restore had."""
    configure(tmp_path)
    target, copy = tmp_path / "responses.db", tmp_path / "copy.db"

    def deliver(*names: str) -> None:
        for name in names:  # one transaction each
            fill_inbox(tmp_path / "inbox.db", [receipts(name)])
            assert call(tmp_path, "gather").returncode == 0

    def exported() -> list[str]:
        result = call(tmp_path, "export", "--since-last", "x", "--format", "ndjson")
        assert result.returncode == 0, result.stderr
        return [json.loads(line)["message_id"] for line in result.stdout.splitlines()]

    deliver("wamid.A")
    assert exported() == ["wamid.A"]
    with closing(sqlite3.connect(target)) as source, closing(sqlite3.connect(copy)) as backup:
        source.backup(backup)
    deliver("wamid.B")
    assert exported() == ["wamid.B"]
    for path in tmp_path.glob("responses.db*"):
        path.unlink()
    shutil.copy(copy, target)
    deliver("wamid.C", "wamid.D", "wamid.E")
    assert exported() == ["wamid.B", "wamid.C", "wamid.D", "wamid.E"]
    assert exported() == []


def test_a_cursor_of_another_database_begins_again_and_says_so(
    facts: Facts, caplog: pytest.LogCaptureFixture
) -> None:
    facts.map("spring", message_id="w1").tell(fact("sent", "w1"))
    facts.target.move_cursor("export", "x", ChangePoint(10**6, 2**62))
    assert written(facts.target, "ferg", "x") == ["w1"]
    assert "the cursor x of" in caplog.text
    caplog.clear()
    assert written(facts.target, "ferg", "x") == []
    assert caplog.text == ""


def test_a_cursor_is_kept_in_the_target(facts: Facts) -> None:
    target = facts.target
    point = ChangePoint(7, 2**40)
    assert target.cursor("export", "x") is None
    for moved in (point, ChangePoint(8, 2**41)):
        target.move_cursor("export", "x", moved)
        assert target.cursor("export", "x") == moved
        assert target.cursor("after-run", "x") is target.cursor("export", "X") is None
    target.move_cursor("export", "x", None)
    assert target.cursor("export", "x") is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(1, 4), st.integers(0, 1)),
        st.tuples(st.just("reply"), st.integers(1, 4), st.integers(0, 1)),
        st.tuples(st.just("map"), st.integers(1, 4), st.integers(0, 2)),
        st.tuples(st.just("clock"), st.integers(-400, 400), st.just(0)),
        st.tuples(st.just("blank"), st.just(0), st.just(0)),
        st.tuples(st.just("export"), st.sampled_from([0, 1]), st.just(0)),
    ),
    max_size=25,
)


class Oracle:
    """What is due for each export: the messages with a version that it has not handed on."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}  # 1 if the row of a message knows its reference, else 0
        self.mapped: set[str] = set()
        self.blanked: set[str] = set()
        self.due: dict[str, set[str]] = {"ndjson": set(), "ferg": set()}

    def deliver(self, name: str, known: int) -> None:
        if self.known.get(name, -1) < known:
            self.known[name] = known
            self.due["ndjson"].add(name)
            if name in self.mapped:
                self.due["ferg"].add(name)

    def map(self, name: str) -> None:
        self.mapped.add(name)
        if name in self.known:
            self.due["ferg"].add(name)

    def blank(self) -> None:
        replies = {name for name in self.known if name.startswith("r")}
        self.due["ndjson"] |= replies - self.blanked
        self.blanked |= replies


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_any_order_each_version_of_each_row_is_handed_on_exactly_once(
    steps: list[tuple[str, int, int]],
) -> None:
    """Receipts and replies for the warehouse, receipts for FERG, where replies may come twice."""
    oracle, right = Oracle(), timestamps.now()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        database = SQLiteDatabase(Path(folder))
        with closing(SQLiteTarget(database.path)) as target:
            for step, number, detail in [*steps, ("export", 0, 0), ("export", 1, 0)]:
                name = f"{'r' if step == 'reply' else 'w'}{number}"
                known: dict[str, Any] = {"client_reference": "known"} if detail else {}
                if step == "clock":
                    patched.setattr(timestamps, "now", lambda days=number: right + days * DAY)
                elif step == "deliver":
                    target.apply(Batch(records=[fact("sent", name, **known)]))
                    oracle.deliver(name, detail)
                elif step == "reply":
                    target.apply(Batch(records=[fact("replied", name, reply_text="yes", **known)]))
                    oracle.deliver(name, detail)
                elif step == "map":
                    if name in oracle.mapped:
                        change = "UPDATE message_map SET urn = ? WHERE message_id = ?"
                        database.query(change, str(detail), name)
                    else:
                        map_row(database, name)
                    oracle.map(name)
                elif step == "blank":
                    target.apply_retention(text_before=timestamps.LATEST, rows_before=None)
                    oracle.blank()
                else:
                    format_: exports.Format = "ferg" if number else "ndjson"
                    kinds = ("sent",) if number else ()
                    assert written(target, format_, format_, kinds) == sorted(oracle.due[format_])
                    oracle.due[format_].clear()
