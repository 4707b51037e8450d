"""`gatherer inbox …`: list, show, export, import, backup, purge, check."""

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox import consumers
from gatherer.inbox.reader import LocalInbox
from gatherer.model import timestamps
from tests.factories import RECEIVED_AT, all_rows, call, configure, fill_inbox, receipts, run
from tests.server_process import Load, rows, run_server
from tests.waiting import BUSY_SECONDS

ODD = [
    receipts("wamid.a"),
    b"\xff\x00\xfe no text",
    b"",
    "{\"text\": \"\u20ac \U0001f600 \\ud83d\"}\r\n".encode(),
    b"\xef\xbb\xbf{}",
    receipts("wamid.b", word="read"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and an inbox of odd bodies."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", ODD)
    return tmp_path


def inbox(folder: Path, *arguments: str, stdin: bytes = b"", code: int = 0) -> str:
    """Run `gatherer inbox` with `arguments`; return its output, or its errors if `code` is not 0."""
    result = call(folder, "inbox", *arguments, stdin=stdin)
    assert result.returncode == code, result
    if code:
        assert result.stderr.startswith((b"Error: ", b"Usage: "))
        assert b"Traceback" not in result.stderr
    return (result.stderr if code else result.stdout).decode()


def identity(path: Path) -> str:
    with closing(LocalInbox(path)) as opened:
        return opened.identity


def test_list_shows_the_selected_notifications(folder):
    records = [json.loads(line) for line in inbox(folder, "list", "--json").splitlines()]
    assert [record["id"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record["bytes"] for record in records] == [len(body) for body in ODD]
    assert records[1]["received_at"] == timestamps.iso(timestamps.from_milliseconds(RECEIVED_AT + 1000))
    assert len(inbox(folder, "list", "--from-id", "2", "--limit", "3").splitlines()) == 3


def test_show_prints_the_exact_bytes_of_a_notification(folder):
    shown = json.loads(inbox(folder, "show", "6"))
    assert (shown["id"], shown["endpoint"], shown["body"].encode()) == (6, "apteco", ODD[5])
    for number, body in enumerate(ODD, start=1):
        assert call(folder, "inbox", "show", str(number), "--raw").stdout == body
    assert "its ids go from 1 to 6" in inbox(folder, "show", "7", code=2)


def test_an_export_imported_into_another_inbox_gives_the_same_rows(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    configure(elsewhere)
    fill_inbox(elsewhere / "inbox.db", [])
    exported = run(folder, "inbox", "export").stdout
    assert exported.isascii()
    assert "6 notifications imported" in inbox(elsewhere, "import", "-", stdin=exported)
    columns = "received_at, endpoint, provider, remote, content_type, headers, body"
    assert rows(elsewhere / "inbox.db", columns) == rows(folder / "inbox.db", columns)
    assert [body for *_, body in rows(elsewhere / "inbox.db", columns)] == ODD
    for directory in (folder, elsewhere):
        assert call(directory, "gather").returncode == 0
    aside = ("inbox_id",)
    assert all_rows(folder / "responses.db", aside=aside) == all_rows(elsewhere / "responses.db", aside=aside)


def test_an_export_imported_into_its_own_inbox_duplicates_no_row(folder):
    call(folder, "gather")
    before = all_rows(folder / "responses.db")
    exported = folder / "x.ndjson"
    exported.write_bytes(call(folder, "inbox", "export").stdout)
    inbox(folder, "import", "x.ndjson", "x.ndjson")
    assert len(rows(folder / "inbox.db", "id")) == 18
    assert call(folder, "gather").returncode == 0
    assert all_rows(folder / "responses.db") == before


def test_raw_bodies_can_be_exported_and_imported(folder):
    inbox(folder, "export", "--raw", "bodies", "--to-id", "4")
    files = sorted((folder / "bodies").iterdir())
    assert [file.read_bytes() for file in files] == ODD[:4]
    assert "exist" in inbox(folder, "export", "--raw", "bodies", "--to-id", "4", code=2)
    inbox(folder, "import", "--raw", "--endpoint", "apteco", *map(str, files))
    stored = rows(folder / "inbox.db", "received_at, endpoint, provider, body")
    assert stored[6:] == stored[:4]
    inbox(
        folder,
        "import",
        "--raw",
        "--endpoint",
        "old",
        "--provider",
        "wati",
        "--received-at",
        "2026-01-02",
        str(files[0]),
    )
    (last,) = rows(folder / "inbox.db", "received_at, endpoint, provider")[-1:]
    assert last == (1_767_312_000_000, "old", "wati")


def test_a_raw_body_with_a_time_that_no_import_would_take_again_is_refused(folder):
    """`inbox import` refuses a line with such a time, so the export of the inbox would be of no use."""
    file = folder / "x.body"
    file.write_bytes(b"{}")
    arguments = ("import", "--raw", "--endpoint", "apteco", "x.body")
    assert "--received-at is wrong" in inbox(folder, *arguments, "--received-at", "9999-12-31", code=2)
    os.utime(file, (1_300_000, 1_300_000))  # 1970, as in an archive without times
    assert "give --received-at" in inbox(folder, *arguments, code=2)
    assert len(rows(folder / "inbox.db", "id")) == 6
    inbox(folder, *arguments, "--received-at", "2026-01-02")
    assert len(rows(folder / "inbox.db", "id")) == 7


LINE = json.dumps({"received_at": "2026-11-01T00:00:00Z", "endpoint": "e", "provider": "meta", "body": "{}"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"no json", "line 3: not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff", "not valid JSON"),
        ({"received_at": "yesterday"}, "received_at is missing or not a time"),
        ({"endpoint": None}, "endpoint is missing"),
        ({"provider": 7}, "provider is missing"),
        ({"headers": {}}, "headers is not a string"),
        ({"body": None}, "either body or body_base64"),
        ({"body": None, "body_base64": "!"}, "the body cannot be decoded"),
        ({"body": "\ud83d"}, "the body cannot be decoded"),
        ({"remote": "\ud83d"}, "unpaired surrogate"),
        ({"sha256": "00"}, "was changed after the export"),
    ],
)
def test_an_invalid_line_is_reported_and_nothing_is_imported(folder, change, message):
    bad = change if isinstance(change, bytes) else json.dumps(json.loads(LINE) | change).encode()
    (folder / "x.ndjson").write_bytes(b"\xef\xbb\xbf" + LINE.encode() + b"\r\n\n" + bad + b"\n")
    error = inbox(folder, "import", "x.ndjson", code=2)
    assert message in error
    assert "x.ndjson, line 3" in error
    assert "nothing was imported" in error
    assert len(rows(folder / "inbox.db", "id")) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("import",), 2, "Missing argument"),
        (("import", "missing.ndjson"), 2, "missing.ndjson cannot be read"),
        (("import", "--raw", "x"), 2, "--raw needs --endpoint"),
        (("import", "--endpoint", "apteco", "x"), 2, "need --raw"),
        (("import", "--raw", "--endpoint", "other", "x"), 2, "add --provider"),
        (("import", "--raw", "--endpoint", "other", "--provider", "pigeon", "x"), 2, "pigeon"),
        (("export", "--raw", "gatherer.toml"), 2, "is a file"),
        (("backup", "missing/x.db"), 3, f"{Path('missing/x.db')} cannot be written"),
        (("export", "--raw", "gatherer.toml/x"), 3, "cannot be written"),
        (("backup", "inbox.db"), 2, "never replaces"),
        (("backup", ""), 2, "is a folder"),
        (("backup", "x" * 300), 2, "cannot be a file"),
        pytest.param(
            ("backup", "\udcff.db"),
            2,
            "is not a text",
            marks=pytest.mark.skipif(os.name == "nt", reason="bytes"),
        ),
        (("consumers", "--forget", "../x"), 2, "has no consumer"),
        (("show", "0"), 2, "0"),
        (("show", "100000000000000000000000"), 2, "100000000000000000000000 is too large"),
    ],
)
def test_invalid_arguments_are_explained_and_change_nothing(folder, arguments, code, message):
    before = rows(folder / "inbox.db")
    assert message in inbox(folder, *arguments, code=code)
    assert rows(folder / "inbox.db") == before


@pytest.mark.parametrize(
    "command", ["list", "export", "check", "purge", "consumers", "backup x.db", "import -"]
)
def test_a_missing_inbox_is_reported_and_not_created(tmp_path, command):
    configure(tmp_path)
    assert "there is no inbox" in inbox(tmp_path, *command.split(), code=3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["gatherer.toml"]


def test_reading_commands_work_and_writing_commands_fail_while_serve_runs(tmp_path):
    with run_server(tmp_path) as server, Load(server.port, clients=2) as load:
        load.wait_for(200)
        for command in (("purge",), ("import", "-")):
            assert "is already served by process" in inbox(tmp_path, *command, stdin=LINE.encode(), code=2)
        inbox(tmp_path, "backup", "copy.db")
        assert inbox(tmp_path, "check").endswith("purged up to 0\n")
        assert len(inbox(tmp_path, "list").splitlines()) == 100
        load.wait_for(len(load.acknowledged) + 50)
    copied = [body for (body,) in rows(tmp_path / "copy.db", "body")]
    assert len(copied) >= 200
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert sorted(file.name for file in tmp_path.glob("copy.db*")) == ["copy.db"]


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege")
def test_a_backup_follows_no_link_that_another_account_left_in_the_folder(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("copy.db.unfinished", ".copy.db.unfinished", "copy.db.unfinished-journal"):
        (shared / name).symlink_to(victim)
    inbox(folder, "backup", str(shared / "copy.db"))
    assert victim.read_text() == "untouched"
    assert (shared / "copy.db").stat().st_mode & 0o777 == 0o600
    assert len(list(shared.iterdir())) == 4, "the links are left alone, and no unfinished file remains"


def test_a_restored_backup_can_be_served_and_gathered(folder):
    inbox(folder, "backup", "copy_%Y.db")
    (copy,) = folder.glob("copy_*.db")
    assert call(folder, "gather").returncode == 0
    for file in folder.glob("inbox.db*"):
        if file.is_file():
            file.unlink()
    copy.rename(folder / "inbox.db")
    with run_server(folder) as server:
        assert server.post(receipts("wamid.c")).status == 200
        server.stop()
    configure(folder)
    result = call(folder, "gather", "--json")
    assert json.loads(result.stdout)["read"] == 1


def test_consumers_are_listed_and_can_be_forgotten(folder):
    path = folder / "inbox.db"
    assert "has no consumer yet" in inbox(folder, "consumers")
    consumers.acknowledge(path, "reports", identity(path), 4)
    consumers.acknowledge(path, "old", "another", 4)
    (consumers.folder(path) / "odd.json").write_text("")
    states = {record["consumer"]: record for record in json.loads(inbox(folder, "consumers", "--json"))}
    assert (states["reports"]["acknowledged"], states["reports"]["behind"]) == (4, 2)
    assert states["old"]["state"] == "read another inbox"
    assert "nothing is purged" in states["odd"]["state"]
    assert "reports" in inbox(folder, "consumers", "--forget", "odd")
    assert "it has: old, reports" in inbox(folder, "consumers", "--forget", "odd", code=2)


def test_the_purge_command_purges_as_serve_does(folder):
    path = folder / "inbox.db"
    with (folder / "gatherer.toml").open("a") as configuration:
        configuration.write("[inbox]\nkeep_days = 1\nkeep_days_at_most = 2\n")
    now = timestamps.to_milliseconds(timestamps.now())
    ages = [3, 3, 1.5, 1.5, 1.5, 0]
    with closing(sqlite3.connect(path)) as connection:
        for number, days in enumerate(ages, start=1):
            connection.execute(
                "UPDATE notification SET received_at = ? WHERE id = ?", (now - days * 86_400_000, number)
            )
        connection.commit()
    consumers.acknowledge(path, "reports", identity(path), 1)
    result = run(folder, "inbox", "purge", "--json")
    assert json.loads(result.stdout) == {"purged": 2, "unread": 1}
    assert b"LOST: 1 notifications up to 2" in result.stderr
    consumers.acknowledge(path, "reports", identity(path), 4)
    assert "2 notifications purged" in inbox(folder, "purge")
    assert "2 notifications (5 to 6), purged up to 4" in inbox(folder, "check")
    gathered = call(folder, "gather", "--json")
    assert json.loads(gathered.stdout)["purged_unread"] == 4


def test_gather_fails_once_when_notifications_are_missing(folder):
    with closing(sqlite3.connect(folder / "inbox.db")) as connection, connection:
        connection.execute("DELETE FROM notification WHERE id IN (2, 3)")
    result = call(folder, "gather")
    assert result.returncode == 1
    assert b"LOST: 2 are missing in the inbox" in result.stdout
    assert (
        b"2 notifications (2 to 3) are missing in the inbox, and gatherer did not purge them" in result.stderr
    )
    state = json.loads(run(folder, "status", "--json").stdout)
    assert (state["inbox"]["missing"], state["last_run"]["missing"], state["last_run"]["exit_code"]) == (
        2,
        2,
        0,
    )
    assert json.loads(run(folder, "gather", "--json").stdout)["missing"] == 0
    assert json.loads(run(folder, "status", "--json").stdout)["inbox"]["missing"] == 2


@pytest.mark.parametrize(
    ("damage", "gaps"),
    [
        ("DELETE FROM notification WHERE id IN (2, 3)", [[2, 3]]),
        ("DELETE FROM notification WHERE id = 1", [[1, 1]]),
        ("DELETE FROM notification WHERE id >= 5", [[5, 6]]),
        ("DELETE FROM notification", [[1, 6]]),
        ("DELETE FROM notification WHERE id IN (1, 3, 6)", [[1, 1], [3, 3], [6, 6]]),
        ("UPDATE inbox SET purged_to = 0", []),
    ],
)
def test_check_finds_missing_notifications(folder, damage, gaps):
    with closing(sqlite3.connect(folder / "inbox.db")) as connection:
        connection.execute(damage)
        connection.commit()
    result = call(folder, "inbox", "check", "--json")
    assert result.returncode == (3 if gaps else 0)
    assert json.loads(result.stdout)["gaps"] == gaps


def test_check_says_what_is_missing_and_what_no_consumer_had_read(folder):
    with closing(sqlite3.connect(folder / "inbox.db")) as connection, connection:
        connection.execute("DELETE FROM notification WHERE id IN (1, 2, 4)")
        connection.execute("UPDATE inbox SET purged_to = 2, purged_unread = 2")
    result = call(folder, "inbox", "check")
    assert (result.returncode, result.stdout.decode().splitlines()) == (
        3,
        ["3 notifications (3 to 6), purged up to 2", "2 were purged before every consumer had read them"],
    )
    assert result.stderr == b"Error: notifications 4 to 4 are missing, and were not purged\n"


def test_check_finds_a_damaged_page(folder):
    path = folder / "inbox.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'notification'"
        (root,) = connection.execute(query).fetchone()
    with path.open("r+b") as damaged:
        damaged.seek((root - 1) * 4096 + 3)
        damaged.write(b"\xff" * 64)
    inbox(folder, "check", code=3)


def test_a_backup_of_a_large_inbox_delays_no_request(tmp_path):
    """The server responds at once to requests during the backup."""
    fill_inbox(tmp_path / "inbox.db", (os.urandom(100_000) for _ in range(600)))
    with run_server(tmp_path) as server:
        import threading

        backup = threading.Thread(target=run, args=(tmp_path, "inbox", "backup", "copy.db"))
        backup.start()
        slowest = 0.0
        while backup.is_alive():
            started = time.monotonic()
            assert server.post(b"{}").status == 200
            slowest = max(slowest, time.monotonic() - started)
        backup.join()
    assert slowest < BUSY_SECONDS
    assert len(rows(tmp_path / "copy.db", "id")) >= 600
