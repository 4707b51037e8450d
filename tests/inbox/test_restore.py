"""`gatherer inbox restore`, and backups that an operator copies over the inbox by hand."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox import file_token
from gatherer.inbox.restore import restore
from gatherer.inbox.sqlite_file import files
from gatherer.inbox.writer import InboxWriter
from tests.factories import call, configure, receipts
from tests.server_process import check_integrity, run_failing_server, run_server


def post(folder: Path, names: list[str], *, kill: bool) -> None:
    """Post a receipt of each of `names`, then stop the server, orderly or with kill -9."""
    with run_server(folder) as server:
        for name in names:
            assert server.post(receipts(name)).status == 200
        if kill:
            server.kill()
        else:
            server.stop()


def bodies(inbox: Path) -> list[bytes]:
    with closing(sqlite3.connect(inbox)) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM notification ORDER BY id")]


def names(prefix: str, count: int = 50) -> list[str]:
    return [f"wamid.{prefix}{number}" for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an inbox that was backed up, served on, and killed: its log has 200 notifications."""
    post(tmp_path, names("A"), kill=False)
    configure(tmp_path)
    backup = call(tmp_path, "inbox", "backup", "copy.db")
    assert backup.returncode == 0, backup.stderr
    post(tmp_path, names("B", 200), kill=True)
    configure(tmp_path)
    assert (tmp_path / "inbox.db-wal").stat().st_size
    return tmp_path


def test_restore_replaces_the_inbox_and_keeps_the_replaced_one(folder: Path) -> None:
    assert call(folder, "gather").returncode == 0
    result = call(folder, "inbox", "restore", "copy.db")
    assert result.returncode == 0, result.stderr
    assert b"50 notifications restored" in result.stdout
    assert bodies(folder / "inbox.db") == [receipts(name) for name in names("A")]
    (kept,) = folder.glob("inbox.db.replaced_*Z")
    assert bodies(kept) == [receipts(name) for name in (*names("A"), *names("B", 200))]
    post(folder, names("C", 10), kill=False)
    configure(folder)
    gathered = call(folder, "gather", "--json")
    assert gathered.returncode == 0, gathered.stderr
    summary = json.loads(gathered.stdout)
    assert (summary["read"], summary["inserted"]) == (60, {"sent": 10})
    assert len(rows(folder)) == 260


def test_the_ids_of_the_replaced_inbox_do_no_harm(folder: Path) -> None:
    """New notifications get ids that the target has read in the replaced inbox."""
    assert call(folder, "gather").returncode == 0
    assert call(folder, "inbox", "restore", "copy.db").returncode == 0
    post(folder, names("C", 250), kill=True)
    configure(folder)
    assert call(folder, "gather").returncode == 0
    assert len(rows(folder)) == 500


def test_a_copy_by_hand_beside_the_log_of_the_replaced_file(folder: Path) -> None:
    """The server moves the log aside, says so, and stores into the copy."""
    (folder / "inbox.db").unlink()
    shutil.copyfile(folder / "copy.db", folder / "inbox.db")
    log = (folder / "inbox.db-wal").read_bytes()
    with run_server(folder) as server:
        for name in names("C"):
            assert server.post(receipts(name)).status == 200
        server.stop()
        assert "belongs to the replaced file" in server.log()
    assert check_integrity(folder / "inbox.db") == "ok"
    assert bodies(folder / "inbox.db") == [receipts(name) for name in (*names("A"), *names("C"))]
    (aside,) = folder.glob("inbox.db.other_*-wal")
    assert aside.read_bytes() == log


def test_a_snapshot_of_both_files_is_restored_without_the_token(folder: Path) -> None:
    """The log belongs to the file, although a newer token stands beside them."""
    pair = [folder / "inbox.db", folder / "inbox.db-wal"]
    saved = [file.read_bytes() for file in pair]
    post(folder, names("C"), kill=False)
    for file in files(folder / "inbox.db"):
        file.unlink(missing_ok=True)
    for file, content in zip(pair, saved, strict=True):
        file.write_bytes(content)
    post(folder, names("D", 5), kill=True)
    expected = [receipts(name) for name in names("A") + names("B", 200) + names("D", 5)]
    assert bodies(folder / "inbox.db") == expected
    assert not list(folder.glob("inbox.db.other_*"))


def test_a_damaged_copy_by_hand_is_not_served(folder: Path) -> None:
    content = bytearray((folder / "copy.db").read_bytes())
    content[-8192:-4096] = b"\xff" * 4096
    (folder / "inbox.db").write_bytes(content)
    code, log = run_failing_server(folder)
    assert code == 3
    assert "is damaged" in log


def test_the_log_of_a_killed_server_is_recognised(folder: Path) -> None:
    """Whatever the last server did before the kill, its log belongs to the file."""
    expected = names("A") + names("B", 200)
    for start in range(3):
        post(folder, names(f"C{start}x"), kill=True)
        expected += names(f"C{start}x")
        assert bodies(folder / "inbox.db") == [receipts(name) for name in expected]
    assert not list(folder.glob("inbox.db.other_*"))


KILL = """
import os, signal, sys
from pathlib import Path
import gatherer.files.atomic as atomic
count = int(sys.argv[1])
def step(function):
    def counted(*arguments, **named):
        global count
        count -= 1
        if count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)
    return counted
os.fsync, os.replace, os.rename = step(os.fsync), step(os.replace), step(os.rename)
Path.unlink, Path.replace = step(Path.unlink), step(Path.replace)
{action}
"""
RESTORE = "from gatherer.inbox.restore import restore; restore(Path('inbox.db'), Path('copy.db'))"
OPEN = """
import gatherer.inbox.file_token as file_token, sqlite3
real = sqlite3.connect
class Connection(sqlite3.Connection):
    execute = step(sqlite3.Connection.execute)
sqlite3.connect = lambda *arguments, **named: real(*arguments, factory=Connection, **named)
from gatherer.inbox.writer import InboxWriter
InboxWriter(Path('inbox.db')).close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a process of Windows cannot kill itself with SIGKILL")
@pytest.mark.parametrize(
    "action", [RESTORE, pytest.param(OPEN, marks=pytest.mark.nightly)], ids=["restore", "open"]
)
def test_a_kill_at_any_step_loses_nothing_and_can_be_repeated(folder: Path, action: str) -> None:
    before = {receipts(name) for name in names("A") + names("B", 200)}
    saved = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    for count in range(1, 100):
        for file in folder.iterdir():
            if file.is_file():
                file.unlink()
        for name, content in saved.items():
            (folder / name).write_bytes(content)
        killed = subprocess.run(
            [sys.executable, "-c", KILL.format(action=action), str(count)], cwd=folder, check=False
        )
        # A writer starts in any state, and what the inbox lacks then is in the kept file.
        InboxWriter(folder / "inbox.db").close()
        assert not list(folder.glob("inbox.db.other_*")), count
        assert len(bodies(folder / "inbox.db")) in (50, 250), count
        kept = list(folder.glob("inbox.db.replaced_*Z"))
        assert not any(file.samefile(folder / "inbox.db") for file in kept), count
        assert set(bodies(folder / "inbox.db")).union(*map(bodies, kept)) >= before, count
        if action == RESTORE:
            assert restore(folder / "inbox.db", folder / "copy.db").content.count == 50
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
    assert count > 5


def test_restore_refuses_what_is_no_backup(folder: Path) -> None:
    (folder / "text.db").write_text("no database at all, and long enough for a header of SQLite" * 50)
    (folder / "empty.db").touch()
    with closing(sqlite3.connect(folder / "other.db")) as connection:
        connection.execute("CREATE TABLE other (id)")
    shutil.copyfile(folder / "inbox.db", folder / "live.db")
    shutil.copyfile(folder / "inbox.db-wal", folder / "live.db-wal")
    content = bytearray((folder / "copy.db").read_bytes())
    content[-8192:-4096] = b"\xff" * 4096
    (folder / "damaged.db").write_bytes(content)
    state = {path.name: path.read_bytes() for path in files(folder / "inbox.db")}
    refused = {
        "nowhere.db": (2, b"there is no file"),
        "text.db": (2, b"text.db"),
        "empty.db": (2, b"empty"),
        "other.db": (2, b"other.db"),
        "live.db": (2, b"not a complete backup"),
        "inbox.db": (2, b"is the inbox itself"),
        "damaged.db": (3, b"is damaged"),
    }
    for name, (code, words) in refused.items():
        result = call(folder, "inbox", "restore", name)
        assert (result.returncode, result.stderr.count(b"\n")) == (code, 1), (name, result.stderr)
        assert words in result.stderr, (name, result.stderr)
    assert {path.name: path.read_bytes() for path in files(folder / "inbox.db")} == state


def test_restore_refuses_while_the_server_runs(folder: Path) -> None:
    with run_server(folder) as server:
        result = call(folder, "inbox", "restore", "copy.db")
        assert result.returncode == 2
        assert b"stop `gatherer serve` first" in result.stderr
        assert server.post(receipts("wamid.Z")).status == 200


def test_restore_needs_no_inbox(folder: Path) -> None:
    for path in files(folder / "inbox.db"):
        path.unlink()
    file_token.forget(folder / "inbox.db")
    assert call(folder, "inbox", "restore", "copy.db").returncode == 0
    assert len(bodies(folder / "inbox.db")) == 50
    assert not list(folder.glob("inbox.db.replaced_*"))


def rows(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return [name for (name,) in connection.execute("SELECT message_id FROM response")]
