"""Reading an inbox: in order, within bounds, read-only, while a server writes or after it has ended."""

import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatherer.inbox import sqlite_file
from gatherer.inbox.base import Bounds, Selection
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.writer import InboxWriter, NotificationRow
from gatherer.model.errors import InboxError, TemporaryError
from tests.server_process import Load, run_server

NOBODY = 65534
START = datetime(2026, 11, 1, tzinfo=UTC)
BODIES = [b"%d" % n * size for n, size in enumerate((1, 10, 100, 1000, 50, 5000, 1, 1, 1, 1))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An inbox of ten notifications, a minute apart, at alternating endpoints."""

    async def main() -> None:
        milliseconds = int(START.timestamp() * 1000)
        for n, body in enumerate(BODIES):
            endpoint = ("a", "b")[n % 2]
            await writer.append(
                NotificationRow(milliseconds + 60_000 * n, endpoint, "meta", None, None, None, body)
            )

    with closing(InboxWriter(tmp_path / "inbox.db")) as writer:
        asyncio.run(main())
    return tmp_path / "inbox.db"


@pytest.fixture
def inbox(path: Path) -> Iterator[LocalInbox]:
    with closing(LocalInbox(path)) as opened:
        yield opened


def test_reading_from_position_to_position_returns_each_notification_once_in_order(inbox):
    for bounds in (
        Bounds(),
        Bounds(rows=1),
        Bounds(rows=3),
        Bounds(bytes=1),
        Bounds(bytes=1100),
        Bounds(rows=4, bytes=60),
    ):
        notifications, after = [], 0
        while batch := inbox.read(after, bounds):
            notifications += batch
            after = batch[-1].id
            assert len(batch) <= bounds.rows
            assert len(batch) == 1 or sum(len(notification.body) for notification in batch) <= bounds.bytes
        assert [notification.id for notification in notifications] == list(range(1, 11))
        assert [notification.body for notification in notifications] == BODIES
        assert [notification.received_at for notification in notifications] == [
            START + timedelta(minutes=n) for n in range(10)
        ]


def test_a_notification_larger_than_the_bounds_is_still_read(inbox):
    assert [notification.id for notification in inbox.read(5, Bounds(bytes=10))] == [6]


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(), range(1, 11)),
        (Selection(ids=frozenset({3, 5, 99})), [3, 5]),
        (Selection(ids=frozenset()), []),
        (Selection(from_id=8), [8, 9, 10]),
        (Selection(to_id=2), [1, 2]),
        (Selection(from_id=4, to_id=4), [4]),
        (Selection(from_id=5, to_id=4), []),
        (Selection(since=START + timedelta(minutes=8)), [9, 10]),
        (Selection(since=START + timedelta(minutes=8, milliseconds=1)), [10]),
        (Selection(until=START + timedelta(minutes=1)), [1]),
        (Selection(until=START + timedelta(minutes=1, milliseconds=1)), [1, 2]),
        (Selection(endpoint="a"), [1, 3, 5, 7, 9]),
        (Selection(endpoint="a' OR 1 --"), []),
        (Selection(endpoint="b", from_id=3, until=START + timedelta(minutes=6)), [4, 6]),
        (Selection(ids=frozenset({1, 2, 3}), endpoint="a", from_id=2), [3]),
    ],
)
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(rows=1), Bounds(bytes=1)])
def test_a_selection_returns_notifications_that_match_all_criteria(inbox, selection, ids, bounds):
    batches = list(inbox.select(selection, bounds))
    assert [notification.id for batch in batches for notification in batch] == list(ids)
    assert all(len(batch) <= bounds.rows for batch in batches)


def test_status_describes_the_inbox(inbox, path):
    status = inbox.status()
    assert (status.first_id, status.last_id, status.count) == (1, 10, 10)
    assert status.identity == inbox.identity
    assert status.bytes == path.stat().st_size + Path(f"{path}-wal").stat().st_size
    assert inbox.get(4).body == BODIES[3]
    assert inbox.get(11) is None


def test_an_empty_inbox_has_no_notifications(tmp_path):
    InboxWriter(tmp_path / "inbox.db").close()
    with closing(LocalInbox(tmp_path / "inbox.db")) as inbox:
        assert (inbox.first_id(), inbox.last_id(), inbox.read(0, Bounds())) == (None, 0, [])
        assert inbox.status().count == 0


def test_the_highest_id_is_known_after_a_purge(path, inbox):
    with closing(sqlite_file.open_writable(path)) as purge:
        purge.execute("DELETE FROM notification WHERE id > 3")
        assert (inbox.first_id(), inbox.last_id()) == (1, 10)
        purge.execute("DELETE FROM notification")
        assert (inbox.first_id(), inbox.last_id()) == (None, 10)


def test_reading_a_batch_leaves_no_transaction_open(path, inbox):
    assert len(inbox.read(0, Bounds(rows=2))) == 2
    selected = inbox.select(Selection(), Bounds(rows=2))
    next(selected)
    with closing(sqlite_file.open_writable(path)) as connection:
        sqlite_file.probe(connection)
        assert sqlite_file.truncate_log(connection)
    selected.close()


def test_a_reader_cannot_write(inbox):
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        inbox._connection.execute("DELETE FROM notification")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no inbox"),
        (b"", "not a gatherer inbox|is not an inbox"),
        (b"garbage" * 1000, "is not an inbox, or damaged"),
        (b"x", "is not a SQLite database"),
    ],
)
def test_a_file_that_is_not_an_inbox_is_reported_in_one_line(tmp_path, content, message):
    path = tmp_path / "inbox.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InboxError, match=message) as caught:
        LocalInbox(path)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_an_inbox_is_named(tmp_path):
    with pytest.raises(InboxError, match="is a folder, not a gatherer inbox"):
        LocalInbox(tmp_path)


def test_another_sqlite_database_is_rejected(tmp_path):
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        other.execute("CREATE TABLE other (x)")
    with pytest.raises(InboxError, match="not a gatherer inbox"):
        LocalInbox(tmp_path / "inbox.db")


def test_a_damaged_page_raises_an_inbox_error(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'notification'"
        ).fetchone()[0]
    with path.open("r+b") as damaged:
        damaged.seek((root - 1) * 4096)
        damaged.write(b"\xff" * 4096)
    with closing(LocalInbox(path)) as inbox, pytest.raises(InboxError, match="damaged"):
        inbox.read(0, Bounds())


def test_an_exclusive_lock_is_a_temporary_error(path, monkeypatch):
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite_file.open_readable, "__kwdefaults__", {"busy_seconds": 0.1})
        with pytest.raises(TemporaryError, match="locked"):
            LocalInbox(path)


def test_a_path_may_contain_special_characters(tmp_path):
    path = tmp_path / "odd ?#%20&mode=rw \u00e9" / "in#box?.db"
    InboxWriter(path).close()
    with closing(LocalInbox(path)) as inbox:
        assert inbox.last_id() == 0
    assert path.exists()


def test_a_reader_sees_no_gaps_while_the_server_writes(tmp_path):
    with (
        run_server(tmp_path) as server,
        closing(LocalInbox(server.inbox)) as inbox,
        Load(server.port) as load,
    ):
        after = 0
        while after < 300:
            batch = inbox.read(after, Bounds(rows=50))
            assert [notification.id for notification in batch] == list(
                range(after + 1, after + 1 + len(batch))
            )
            after += len(batch)
            load.wait_for(min(300, after))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="LOUD: other accounts were not tried on Windows")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("end", ["running", "stopped", "killed", "stopped beside a reader"])
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "readable only"])
def test_a_reader_finds_every_notification_however_the_server_ended(end, writable):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with run_server(folder) as server:
            for n in range(30):
                assert server.post(b"%d" % n).status == 200
            if end == "stopped beside a reader":
                with closing(LocalInbox(server.inbox)) as reader:
                    reader.read(0, Bounds())
                    assert server.stop() == 0
            elif end != "running":
                server.stop() if end == "stopped" else server.kill()
            files = sorted(folder.glob("inbox.db*"))
            for entry in [folder, *files] if not writable else []:
                entry.chmod(0o555 if entry == folder else 0o444)
                if os.geteuid() == 0:
                    os.chown(entry, NOBODY, NOBODY)
            assert run_in_child(lambda: _bodies(server.inbox), as_nobody=not writable) == "30"
            assert sorted(folder.glob("inbox.db*")) == files, "a reader creates and removes no files"
            folder.chmod(0o755)


def _bodies(path: Path) -> str:
    with closing(LocalInbox(path)) as inbox:
        batch = inbox.read(0, Bounds())
    assert [notification.body for notification in batch] == [b"%d" % n for n in range(30)]
    return str(len(batch))


def run_in_child(function: Callable[[], str], *, as_nobody: bool) -> str:
    """Return what `function` returns in a child process, which has no privileges of root if `as_nobody`."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if as_nobody and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            outcome = function()
        except BaseException as error:  # noqa: BLE001 - the parent checks it
            outcome = f"{type(error).__name__}: {error}"
        os.write(write_end, outcome.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as pipe:
        outcome = pipe.read()
    os.waitpid(child, 0)
    return outcome


@pytest.mark.skipif(sys.platform == "win32", reason="LOUD: permissions were not tried on Windows")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("read_only", ["file", "folder", "new file"])
def test_serve_rejects_a_file_or_folder_that_it_may_not_write(read_only):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "inbox.db"
        if read_only != "new file":
            InboxWriter(path).close()
        if read_only == "folder":
            for entry in folder.iterdir():
                entry.unlink() if entry != path and entry.is_file() else None
        for entry in [folder, *folder.iterdir()]:
            if os.geteuid() == 0:
                os.chown(entry, NOBODY, NOBODY)
        path.chmod(0o400) if read_only == "file" else folder.chmod(0o500)
        outcome = run_in_child(lambda: str(InboxWriter(path)), as_nobody=True)
        folder.chmod(0o700)
    assert outcome.startswith("InboxError: the inbox ")
    assert "cannot be written" in outcome
    assert "\n" not in outcome
