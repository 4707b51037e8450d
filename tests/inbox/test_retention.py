"""Retention of the inbox: what is purged, what is never purged, and how the files shrink."""

import asyncio
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gatherer.inbox import committer, consumers, maintenance, retention, sqlite_file
from gatherer.inbox.base import Bounds
from gatherer.inbox.maintenance import InboxMaintenance, purge_now
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.retention import Retention
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter, NotificationRow
from gatherer.model import timestamps
from gatherer.model.errors import TemporaryError
from tests.server_process import Load, rows, run_server
from tests.waiting import SECONDS, until, wait_until

NOW = timestamps.now()
MONTH = Retention(keep_days=30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


@pytest.fixture
def writer(path: Path) -> Iterator[InboxWriter]:
    with closing(InboxWriter(path)) as opened:
        yield opened


def append(writer: InboxWriter, days_ago: Iterable[float], body: bytes = b"{}") -> None:
    """Append a notification for each of `days_ago`."""

    async def main() -> None:
        moments = (timestamps.to_milliseconds(NOW - timedelta(days=days)) for days in days_ago)
        futures = [
            writer.append(NotificationRow(moment, "e", "meta", None, None, None, body or os.urandom(20_000)))
            for moment in moments
        ]
        await asyncio.gather(*futures)

    asyncio.run(main())


def acknowledge(path: Path, number: int, name: str = "reports") -> None:
    with closing(LocalInbox(path)) as inbox:
        consumers.acknowledge(path, name, inbox.identity, number)


def ids(path: Path) -> list[int]:
    return [number for (number,) in rows(path, "id")]


def run_round(writer: InboxWriter, retention: Retention = MONTH) -> int:
    """Perform one maintenance round as `serve` does; return the number of purged notifications."""
    return sum(step.count for step in asyncio.run(InboxMaintenance(writer, retention).perform_round()))


def test_a_notification_is_purged_when_it_is_old_and_every_consumer_has_acknowledged_it(writer, path):
    append(writer, [40, 35, 31, 30.5, 29, 1])
    acknowledge(path, 6)
    acknowledge(path, 3, "archive")
    assert run_round(writer) == 3
    assert ids(path) == [4, 5, 6]
    acknowledge(path, 5, "archive")
    assert run_round(writer) == 1
    assert ids(path) == [5, 6]


def test_nothing_is_purged_without_a_consumer(writer, path):
    append(writer, [400, 300])
    assert run_round(writer) == 0
    assert ids(path) == [1, 2]


def test_consumers_of_a_replaced_inbox_do_not_count(writer, path):
    append(writer, [400, 300])
    consumers.acknowledge(path, "reports", "another inbox", 1000)
    assert run_round(writer) == 0
    acknowledge(path, 1, "archive")
    assert run_round(writer) == 1


def test_notifications_received_after_a_restore_do_not_count_as_acknowledged(writer, path):
    """They have ids that consumers acknowledged for other notifications: `gather` stops there, and so does the purge."""
    append(writer, [40, 40])
    acknowledge(path, 4)
    record = consumers.folder(path) / "reports.json"
    content = json.loads(record.read_text())
    content["acknowledged_at"] = timestamps.iso(NOW - timedelta(days=39))
    record.write_text(json.dumps(content))
    append(writer, [38, 37])
    assert run_round(writer) == 2
    assert ids(path) == [3, 4]


def test_nothing_is_purged_while_the_file_of_a_consumer_is_damaged(writer, path):
    append(writer, [400, 300])
    acknowledge(path, 2)
    acknowledge(path, 2, "archive")
    (consumers.folder(path) / "archive.json").write_bytes(b"{")
    assert run_round(writer) == 0


def test_a_forgotten_consumer_does_not_block_the_purge(writer, path):
    append(writer, [400, 300])
    acknowledge(path, 2)
    acknowledge(path, 0, "gone")
    assert run_round(writer) == 0
    assert consumers.forget(path, "gone")
    assert run_round(writer) == 2


@pytest.mark.parametrize("acknowledged", [True, False])
def test_unread_notifications_older_than_keep_days_at_most_are_purged_counted_and_logged(
    writer, path, acknowledged, caplog
):
    append(writer, [100, 95, 91, 89, 1])
    if acknowledged:
        acknowledge(path, 1)
    with caplog.at_level(logging.WARNING):
        assert run_round(writer, Retention(keep_days=30, keep_days_at_most=90)) == 3
    assert ids(path) == [4, 5]
    unread = 2 if acknowledged else 3
    assert f"LOST: {unread} notifications up to 3" in caplog.text
    with closing(sqlite_file.open_readable(path)) as connection:
        assert connection.execute("SELECT purged_to, purged_unread FROM inbox").fetchone() == (3, unread)


def test_notifications_are_purged_in_order_of_their_ids(writer, path):
    """An imported notification is old, but has the highest id: it is purged after those before it."""
    append(writer, [40, 1, 40, 40])
    acknowledge(path, 4)
    assert run_round(writer) == 1
    assert ids(path) == [2, 3, 4]


def test_notifications_dated_in_the_future_do_not_block_the_purge(writer, path):
    append(writer, [40, -4000, 40, -4000, 1])
    acknowledge(path, 5)
    assert run_round(writer) == 3
    assert ids(path) == [4, 5]


def test_ids_of_purged_notifications_are_not_reused(writer, path):
    append(writer, [40] * 10)
    acknowledge(path, 10)
    assert run_round(writer) == 10
    append(writer, [0])
    with closing(LocalInbox(path)) as inbox:
        assert (inbox.first_id(), inbox.last_id()) == (11, 11)


def test_a_purge_consists_of_small_steps(writer, path, monkeypatch):
    monkeypatch.setattr(maintenance, "PAUSE_FACTOR", 0)
    append(writer, [40] * (2 * retention.STEP_ROWS + 10))
    acknowledge(path, 10_000)
    steps = asyncio.run(InboxMaintenance(writer, MONTH).perform_round())
    assert [step.count for step in steps] == [retention.STEP_ROWS, retention.STEP_ROWS, 10]
    append(writer, [40] * 5, body=b"x" * (retention.STEP_BYTES // 2))
    steps = asyncio.run(InboxMaintenance(writer, MONTH).perform_round())
    assert [step.count for step in steps] == [3, 2]


def test_the_file_shrinks_after_a_purge(writer, path):
    append(writer, [40] * 2000, body=b"")
    append(writer, [1] * 50, body=b"")
    assert writer.perform(retention.try_truncate_log).result()
    before = path.stat().st_size
    assert before > 40_000_000
    acknowledge(path, 2000)
    assert len(purge_now(writer, MONTH)) > 1
    reserve = retention.RESERVE_PAGES * 4096
    assert path.stat().st_size < 50 * 24_576 + reserve + 100_000
    assert len(ids(path)) == 50
    with closing(sqlite_file.open_readable(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_log_stays_short_during_a_large_purge(writer, path):
    append(writer, [40] * 3000, body=bytes(20_000))
    append(writer, [1] * 50)
    assert writer.perform(retention.try_truncate_log).result()
    acknowledge(path, 3000)
    positions, now = consumers.read_all(path), timestamps.now()
    log, longest, steps = Path(f"{path}-wal"), 0, 0
    while writer.perform(lambda c: retention.purge_step(c, MONTH, positions, now)).result().count:
        longest = max(longest, log.stat().st_size)
    while pages := writer.perform(_vacuum).result():
        assert pages <= retention.STEP_PAGES
        longest, steps = max(longest, log.stat().st_size), steps + 1
    assert steps > 20
    assert longest < 2 * committer.CHECKPOINT_BYTES


def _vacuum(connection: sqlite3.Connection) -> int:
    (before,) = connection.execute("PRAGMA freelist_count").fetchone()
    released = retention.vacuum_step(connection)
    (after,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert before - after == released
    return released


def test_the_log_is_emptied_after_a_round_without_writes(writer, path):
    async def main() -> list[int]:
        inbox_maintenance = InboxMaintenance(writer, MONTH)
        sizes = []
        for _ in range(2):
            await inbox_maintenance.perform_round()
            sizes.append(Path(f"{path}-wal").stat().st_size)
        return sizes

    append(writer, [1] * 10)
    first, second = asyncio.run(main())
    assert first > 0
    assert second == 0


def test_a_reader_that_never_pauses_stops_the_purge_and_is_logged_once(writer, path, monkeypatch, caplog):
    monkeypatch.setattr(sqlite_file, "LOG_BYTES", 100_000)
    append(writer, [40] * 100)
    acknowledge(path, 100)
    with closing(sqlite_file.open_readable(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notification").fetchone()
        append(writer, [1] * 20, body=b"")
        assert (run_round(writer), len(ids(path))) == (0, 120)
        inbox_maintenance = InboxMaintenance(writer, MONTH)
        caplog.clear()
        asyncio.run(inbox_maintenance.perform_round())
        asyncio.run(inbox_maintenance.perform_round())
        assert caplog.text.count("reading") == 1
        reader.execute("ROLLBACK")
    assert run_round(writer) == 100
    assert writer.failure is None


def test_a_failed_step_is_rolled_back(writer, path):
    append(writer, [40] * 3)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM notification")
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError):
        writer.perform(broken).result(SECONDS)
    assert ids(path) == [1, 2, 3]
    append(writer, [40])
    assert (ids(path), writer.failure) == ([1, 2, 3, 4], None)


def test_the_inbox_is_reopened_after_a_disk_error_in_a_step(writer, path):
    class DiskError(sqlite3.OperationalError):
        sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        raise DiskError("disk I/O error")

    before = writer._file.connection
    with pytest.raises(DiskError):
        writer.perform(broken).result(SECONDS)
    wait_until(lambda: writer.failure is None and writer._file.connection is not None)
    assert writer._file.connection is not before
    append(writer, [1])


def test_the_maintenance_continues_after_any_round_that_fails(writer, monkeypatch, caplog):
    failures = [sqlite3.OperationalError("disk I/O error"), OSError("no disk"), ValueError("a defect")]
    failures.append(InboxUnavailableError("recovering"))
    inbox_maintenance = InboxMaintenance(writer, MONTH, round_seconds=0.001)
    perform_round = inbox_maintenance.perform_round

    async def main() -> None:
        succeeded = asyncio.Event()

        async def failing_round() -> None:
            if failures:
                raise failures.pop(0)
            await perform_round()
            succeeded.set()

        monkeypatch.setattr(inbox_maintenance, "perform_round", failing_round)
        task = asyncio.create_task(inbox_maintenance.run())
        async with asyncio.timeout(SECONDS):
            await succeeded.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    logged = [record for record in caplog.records if "the maintenance of the inbox failed" in record.message]
    # The writer has logged why it is not available.
    assert [(record.levelname, bool(record.exc_info)) for record in logged] == [
        ("WARNING", False),
        ("WARNING", False),
        ("ERROR", True),
    ]


def test_a_step_that_is_performed_when_serve_stops_is_completed(writer, path, monkeypatch):
    monkeypatch.setattr(maintenance, "SHUTDOWN_SECONDS", SECONDS)
    append(writer, [40] * 3)
    acknowledge(path, 3)
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def step(connection: sqlite3.Connection) -> None:
        begun.set()
        release.wait(SECONDS)
        connection.execute("DELETE FROM notification WHERE id = 1")
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(InboxMaintenance(writer, MONTH)._step(step))
        await until(begun.is_set)
        task.cancel()
        threading.Timer(0.05, release.set).start()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())
    assert (ids(path), writer.failure) == ([2, 3], None)


def test_a_purge_of_a_locked_inbox_is_a_temporary_error_and_purges_later(writer, path):
    append(writer, [40] * 3)
    acknowledge(path, 3)
    writer.perform(lambda connection: connection.execute("PRAGMA busy_timeout = 10")).result(SECONDS)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TemporaryError, match="cannot be written at present: database is locked"):
            purge_now(writer, MONTH)
        other.execute("ROLLBACK")
    assert sum(step.count for step in purge_now(writer, MONTH)) == 3


def test_no_step_runs_after_close(path):
    writer = InboxWriter(path)
    writer.close()
    with pytest.raises(InboxUnavailableError):
        writer.perform(retention.vacuum_step).result(SECONDS)


def test_serve_purges_by_itself_and_logs_the_purge(tmp_path):
    path = tmp_path / "inbox.db"
    with closing(InboxWriter(path)) as writer:
        append(writer, [40] * 1200 + [1])
    acknowledge(path, 1201)
    with run_server(tmp_path) as server, Load(server.port, clients=2) as load:
        wait_until(lambda: ids(path)[0] >= 1201, server.log)
        load.wait_for(50)
        server.stop()
        assert "purged 1200 notifications (1 to 1200)" in server.log()
    assert set(load.acknowledged) <= set(server.bodies())
    assert server.bodies()[0] == b"{}"


def test_the_log_stays_bounded_under_load_with_a_slow_reader(path, monkeypatch):
    """Requests, a purge and a reader that pauses between batches, all at the same time."""
    over = threading.Event()
    read: list[int] = []
    largest = 0

    def reader() -> None:
        with closing(LocalInbox(path)) as inbox:
            while not over.is_set():
                batch = inbox.read(read[-1] if read else 0, Bounds(rows=20))
                read.extend(notification.id for notification in batch)
                over.wait(0.02)

    async def main() -> None:
        nonlocal largest
        task = asyncio.create_task(InboxMaintenance(writer, MONTH, round_seconds=0.05).run())
        old = timestamps.to_milliseconds(NOW - timedelta(days=40))
        for _ in range(300):
            await asyncio.gather(
                *(
                    writer.append(NotificationRow(old, "e", "meta", None, None, None, os.urandom(3000)))
                    for _ in range(50)
                )
            )
            if read:
                consumers.acknowledge(path, "reports", identity, read[-1])
            largest = max(largest, Path(f"{path}-wal").stat().st_size)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with closing(InboxWriter(path)) as writer:
        with closing(LocalInbox(path)) as inbox:
            identity = inbox.identity
        thread = threading.Thread(target=reader)
        thread.start()
        try:
            asyncio.run(main())
        finally:
            over.set()
            thread.join()
        assert read == list(range(1, len(read) + 1)), "every purged notification had been read"
        last_id = writer.perform(
            lambda c: c.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]
        ).result()
        assert last_id == 15_000
        assert last_id * 3000 > 2 * largest, "the log has restarted"
        assert largest < sqlite_file.LOG_BYTES
        assert ids(path)[0] > 1
