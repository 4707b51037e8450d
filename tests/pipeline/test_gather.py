"""A run of `gather`: order, repetition, interruption, and inboxes that were replaced."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.files.lock import exclusive
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.model import timestamps
from gatherer.model.errors import InboxError
from gatherer.pipeline import gather as gather_module
from gatherer.pipeline.decode import decode_batch
from gatherer.pipeline.gather import GatherSummary, gather_inbox
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import (
    RECEIVED_AT,
    all_rows,
    call,
    configure,
    envelope,
    fill_inbox,
    inbox_files,
    reaction,
    receipts,
    rows,
    run,
    status,
    text,
    value,
)
from tests.waiting import wait_until

# Every kind of record, contradictory redeliveries, and elements that cannot be decoded.
CAMPAIGN = [
    receipts("wamid.A", "wamid.B", "wamid.C"),
    receipts("wamid.A", word="delivered"),
    receipts("wamid.A", word="read"),
    envelope(value(statuses=[status("wamid.A", "sent", 1_790_000_009, biz_opaque_callback_data="spring")])),
    envelope(value(statuses=[status("wamid.A", "sent", 1_790_000_005, biz_opaque_callback_data="autumn")])),
    envelope(
        value(statuses=[status("wamid.C", "failed", errors=[{"code": 131026, "title": "undeliverable"}])])
    ),
    envelope(value(statuses=[status("wamid.C", "failed", errors=[{"code": 131047, "title": "window"}])])),
    envelope(value(messages=[text("wamid.R1", "yes", context={"id": "wamid.A"})])),
    envelope(value(messages=[text("wamid.R1", "yes please", context={"id": "wamid.B"})])),
    envelope(value(messages=[reaction("wamid.E1", "wamid.A", emoji="👍")])),
    envelope(value(messages=[reaction("wamid.E2", "wamid.A")])),
    envelope(
        value(
            statuses=[status("wamid.D"), {"status": "sent"}, 7], messages=[{"id": "wamid.U", "type": "new"}]
        )
    ),
    b"this is not JSON",
    b"",
    b'{"object":"page"}',
]
ASIDE = ("inbox_id", "notification_id", "received_at")


def gather(folder: Path, **options: int) -> GatherSummary:
    """Run `gather` once, from the inbox in `folder` into the target beside it."""
    inbox, target = folder / "inbox.db", folder / "responses.db"
    with closing(LocalInbox(inbox)) as source, closing(SQLiteTarget(target)) as destination:
        return gather_inbox(source, destination, **options)


def test_a_run_writes_every_record_and_a_second_run_writes_none(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    first = gather(tmp_path)
    assert first.read == len(CAMPAIGN)
    assert first.position == len(CAMPAIGN)
    assert first.outcome.inserted == {
        "sent": 4,
        "delivered": 1,
        "read": 1,
        "failed": 1,
        "replied": 1,
        "reacted": 2,
        "other_event": 1,
    }
    assert first.outcome.rejected == 5
    before = all_rows(tmp_path / "responses.db")
    second = gather(tmp_path)
    assert (second.read, second.outcome.inserted) == (0, {})
    assert all_rows(tmp_path / "responses.db") == before


def test_a_batch_of_many_facts_is_applied_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        fill_inbox(folder / "inbox.db", CAMPAIGN)
    gather(whole)
    monkeypatch.setattr(gather_module, "decode_batch", partial(decode_batch, max_facts=3))
    positions: list[int] = []
    with (
        closing(LocalInbox(parts / "inbox.db")) as source,
        closing(SQLiteTarget(parts / "responses.db")) as target,
    ):
        summary = gather_inbox(source, target, progress=lambda done, _: positions.append(done))
    assert summary.read == summary.position == positions[-1] == len(CAMPAIGN)
    assert len(positions) > 3
    assert all_rows(parts / "responses.db", aside=ASIDE) == all_rows(whole / "responses.db", aside=ASIDE)


def test_a_time_far_ahead_of_the_receipt_is_not_used_but_kept_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day = 24 * 3600
    ahead = RECEIVED_AT // 1000 + 2 * day
    statuses = [status("wamid.A", at=ahead), status("wamid.B", at=ahead - day - 60), status("wamid.C")]
    fill_inbox(tmp_path / "inbox.db", [envelope(value(statuses=statuses))])
    assert gather(tmp_path).times_ahead == 1
    found = {row["message_id"]: row for row in rows(tmp_path / "responses.db")}
    assert found["wamid.A"]["occurred_at"] == found["wamid.A"]["received_at"]
    assert json.loads(found["wamid.A"]["details"]) == {"occurred_at_raw": str(ahead)}
    assert found["wamid.B"]["occurred_at_source"] == found["wamid.C"]["occurred_at_source"] == "element"
    assert "1 responses state a time of more than a day after their receipt" in caplog.text
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection:
        assert connection.execute("SELECT times_ahead FROM gather_run").fetchall() == [(1,)]


def test_an_undecodable_element_does_not_affect_its_siblings(tmp_path: Path) -> None:
    mixed = envelope(
        value(statuses=[status("wamid.A"), 7, {"id": True, "status": "sent"}, status("wamid.B")]),
        value(messages=["junk", text("wamid.R")]),
    )
    fill_inbox(tmp_path / "inbox.db", [mixed])
    gather(tmp_path)
    target = tmp_path / "responses.db"
    assert {row["message_id"] for row in rows(target)} == {"wamid.A", "wamid.B", "wamid.R"}
    rejections = rows(target, "rejected")
    assert {row["path"] for row in rejections} == {
        "$.entry[0].changes[0].value.statuses[1]",
        "$.entry[0].changes[0].value.statuses[2]",
        "$.entry[0].changes[1].value.messages[0]",
    }
    assert all(row["reason"] for row in rejections)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_do_not_depend_on_order_or_repetition_of_notifications(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any permutation of any multiset of notifications, in any split into runs, gives the same rows."""
    bodies = data.draw(st.lists(st.sampled_from(CAMPAIGN), min_size=1, max_size=8))
    tables = []
    for shuffled in (bodies, data.draw(st.permutations(bodies + bodies[: data.draw(st.integers(0, 4))]))):
        folder = tmp_path_factory.mktemp("order")
        for part in _split(shuffled, data.draw(st.integers(1, 4))):
            fill_inbox(folder / "inbox.db", part)
            gather(folder)
        # The order of arrival differs, and with it the time of receipt and the first notification.
        tables.append(all_rows(folder / "responses.db", aside=ASIDE))
    assert _without_times_of_receipt(tables[0]) == _without_times_of_receipt(tables[1])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(CAMPAIGN))), batch=st.integers(1, 4))
def test_no_column_depends_on_the_order_of_applying(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], batch: int
) -> None:
    """The notifications of an inbox give the same rows, to the last column, if `replay` applies them in any order."""
    from gatherer.inbox.base import Selection
    from gatherer.pipeline.replay import replay_notifications

    folder = tmp_path_factory.mktemp("apply")
    fill_inbox(folder / "inbox.db", CAMPAIGN)
    gather(folder)
    shuffled = folder / "shuffled.db"
    with closing(LocalInbox(folder / "inbox.db")) as inbox, closing(SQLiteTarget(shuffled)) as target:
        for start in range(0, len(order), batch):
            ids = frozenset(number + 1 for number in order[start : start + batch])
            replay_notifications(inbox, target, Selection(ids=ids))
        assert target.position(inbox.identity) is None, "a replay does not change the position"
    assert all_rows(shuffled) == all_rows(folder / "responses.db")


def _split(bodies: list[bytes], parts: int) -> list[list[bytes]]:
    size = -(-len(bodies) // parts)
    return [bodies[start : start + size] for start in range(0, len(bodies), size)]


def _without_times_of_receipt(
    tables: dict[str, list[dict[str, object]]],
) -> dict[str, list[dict[str, object]]]:
    for records in tables.values():
        for row in records:
            if row.get("occurred_at_source") == "receipt":
                row.pop("occurred_at")
    return tables


def test_a_batch_is_bounded_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    monkeypatch.setattr("gatherer.pipeline.gather.BOUNDS", Bounds(rows=4, bytes=900))
    seen: list[int] = []
    inbox, target = tmp_path / "inbox.db", tmp_path / "responses.db"
    with closing(LocalInbox(inbox)) as source, closing(SQLiteTarget(target)) as destination:
        summary = gather_inbox(source, destination, progress=lambda done, total: seen.append(done))
    assert summary.read == len(CAMPAIGN)
    assert max(b - a for a, b in zip([0, *seen], seen, strict=False)) <= 4
    assert len(seen) > len(CAMPAIGN) / 4, "some batches reached the limit of bytes"


def test_a_run_stops_at_the_limit_and_the_next_one_continues(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    assert gather(tmp_path, limit=3).position == 3
    assert gather(tmp_path, limit=3).position == 6
    assert gather(tmp_path).position == len(CAMPAIGN)


def test_a_target_restored_from_an_older_copy_catches_up(tmp_path: Path) -> None:
    target = tmp_path / "responses.db"
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN[:6])
    gather(tmp_path)
    with closing(sqlite3.connect(target)) as live, closing(sqlite3.connect(tmp_path / "backup.db")) as copy:
        live.backup(copy)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN[6:])
    gather(tmp_path)
    expected = all_rows(target)
    for file in tmp_path.glob("responses.db*"):
        file.unlink()
    shutil.copy(tmp_path / "backup.db", target)
    assert all_rows(target) != expected
    assert gather(tmp_path).read == len(CAMPAIGN) - 6
    assert all_rows(target) == expected


def test_a_run_fails_when_the_inbox_was_restored_from_an_older_copy(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    fill_inbox(inbox, CAMPAIGN[:2])
    shutil.copy(inbox, tmp_path / "old.db")
    fill_inbox(inbox, CAMPAIGN[2:6])
    gather(tmp_path)
    before = all_rows(tmp_path / "responses.db")
    for file in inbox_files(tmp_path):
        file.unlink()
    shutil.copy(tmp_path / "old.db", inbox)
    fill_inbox(inbox, [])
    with pytest.raises(InboxError, match="up to notification 6, but it ends at 2"):
        gather(tmp_path)
    fill_inbox(
        inbox, CAMPAIGN[6:]
    )  # the inbox grows past the position, with other notifications under the old ids
    with pytest.raises(InboxError, match="notification 6 of this inbox is not the one"):
        gather(tmp_path)
    assert all_rows(tmp_path / "responses.db") == before


def test_a_new_inbox_is_gathered_from_its_start(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN[:6])
    gather(tmp_path)
    for file in inbox_files(tmp_path):
        file.unlink()
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN[6:])
    assert gather(tmp_path).read == len(CAMPAIGN) - 6


def test_run_reports_purged_notifications(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbox = tmp_path / "inbox.db"
    fill_inbox(inbox, CAMPAIGN)
    gather(tmp_path, limit=2)
    delete(inbox, "id <= 5", purged_to=5)
    summary = gather(tmp_path)
    assert (summary.purged_unread, summary.missing) == (3, 0)
    assert summary.read == len(CAMPAIGN) - 5
    assert "3 notifications (3 to 5) were purged" in caplog.text


def delete(inbox: Path, condition: str, *, purged_to: int = 0) -> None:
    """Delete notifications from the file `inbox`; with `purged_to`, as purging does."""
    with closing(sqlite3.connect(inbox)) as connection, connection:
        connection.execute(f"DELETE FROM notification WHERE {condition}")
        connection.execute("UPDATE inbox SET purged_to = max(purged_to, ?)", (purged_to,))


def recorded_holes(folder: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return connection.execute("SELECT purged_unread, missing FROM gather_run ORDER BY id").fetchall()


def test_notifications_that_are_purged_during_a_run_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, target = tmp_path / "inbox.db", tmp_path / "responses.db"
    fill_inbox(inbox, (receipts(f"wamid.{i}") for i in range(100)))
    monkeypatch.setattr("gatherer.pipeline.gather.BOUNDS", Bounds(rows=10))

    def purge(done: int, _total: int) -> None:
        if done == 20:
            delete(inbox, "id <= 70", purged_to=70)

    with closing(LocalInbox(inbox)) as source, closing(SQLiteTarget(target)) as destination:
        summary = gather_inbox(source, destination, progress=purge)
    assert (summary.read, summary.position, summary.purged_unread, summary.missing) == (50, 100, 50, 0)
    assert "50 notifications (21 to 70) were purged" in caplog.text
    assert gather(tmp_path).purged_unread == 0
    assert recorded_holes(tmp_path) == [(50, 0), (0, 0)]


def test_a_hole_in_an_inbox_is_reported_by_the_run_that_passes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_inbox(tmp_path / "inbox.db", (receipts(f"wamid.{i}") for i in range(100)))
    delete(tmp_path / "inbox.db", "id BETWEEN 1 AND 7", purged_to=7)
    delete(tmp_path / "inbox.db", "id BETWEEN 30 AND 50 OR id = 60")
    for rows_per_batch in (1, 5, 29, 1000):  # the hole is between batches, and inside one
        monkeypatch.setattr("gatherer.pipeline.gather.BOUNDS", Bounds(rows=rows_per_batch))
        caplog.clear()
        summary = gather(tmp_path)
        assert (summary.read, summary.purged_unread, summary.missing) == (71, 7, 22)
        assert "30 to 50" in caplog.text
        assert (gather(tmp_path).missing, recorded_holes(tmp_path)) == (0, [(7, 22), (0, 0)])
        (tmp_path / "responses.db").unlink()


def test_a_hole_at_the_end_of_an_inbox_is_reported_until_a_notification_follows(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    fill_inbox(inbox, (receipts(f"wamid.{i}") for i in range(10)))
    delete(inbox, "id > 6")
    assert [(gather(tmp_path).missing, gather(tmp_path).missing)] == [(4, 4)]
    fill_inbox(inbox, [receipts("wamid.A")])
    summary = gather(tmp_path)
    assert (summary.read, summary.position, summary.missing) == (1, 11, 4)
    assert gather(tmp_path).missing == 0


def test_an_inbox_whose_ids_have_gaps_by_nature_has_no_holes(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", (receipts(f"wamid.{i}") for i in range(10)))
    delete(tmp_path / "inbox.db", "id BETWEEN 3 AND 5 OR id = 10")
    with (
        closing(LocalInbox(tmp_path / "inbox.db")) as inbox,
        closing(SQLiteTarget(tmp_path / "responses.db")) as target,
    ):
        inbox.has_contiguous_ids = False  # as a partition of a log that is compacted
        summary = gather_inbox(inbox, target)
    assert (summary.read, summary.purged_unread, summary.missing) == (6, 0, 0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    present=st.sets(st.integers(1, 12)),
    purged_to=st.integers(0, 12),
    rows_per_batch=st.integers(1, 13),
    limit=st.integers(1, 13),
)
def test_every_id_is_read_or_reported(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    present: set[int],
    purged_to: int,
    rows_per_batch: int,
    limit: int,
) -> None:
    """Any holes, in any batches and runs: each id above the purged ones is read once, or reported as missing."""
    folder = tmp_path_factory.mktemp("holes")
    fill_inbox(folder / "inbox.db", (receipts(f"wamid.{i}") for i in range(12)))
    held = {number for number in present if number > purged_to} | {12}
    delete(folder / "inbox.db", f"id NOT IN ({', '.join(map(str, held))})", purged_to=min(purged_to, 11))
    monkeypatch.setattr("gatherer.pipeline.gather.BOUNDS", Bounds(rows=rows_per_batch))
    while gather(folder, limit=limit).read:
        pass
    assert len(rows(folder / "responses.db")) == len(held)
    purged, missing = (sum(counts) for counts in zip(*recorded_holes(folder), strict=True))
    assert (purged, missing) == (min(purged_to, 11), 12 - min(purged_to, 11) - len(held))


def test_gather_reads_while_a_server_writes_and_after_it_has_ended(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    fill_inbox(inbox, CAMPAIGN[:1])
    writing = threading.Thread(
        target=lambda: [fill_inbox(inbox, [receipts(f"wamid.{i}")]) for i in range(40)]
    )
    writing.start()
    while writing.is_alive():
        gather(tmp_path)
    writing.join()
    gather(tmp_path)
    assert len(rows(tmp_path / "responses.db")) == 43


# --- interruption ---------------------------------------------------------------------------------

KILLED_AT_STATEMENT = """
import os, signal, sys
from contextlib import closing
from pathlib import Path
from gatherer.pipeline import gather
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.targets.sqlite.target import SQLiteTarget

folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
gather.BOUNDS = Bounds(rows=4)
seen = 0
def count(statement):
    global seen
    seen += 1
    if seen == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
with closing(LocalInbox(folder / "inbox.db")) as inbox, closing(SQLiteTarget(folder / "responses.db")) as target:
    target._connection.set_trace_callback(count)
    gather.gather_inbox(inbox, target)
print(seen)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("stride", [pytest.param(9), pytest.param(1, marks=pytest.mark.nightly)])
def test_kill_9_at_any_statement_of_a_run_loses_and_duplicates_no_row(tmp_path: Path, stride: int) -> None:
    """A run is killed before its n-th SQL statement, for n = 1, 2, 3 …; the next run ends with the right rows."""
    (tmp_path / "complete").mkdir()
    fill_inbox(tmp_path / "complete" / "inbox.db", CAMPAIGN)
    gather(tmp_path / "complete")
    expected = all_rows(tmp_path / "complete" / "responses.db")
    fatal, killed = 1, 0
    while True:
        folder = tmp_path / str(fatal)
        folder.mkdir()
        for file in inbox_files(tmp_path / "complete"):
            shutil.copy(file, folder)
        command = [sys.executable, "-c", KILLED_AT_STATEMENT, str(folder), str(fatal)]
        result = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if result.returncode == 0:
            break
        assert result.returncode == -signal.SIGKILL, result.stderr.decode()
        killed += 1
        gather(folder)
        assert all_rows(folder / "responses.db") == expected
        with closing(sqlite3.connect(folder / "responses.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        fatal += stride
    assert killed >= 5


# --- the command ----------------------------------------------------------------------------------


def test_the_json_summary_is_one_object(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    result = run(tmp_path, "gather", "--json")
    assert result.returncode == 0, result.stderr.decode()
    summary = json.loads(result.stdout)
    assert summary["read"] == summary["position"] == len(CAMPAIGN)
    assert summary["inserted"]["sent"] == 4
    assert summary["rejected"] == 5
    assert {"filled", "duplicates", "seconds"} <= set(summary)


@pytest.mark.skipif(sys.platform != "linux", reason="LOUD: only Linux has /dev/full")
def test_a_full_disk_under_the_output_is_one_error_line_and_loses_no_row(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    command = [sys.executable, "-m", "gatherer", "gather", "--json"]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 75
    assert b"Error: the output could not be written: No space left on device" in result.stderr
    assert b"defect" not in result.stderr
    assert len(rows(tmp_path / "responses.db")) > 4


def test_fail_on_rejected_exits_1_only_for_new_rejections(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [b"junk"])
    assert run(tmp_path, "gather", "--fail-on-rejected").returncode == 1
    assert run(tmp_path, "gather", "--fail-on-rejected").returncode == 0, "nothing new was rejected"


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    summary = json.loads(call(tmp_path, "gather", "--dry-run", "--json").stdout)
    assert summary["inserted"]["sent"] == 4
    assert not list(tmp_path.glob("responses.db*[!k]")), "only the lock file remains"
    assert json.loads(call(tmp_path, "gather", "--json").stdout)["read"] == len(CAMPAIGN)


@contextmanager
def _run_lock_held(folder: Path, ago: timedelta) -> Iterator[None]:
    lock = folder / "responses.db.gather.lock"
    with exclusive(lock):
        since = timestamps.iso(timestamps.now() - ago)
        holder = {"pid": 4711, "host": "app-server", "since": since}
        lock.with_name(lock.name + ".holder").write_text(json.dumps(holder))
        yield


def test_a_second_gather_names_the_running_process(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    with _run_lock_held(tmp_path, timedelta(minutes=5)):
        result = run(tmp_path, "gather")
        assert result.returncode == 0
        assert b"process 4711 on app-server" in result.stdout
        assert not (tmp_path / "responses.db").exists()
    with _run_lock_held(tmp_path, timedelta(minutes=61)):
        result = run(tmp_path, "gather")
        assert result.returncode == 75
        assert b"more than an hour" in result.stderr
        assert b"4711" in result.stderr
    assert b"gathered" in call(tmp_path, "gather").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--every", "5"], 2, b"not a duration"),
        (["--every", "5m", "--cron", "* * * * *"], 2, b"cannot be combined"),
        (["--cron", "often"], 2, b"invalid cron expression"),
        (["--cron", ""], 2, b"invalid cron expression"),
        (["--cron", "0 0 31 2 *"], 2, b"matches no time"),
        (["--limit", "0"], 2, b"--limit"),
        (["--every", "5m", "--fail-on-rejected"], 2, b"one run"),
        (["extra"], 2, b"unexpected extra argument"),
    ],
)
def test_invalid_options_are_usage_errors(
    tmp_path: Path, arguments: list[str], code: int, words: bytes
) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [])
    result = call(tmp_path, "gather", *arguments)
    assert result.returncode == code
    assert words in result.stderr
    assert b"Traceback" not in result.stderr


def test_an_unusable_inbox_or_target_is_reported_with_exit_code_3(tmp_path: Path) -> None:
    configure(tmp_path)
    result = call(tmp_path, "gather")
    assert (result.returncode, b"gatherer serve" in result.stderr) == (3, True), "no inbox yet"
    (tmp_path / "inbox.db").write_bytes(b"this is not a database, but it is long enough to be looked at" * 20)
    result = call(tmp_path, "gather")
    assert (result.returncode, result.stderr.count(b"\n")) == (3, 1), result.stderr
    (tmp_path / "inbox.db").unlink()
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    result = call(tmp_path, "gather")
    assert (result.returncode, b"not a gatherer target" in result.stderr) == (3, True)


@pytest.mark.parametrize("content", [None, b"x"], ids=["folder", "one byte"])
def test_a_folder_or_a_file_of_one_byte_is_not_taken_for_a_target(
    tmp_path: Path, content: bytes | None
) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    path = tmp_path / "responses.db"
    path.mkdir() if content is None else path.write_bytes(content)
    message = b"is a folder" if content is None else b"is not a SQLite database"
    for command in ("gather", "gather --dry-run", "target check", "schema check"):
        result = call(tmp_path, *command.split())
        assert result.returncode == 3, command
        assert message in result.stderr, command
    assert content is None or path.read_bytes() == content


def test_an_unwritable_lock_file_is_reported_with_exit_code_3(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    (tmp_path / "responses.db.gather.lock").mkdir()  # a folder is as unwritable as a file of another account
    result = call(tmp_path, "gather")
    assert (result.returncode, result.stderr.count(b"\n")) == (3, 1), result.stderr
    assert b"gather.lock cannot be written" in result.stderr
    (tmp_path / "responses.db.gather.lock").rmdir()
    assert call(tmp_path, "gather").returncode == 0


def test_a_locked_target_is_a_temporary_error_and_loses_no_notification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatherer.model.errors import TemporaryError

    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    gather(tmp_path, limit=1)
    inbox, path = tmp_path / "inbox.db", tmp_path / "responses.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(LocalInbox(inbox)) as source, closing(SQLiteTarget(path)) as target:
            target._connection.execute("PRAGMA busy_timeout = 100")
            with pytest.raises(TemporaryError, match="locked") as caught:
                gather_inbox(source, target)
    assert caught.value.exit_code == 75
    assert gather(tmp_path).read == len(CAMPAIGN) - 1


def test_a_schedule_continues_after_a_failed_run_and_stops_on_sigterm(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.1")])
    command = [sys.executable, "-u", "-m", "gatherer", "gather", "--every", "1s"]
    log = tmp_path / "gather.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        try:
            _wait_for_rows(tmp_path / "responses.db", 1)
            fill_inbox(tmp_path / "inbox.db", [receipts("wamid.2")])
            _wait_for_rows(tmp_path / "responses.db", 2)
            shutil.move(tmp_path / "inbox.db", tmp_path / "away.db")  # the next run fails,
            wait_until(lambda: b"the run failed" in log.read_bytes())
            shutil.move(tmp_path / "away.db", tmp_path / "inbox.db")  # and the run after it succeeds
            fill_inbox(tmp_path / "inbox.db", [receipts("wamid.3")])
            _wait_for_rows(tmp_path / "responses.db", 3)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == 0, log.read_text()
    assert b"Traceback" not in log.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends signals differently")
def test_a_schedule_stops_cleanly_after_repeated_signals(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.1")])
    command = [sys.executable, "-u", "-m", "gatherer", "gather", "--every", "1h"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            _wait_for_rows(tmp_path / "responses.db", 1)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors.decode()
    assert (errors.count(b"stopping"), b"Traceback" in errors) == (1, False)


def _wait_for_rows(path: Path, count: int) -> None:
    def written() -> bool:
        try:
            return len(rows(path)) == count
        except sqlite3.OperationalError:
            return False  # the file or its table is not there yet

    wait_until(written, f"there are not {count} rows")


def test_a_failed_run_is_recorded(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", CAMPAIGN)
    call(tmp_path, "gather")
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as connection, connection:
        connection.execute("UPDATE notification SET body = x'00' WHERE id = ?", (len(CAMPAIGN),))
    assert call(tmp_path, "gather").returncode == 3
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert state["last_run"]["exit_code"] == 3
    assert "not the one" in state["last_run"]["problem"]
