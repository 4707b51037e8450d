"""The writer: what it acknowledges, which errors it survives, and which ids it assigns."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from gatherer.inbox import committer, sqlite_file, writer
from gatherer.inbox.base import Bounds
from gatherer.inbox.queue import QueueLimits
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter, NotificationRow
from gatherer.model.errors import ConfigurationError, TemporaryError
from tests.server_process import rows
from tests.waiting import SECONDS, wait_until

GOOD = NotificationRow(1_790_000_000_000, "endpoint", "meta", "192.0.2.1", "application/json", None, b"{}")
UNSTORABLE = {
    "surrogate": GOOD._replace(content_type="\udcff"),
    "huge time": GOOD._replace(received_at=2**63),
    "no endpoint": GOOD._replace(endpoint=None),
    "no body": GOOD._replace(body=None),
    "odd type": GOOD._replace(remote=object()),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


@pytest.fixture
def inbox(path: Path) -> Iterator[InboxWriter]:
    with closing(InboxWriter(path)) as opened:
        yield opened


def append(inbox: InboxWriter, *notifications: NotificationRow, seconds: float = SECONDS) -> list[str]:
    """Append all rows at the same time; return the outcome of each: "stored" or "refused"."""

    async def main() -> list[object]:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*map(inbox.append, notifications), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert all(outcome is None or isinstance(outcome, InboxUnavailableError) for outcome in outcomes), (
        outcomes
    )
    return ["stored" if outcome is None else "refused" for outcome in outcomes]


def test_the_pragmas_make_commits_durable(path):
    with closing(InboxWriter(path)):
        pass
    with closing(sqlite_file.open_writable(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 127, 200])
def test_a_group_of_any_size_is_stored_completely_and_in_order(inbox, path, count):
    bodies = [b"%d" % n for n in range(count)]
    assert append(inbox, *(GOOD._replace(body=body) for body in bodies)) == ["stored"] * count
    assert [body for (body,) in rows(path, "body")] == bodies


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def test_the_log_is_checkpointed_as_it_grows(inbox, path):
    for _ in range(20):
        assert append(inbox, *[GOOD._replace(body=bytes(100_000))] * 20) == ["stored"] * 20
    assert log_bytes(path) < 1.5 * committer.CHECKPOINT_BYTES
    assert path.stat().st_size > 30_000_000


def test_a_log_that_a_reader_has_pinned_restarts_when_the_reader_ends(inbox, path):
    """Also if few pages are left to checkpoint by then, and few rows follow."""
    with closing(sqlite_file.open_readable(path)) as reader:
        for body, count in ((bytes(100_000), 600), (b"{}", 3)):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM notification").fetchone()
            for _ in range(count // min(count, 20)):
                assert "refused" not in append(inbox, *[GOOD._replace(body=body)] * min(count, 20))
            assert log_bytes(path) > 50_000_000, "the reader kept the log from restarting"
            reader.execute("COMMIT")
    for _ in range(4):
        assert append(inbox, GOOD) == ["stored"]
    pages, _ = inbox.perform(sqlite_file.checkpoint_log).result()
    assert pages < 100


@pytest.mark.parametrize("defect", UNSTORABLE)
def test_a_row_that_cannot_be_stored_fails_alone(inbox, path, defect):
    group = [GOOD._replace(body=b"%d" % n) for n in range(20)]
    group.insert(7, UNSTORABLE[defect])
    assert append(inbox, *group) == ["stored"] * 7 + ["refused"] + ["stored"] * 13
    assert append(inbox, GOOD) == ["stored"]
    assert [body for (body,) in rows(path, "body")] == [b"%d" % n for n in range(20)] + [b"{}"]
    assert inbox.failure is None


def test_a_group_without_a_storable_row_is_rejected(inbox):
    assert append(inbox, *UNSTORABLE.values()) == ["refused"] * len(UNSTORABLE)
    assert append(inbox, GOOD) == ["stored"]


def test_the_writer_recovers_from_any_error_of_the_driver(path, monkeypatch):
    """Whichever error the driver raises: no caller hangs, the thread survives, and the connection is replaced."""
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    connect = sqlite3.connect
    problems: list[Exception] = []

    class Failing(sqlite3.Connection):
        def execute(self, statement, *values):
            if problems and statement == "COMMIT":
                raise problems.pop()
            return super().execute(statement, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Failing))
    failures = [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.DatabaseError("database disk image is malformed"),
        MemoryError(),
        RuntimeError("?"),
    ]
    with closing(InboxWriter(path)) as inbox:
        for problem in failures:
            problems.append(problem)
            first = inbox._file.connection
            assert append(inbox, *[GOOD] * 5) == ["refused"] * 5
            wait_until_it_commits(inbox)
            assert inbox._file.connection is not first, "the old connection is not reused"
            assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path)) == len(failures)


def test_rows_are_rejected_at_once_while_commits_fail(path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.05)

    def broken(*_):
        raise OSError("no disk")

    with closing(InboxWriter(path, limits=QueueLimits(commit_seconds=60))) as inbox:
        monkeypatch.setattr(sqlite_file, "open_writable", broken)
        with closing(sqlite3.connect(path)) as other:  # a real lock makes the commit fail
            other.execute("PRAGMA busy_timeout = 0")
            inbox._file.connection.execute("PRAGMA busy_timeout = 10")
            other.execute("BEGIN IMMEDIATE")
            assert append(inbox, *[GOOD] * 3) == ["refused"] * 3
            other.execute("ROLLBACK")
        assert append(inbox, *[GOOD] * 100, seconds=30) == ["refused"] * 100
        assert inbox.failure is not None
        assert rows(path) == []


def test_a_missing_file_is_not_replaced_by_an_empty_one(path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    with closing(InboxWriter(path)) as inbox:
        assert append(inbox, GOOD) == ["stored"]
        for name in ("inbox.db", "inbox.db-wal", "inbox.db-shm"):
            path.with_name(name).unlink()
        attempts = mock.Mock(wraps=inbox._file.recover)
        monkeypatch.setattr(inbox._file, "recover", attempts)
        inbox._file.fail(sqlite3.OperationalError("disk I/O error"))
        with inbox._queue.wake:
            inbox._queue.wake.notify()
        wait_until(lambda: attempts.call_count >= 3)
        assert append(inbox, GOOD) == ["refused"]
        assert not path.exists()


def test_close_commits_waiting_rows(path):
    inbox = InboxWriter(path)

    async def main() -> None:
        for n in range(2500):  # more than one group
            inbox.append(GOOD._replace(body=b"%d" % n))

    asyncio.run(main())
    inbox.close()
    assert [body for (body,) in rows(path, "body")] == [b"%d" % n for n in range(2500)]


def test_rows_are_rejected_after_close(path):
    inbox = InboxWriter(path)
    inbox.close()
    assert append(inbox, GOOD) == ["refused"]


def test_cancelled_futures_do_not_disturb_the_writer(inbox, path):
    async def main() -> None:
        futures = [inbox.append(GOOD) for _ in range(10)]
        for future in futures[::2]:
            future.cancel()
        await asyncio.gather(*futures[1::2])

    asyncio.run(main())
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path)) == 11


def test_ids_follow_the_order_of_arrival(inbox, path):
    append(inbox, *[GOOD._replace(body=b"%d" % n) for n in range(3000)])
    assert rows(path, "id, body") == [(n + 1, b"%d" % n) for n in range(3000)]


def test_ids_are_not_reused_after_deletion(path):
    with closing(InboxWriter(path)) as inbox:
        append(inbox, GOOD, GOOD, GOOD)
    with closing(sqlite_file.open_writable(path)) as purge:
        purge.execute("DELETE FROM notification")
    with closing(InboxWriter(path)) as inbox:
        append(inbox, GOOD)
    with closing(LocalInbox(path)) as reader:
        assert [notification.id for notification in reader.read(0, Bounds())] == [4]
        assert (reader.first_id(), reader.last_id()) == (4, 4)


def wait_until_it_commits(inbox: InboxWriter) -> None:
    wait_until(lambda: inbox.failure is None, lambda: inbox.failure)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not move an open file")
def test_nothing_is_acknowledged_while_the_file_is_moved_away(inbox, path, caplog):
    assert append(inbox, GOOD) == ["stored"]
    elsewhere = path.rename(path.with_name("moved.db"))
    assert append(inbox, GOOD) == ["refused"]
    assert f"{path} has been moved or deleted" in caplog.text
    assert append(inbox, GOOD) == ["refused"]
    assert len(rows(elsewhere, "id")) == 2  # including the rejected one: the provider sends it again
    elsewhere.rename(path)
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path, "id")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not delete an open file")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_acknowledged_rows_survive_the_deletion_of_a_log_file(inbox, path, suffix):
    assert append(inbox, GOOD, GOOD) == ["stored", "stored"]
    path.with_name(path.name + suffix).unlink()
    assert append(inbox, GOOD) == ["refused"]
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path, "id")) == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not replace an open file")
def test_the_writer_continues_in_an_inbox_that_replaced_its_own(inbox, path, tmp_path):
    assert append(inbox, GOOD) == ["stored"]
    InboxWriter(tmp_path / "other" / "inbox.db").close()
    (tmp_path / "other" / "inbox.db").replace(path)
    assert append(inbox, GOOD) == ["refused"]
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert rows(path, "id") == [(1,)]
    inbox.close()
    assert path.with_name("inbox.db-wal").exists()  # kept for the readers of the new file


def test_a_second_writer_in_the_same_process_is_rejected(inbox, path):
    with pytest.raises(ConfigurationError, match="already served by"):
        InboxWriter(path)
    assert append(inbox, GOOD) == ["stored"]


def test_a_lock_of_another_program_is_a_temporary_error(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    InboxWriter(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match="at present"):
            InboxWriter(path)
    InboxWriter(path).close()  # the failed attempt has released its lock


def test_the_tables_are_created_in_one_transaction(path, monkeypatch):
    """After an interruption between the first and the last statement, the next start creates all tables."""
    sqlite_file.create_private(path)
    statements: list[str] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.set_authorizer(
            lambda action, name, *_: sqlite3.SQLITE_DENY if name == "notification" else sqlite3.SQLITE_OK
        )
        with pytest.raises(sqlite3.Error):
            sqlite_file.VERSIONS.apply(connection)
        connection.set_authorizer(None)
        statements = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert statements == []
    InboxWriter(path).close()
