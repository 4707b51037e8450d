"""Purging: what may go, what never does, and what it leaves behind. Real files, the real writer."""

import asyncio
import json
import logging
import os
import sqlite3
import threading
import time
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
from tests.server_process import Load, rows, run_server

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


def tidy(writer: InboxWriter, retention: Retention = MONTH) -> int:
    """Do one round as `serve` does; return how many were purged."""
    return sum(step.count for step in asyncio.run(InboxMaintenance(writer, retention).perform_round()))


def test_what_is_old_and_acknowledged_by_everybody_goes(writer, path):
    append(writer, [40, 35, 31, 30.5, 29, 1])
    acknowledge(path, 6)
    acknowledge(path, 3, "archive")
    assert tidy(writer) == 3
    assert ids(path) == [4, 5, 6]
    acknowledge(path, 5, "archive")
    assert tidy(writer) == 1
    assert ids(path) == [5, 6]


def test_without_any_consumer_nothing_is_purged(writer, path):
    append(writer, [400, 300])
    assert tidy(writer) == 0
    assert ids(path) == [1, 2]


def test_consumers_of_an_inbox_that_was_replaced_do_not_count(writer, path):
    append(writer, [400, 300])
    consumers.acknowledge(path, "reports", "another inbox", 1000)
    assert tidy(writer) == 0
    acknowledge(path, 1, "archive")
    assert tidy(writer) == 1


def test_what_came_after_an_inbox_was_restored_from_a_copy_is_not_taken_for_acknowledged(writer, path):
    """It has ids that consumers acknowledged once, for other notifications: `gather` stops there, and so do we."""
    append(writer, [40, 40])
    acknowledge(path, 4)
    record = consumers.folder(path) / "reports.json"
    content = json.loads(record.read_text())
    content["acknowledged_at"] = timestamps.iso(NOW - timedelta(days=39))
    record.write_text(json.dumps(content))
    append(writer, [38, 37])
    assert tidy(writer) == 2
    assert ids(path) == [3, 4]


def test_a_consumer_whose_file_is_damaged_keeps_everything(writer, path):
    append(writer, [400, 300])
    acknowledge(path, 2)
    acknowledge(path, 2, "archive")
    (consumers.folder(path) / "archive.json").write_bytes(b"{")
    assert tidy(writer) == 0


def test_a_consumer_that_was_forgotten_holds_nothing_up(writer, path):
    append(writer, [400, 300])
    acknowledge(path, 2)
    acknowledge(path, 0, "gone")
    assert tidy(writer) == 0
    assert consumers.forget(path, "gone")
    assert tidy(writer) == 2


@pytest.mark.parametrize("known", [True, False])
def test_beyond_keep_days_at_most_everything_goes_loudly_and_counted(writer, path, known, caplog):
    append(writer, [100, 95, 91, 89, 1])
    if known:
        acknowledge(path, 1)
    with caplog.at_level(logging.WARNING):
        assert tidy(writer, Retention(keep_days=30, keep_days_at_most=90)) == 3
    assert ids(path) == [4, 5]
    unread = 2 if known else 3
    assert f"LOST: {unread} notifications up to 3" in caplog.text
    with closing(sqlite_file.open_readable(path)) as connection:
        assert connection.execute("SELECT purged_to, purged_unread FROM inbox").fetchone() == (3, unread)


def test_nothing_is_purged_behind_what_is_kept(writer, path):
    """An imported notification is old but stands at the end: it waits for its turn."""
    append(writer, [40, 1, 40, 40])
    acknowledge(path, 4)
    assert tidy(writer) == 1
    assert ids(path) == [2, 3, 4]


def test_what_was_received_while_the_clock_was_ahead_holds_nothing_up(writer, path):
    append(writer, [40, -4000, 40, -4000, 1])
    acknowledge(path, 5)
    assert tidy(writer) == 3
    assert ids(path) == [4, 5]


def test_ids_are_not_used_again_and_a_reader_sees_what_is_gone(writer, path):
    append(writer, [40] * 10)
    acknowledge(path, 10)
    assert tidy(writer) == 10
    append(writer, [0])
    with closing(LocalInbox(path)) as inbox:
        assert (inbox.first_id(), inbox.last_id()) == (11, 11)


def test_purging_is_done_in_small_steps(writer, path, monkeypatch):
    monkeypatch.setattr(maintenance, "PAUSE_FACTOR", 0)
    append(writer, [40] * (2 * retention.STEP_ROWS + 10))
    acknowledge(path, 10_000)
    steps = asyncio.run(InboxMaintenance(writer, MONTH).perform_round())
    assert [step.count for step in steps] == [retention.STEP_ROWS, retention.STEP_ROWS, 10]
    append(writer, [40] * 5, body=b"x" * (retention.STEP_BYTES // 2))
    steps = asyncio.run(InboxMaintenance(writer, MONTH).perform_round())
    assert [step.count for step in steps] == [3, 2]


def test_the_space_is_given_back(writer, path):
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


def test_the_log_stays_short_while_much_is_purged_and_given_back(writer, path):
    append(writer, [40] * 3000, body=bytes(20_000))
    append(writer, [1] * 50)
    assert writer.perform(retention.try_truncate_log).result()
    acknowledge(path, 3000)
    known, now = consumers.read_all(path), timestamps.now()
    log, longest, steps = Path(f"{path}-wal"), 0, 0
    while writer.perform(lambda c: retention.purge_step(c, MONTH, known, now)).result().count:
        longest = max(longest, log.stat().st_size)
    while given := writer.perform(_given_back).result():
        assert given <= retention.STEP_PAGES
        longest, steps = max(longest, log.stat().st_size), steps + 1
    assert steps > 20
    assert longest < 2 * committer.CHECKPOINT_BYTES


def _given_back(connection: sqlite3.Connection) -> int:
    (before,) = connection.execute("PRAGMA freelist_count").fetchone()
    said = retention.vacuum_step(connection)
    (after,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert before - after == said
    return said


def test_the_log_is_emptied_when_nothing_is_written_for_a_round(writer, path):
    async def main() -> list[int]:
        keeper = InboxMaintenance(writer, MONTH)
        sizes = []
        for _ in range(2):
            await keeper.perform_round()
            sizes.append(Path(f"{path}-wal").stat().st_size)
        return sizes

    append(writer, [1] * 10)
    first, second = asyncio.run(main())
    assert first > 0
    assert second == 0


def test_a_reader_that_never_pauses_stops_the_purge_and_is_named_once(writer, path, monkeypatch, caplog):
    monkeypatch.setattr(sqlite_file, "LOG_BYTES", 100_000)
    append(writer, [40] * 100)
    acknowledge(path, 100)
    with closing(sqlite_file.open_readable(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notification").fetchone()
        append(writer, [1] * 20, body=b"")
        assert (tidy(writer), len(ids(path))) == (0, 120)
        keeper = InboxMaintenance(writer, MONTH)
        caplog.clear()
        asyncio.run(keeper.perform_round())
        asyncio.run(keeper.perform_round())
        assert caplog.text.count("reading") == 1
        reader.execute("ROLLBACK")
    assert tidy(writer) == 100
    assert writer.failure is None


def test_a_step_that_fails_costs_nothing(writer, path):
    append(writer, [40] * 3)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM notification")
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(sqlite3.OperationalError):
        writer.perform(broken).result(10)
    assert ids(path) == [1, 2, 3]
    append(writer, [40])
    assert (ids(path), writer.failure) == ([1, 2, 3, 4], None)


def test_after_a_fault_of_the_disk_in_a_step_the_inbox_is_opened_afresh(writer, path):
    class Fault(sqlite3.OperationalError):
        sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        raise Fault("disk I/O error")

    before = writer._file.connection
    with pytest.raises(Fault):
        writer.perform(broken).result(10)
    end = time.monotonic() + 10
    while writer.failure is not None or writer._file.connection is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert writer._file.connection is not before
    append(writer, [1])


def test_after_close_no_step_is_tried(path):
    writer = InboxWriter(path)
    writer.close()
    with pytest.raises(InboxUnavailableError):
        writer.perform(retention.vacuum_step).result(1)


def test_serve_purges_by_itself_and_says_so(tmp_path):
    path = tmp_path / "inbox.db"
    with closing(InboxWriter(path)) as writer:
        append(writer, [40] * 1200 + [1])
    acknowledge(path, 1201)
    with run_server(tmp_path) as server, Load(server.port, clients=2) as load:
        end = time.monotonic() + 60
        while ids(path)[0] < 1201:
            assert time.monotonic() < end, server.log()
            time.sleep(0.1)
        load.wait_for(50)
        server.stop()
        assert "purged 1200 notifications (1 to 1200)" in server.log()
    assert set(load.acknowledged) <= set(server.bodies())
    assert server.bodies()[0] == b"{}"


def test_the_log_stays_bounded_under_load_with_a_slow_reader_attached(path, monkeypatch):
    """Arrivals, a purge and a reader that takes its time between batches, all at once."""
    over = threading.Event()
    read: list[int] = []
    largest = 0

    def reader() -> None:
        with closing(LocalInbox(path)) as inbox:
            while not over.is_set():
                batch = inbox.read(read[-1] if read else 0, Bounds(rows=20))
                read.extend(one.id for one in batch)
                over.wait(0.02)

    async def main() -> None:
        nonlocal largest
        keeping = asyncio.create_task(InboxMaintenance(writer, MONTH, round_seconds=0.05).run())
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
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

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
        assert read == list(range(1, len(read) + 1)), "what was purged had been read"
        written = writer.perform(
            lambda c: c.execute("SELECT seq FROM sqlite_sequence").fetchone()[0]
        ).result()
        assert written == 15_000
        assert written * 3000 > 2 * largest, "the log was begun anew"
        assert largest < sqlite_file.LOG_BYTES
        assert ids(path)[0] > 1
