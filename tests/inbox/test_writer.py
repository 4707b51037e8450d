"""The writer: what it settles, what it survives, and what it hands out."""

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox import committer, sqlite_file, writer
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter, NotificationRow
from gatherer.model.errors import ConfigurationError, TemporaryError
from tests.server_process import rows

GOOD = NotificationRow(1_790_000_000_000, "endpoint", "meta", "192.0.2.1", "application/json", None, b"{}")
POISONED = {
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


def append(inbox: InboxWriter, *arrivals: NotificationRow, seconds: float = 10) -> list[str]:
    """Append all at once; return what came of each: "stored" or "refused"."""

    async def main() -> list[object]:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*map(inbox.append, arrivals), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert all(outcome is None or isinstance(outcome, InboxUnavailableError) for outcome in outcomes), (
        outcomes
    )
    return ["stored" if outcome is None else "refused" for outcome in outcomes]


def test_commits_are_durable_by_the_pragmas_in_force(path):
    with closing(InboxWriter(path)):
        pass
    with closing(sqlite_file.open_writable(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 127, 200])
def test_a_group_of_any_size_is_stored_whole_and_in_order(inbox, path, count):
    bodies = [b"%d" % n for n in range(count)]
    assert append(inbox, *(GOOD._replace(body=body) for body in bodies)) == ["stored"] * count
    assert [body for (body,) in rows(path, "body")] == bodies


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def test_the_log_is_moved_into_the_file_as_it_grows(inbox, path):
    for _ in range(20):
        assert append(inbox, *[GOOD._replace(body=bytes(100_000))] * 20) == ["stored"] * 20
    assert log_bytes(path) < 1.5 * committer.CHECKPOINT_BYTES
    assert path.stat().st_size > 30_000_000


def test_a_log_that_readers_have_kept_begins_anew_as_soon_as_there_is_none(inbox, path):
    """Also where next to nothing is left to be moved by then, and little comes."""
    with closing(sqlite_file.open_readable(path)) as reader:
        for body, count in ((bytes(100_000), 600), (b"{}", 3)):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM notification").fetchone()
            for _ in range(count // min(count, 20)):
                assert "refused" not in append(inbox, *[GOOD._replace(body=body)] * min(count, 20))
            assert log_bytes(path) > 50_000_000, "it could not begin anew"
            reader.execute("COMMIT")
    for _ in range(4):
        assert append(inbox, GOOD) == ["stored"]
    pages, _ = inbox.perform(sqlite_file.checkpoint_log).result()
    assert pages < 100


@pytest.mark.parametrize("poison", POISONED)
def test_a_poisoned_arrival_is_refused_and_costs_neither_its_group_nor_the_thread(inbox, path, poison):
    group = [GOOD._replace(body=b"%d" % n) for n in range(20)]
    group.insert(7, POISONED[poison])
    assert append(inbox, *group) == ["stored"] * 7 + ["refused"] + ["stored"] * 13
    assert append(inbox, GOOD) == ["stored"]
    assert [body for (body,) in rows(path, "body")] == [b"%d" % n for n in range(20)] + [b"{}"]
    assert inbox.failure is None


def test_a_group_of_nothing_but_poison_is_refused(inbox):
    assert append(inbox, *POISONED.values()) == ["refused"] * len(POISONED)
    assert append(inbox, GOOD) == ["stored"]


def test_any_other_failure_is_refused_at_once_and_recovered_from(path, monkeypatch):
    """Whatever the driver raises: nobody hangs, the thread lives, and the connection is made afresh."""
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
            deadline = threading.Event()
            for _ in range(500):
                if inbox.failure is None:
                    break
                deadline.wait(0.01)
            assert inbox.failure is None
            assert inbox._file.connection is not first, "the old connection is never trusted again"
            assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path)) == len(failures)


def test_while_it_cannot_commit_everything_is_refused_at_once(path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.05)

    def broken(*_):
        raise OSError("no disk")

    with closing(InboxWriter(path)) as inbox:
        monkeypatch.setattr(sqlite_file, "open_writable", broken)
        with closing(sqlite3.connect(path)) as other:  # a real lock makes the commit fail
            other.execute("PRAGMA busy_timeout = 0")
            inbox._file.connection.execute("PRAGMA busy_timeout = 10")
            other.execute("BEGIN IMMEDIATE")
            assert append(inbox, *[GOOD] * 3) == ["refused"] * 3
            other.execute("ROLLBACK")
        assert append(inbox, *[GOOD] * 100, seconds=1) == ["refused"] * 100
        assert inbox.failure is not None
        assert rows(path) == []


def test_a_file_that_vanishes_is_not_replaced_by_an_empty_one(path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.01)
    with closing(InboxWriter(path)) as inbox:
        assert append(inbox, GOOD) == ["stored"]
        for name in ("inbox.db", "inbox.db-wal", "inbox.db-shm"):
            path.with_name(name).unlink()
        inbox._file.fail(sqlite3.OperationalError("disk I/O error"))
        with inbox._queue.wake:
            inbox._queue.wake.notify()
        threading.Event().wait(0.2)
        assert append(inbox, GOOD) == ["refused"]
        assert not path.exists()


def test_close_commits_what_waits(path):
    inbox = InboxWriter(path)

    async def main() -> None:
        for n in range(2500):  # more than one group
            inbox.append(GOOD._replace(body=b"%d" % n))

    asyncio.run(main())
    inbox.close()
    assert [body for (body,) in rows(path, "body")] == [b"%d" % n for n in range(2500)]


def test_after_close_everything_is_refused(path):
    inbox = InboxWriter(path)
    inbox.close()
    assert append(inbox, GOOD) == ["refused"]


def test_what_nobody_waits_for_any_more_disturbs_nothing(inbox, path):
    async def main() -> None:
        futures = [inbox.append(GOOD) for _ in range(10)]
        for future in futures[::2]:
            future.cancel()
        await asyncio.gather(*futures[1::2])

    asyncio.run(main())
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path)) == 11


def test_the_order_of_arrival_is_the_order_of_ids(inbox, path):
    append(inbox, *[GOOD._replace(body=b"%d" % n) for n in range(3000)])
    assert rows(path, "id, body") == [(n + 1, b"%d" % n) for n in range(3000)]


def test_ids_are_never_used_twice_also_after_deletion(path):
    with closing(InboxWriter(path)) as inbox:
        append(inbox, GOOD, GOOD, GOOD)
    with closing(sqlite_file.open_writable(path)) as purge:
        purge.execute("DELETE FROM notification")
    with closing(InboxWriter(path)) as inbox:
        append(inbox, GOOD)
    with closing(LocalInbox(path)) as reader:
        assert [one.id for one in reader.read(0, Bounds())] == [4]
        assert (reader.first_id(), reader.last_id()) == (4, 4)


def wait_until_it_commits(inbox: InboxWriter) -> None:
    for _ in range(100):
        if inbox.failure is None:
            return
        time.sleep(0.1)
    raise AssertionError(inbox.failure)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody move a file that is open")
def test_nothing_is_promised_while_the_file_is_elsewhere_and_it_is_whole_there(inbox, path, caplog):
    assert append(inbox, GOOD) == ["stored"]
    elsewhere = path.rename(path.with_name("moved.db"))
    assert append(inbox, GOOD) == ["refused"]
    assert f"{path} has been moved or deleted" in caplog.text
    assert append(inbox, GOOD) == ["refused"]
    assert len(rows(elsewhere, "id")) == 2  # also the one that was refused: the provider posts it again
    elsewhere.rename(path)
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path, "id")) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody delete a file that is open")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_what_was_promised_survives_the_deletion_of_a_part(inbox, path, suffix):
    assert append(inbox, GOOD, GOOD) == ["stored", "stored"]
    path.with_name(path.name + suffix).unlink()
    assert append(inbox, GOOD) == ["refused"]
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert len(rows(path, "id")) == 4
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows lets nobody replace a file that is open")
def test_another_inbox_in_the_same_place_is_the_one_that_is_written_then(inbox, path, tmp_path):
    assert append(inbox, GOOD) == ["stored"]
    InboxWriter(tmp_path / "other" / "inbox.db").close()
    (tmp_path / "other" / "inbox.db").replace(path)
    assert append(inbox, GOOD) == ["refused"]
    wait_until_it_commits(inbox)
    assert append(inbox, GOOD) == ["stored"]
    assert rows(path, "id") == [(1,)]
    inbox.close()
    assert path.with_name("inbox.db-wal").exists()  # kept for readers, now those of the new file


def test_two_writers_of_one_file_are_impossible_in_one_process_too(inbox, path):
    with pytest.raises(ConfigurationError, match="already served by"):
        InboxWriter(path)
    assert append(inbox, GOOD) == ["stored"]


def test_a_file_that_another_program_has_locked_is_a_temporary_matter(path, monkeypatch):
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.1)
    InboxWriter(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match="at present"):
            InboxWriter(path)
    InboxWriter(path).close()  # and its lock was given back


def test_the_tables_are_made_all_at_once_or_not_at_all(path, monkeypatch):
    """An interruption between the first statement and the last leaves a file that the next start completes."""
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
