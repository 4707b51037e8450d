"""`serve` starts only if it can store durably, and leaves a readable inbox when it stops."""

import socket
import sqlite3
import stat
import sys
from contextlib import closing

import pytest

from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from tests.factories import call, run
from tests.server_process import ENDPOINT, OPEN, ROOT, configure, run_failing_server, run_server

FILES = ("inbox.db", "inbox.db-wal", "inbox.db-shm")


def _error_of_serve(folder, *endpoints, code: int = 2, **more) -> str:
    """Return the error line with which `serve` fails to start."""
    exit_code, error = run_failing_server(folder, *endpoints, **more)
    assert exit_code == code, error
    assert error.startswith("Error: ")
    assert "Traceback" not in error
    return error


def _error_in_process(folder, *endpoints, code: int = 3, **more) -> str:
    """Return the same error from `serve` in this process, for errors that depend only on files."""
    configure(folder, *endpoints, **more)
    result = call(folder, "serve")
    error = result.stderr.decode()
    assert (result.returncode, result.stdout) == (code, b""), error
    assert error.startswith("Error: ")
    assert "Traceback" not in error
    return error


def test_a_second_serve_is_rejected_with_the_process_that_holds_the_inbox(tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    with run_server(tmp_path) as server:
        error = _error_of_serve(second, inbox=server.inbox)
        assert error.count("\n") == 1
        assert f"already served by process {server.process.pid} on {socket.gethostname()}" in error
        assert server.post(b"unharmed").status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="LOUD: links need privileges on Windows")
def test_a_second_serve_is_rejected_under_another_name_of_the_file(tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    with run_server(tmp_path) as server:
        (second / "alias.db").symlink_to(server.inbox)
        assert "already served by" in _error_of_serve(second, inbox=second / "alias.db")


def test_the_lock_ends_with_its_process(tmp_path):
    with run_server(tmp_path) as server:
        server.kill()
    with run_server(tmp_path) as server:
        assert server.post(b"x").status == 200


def test_an_invalid_host_is_reported(tmp_path):
    assert "server.host: must be the address or the name" in _error_in_process(
        tmp_path, server='host = "a..b"', code=2
    )


def test_an_occupied_port_is_reported(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        error = _error_of_serve(tmp_path, server=f"port = {port}")
    assert error.count("\n") == 1
    assert f"127.0.0.1 port {port}" in error


def test_an_address_of_another_machine_is_reported(tmp_path):
    assert "192.0.2.1" in _error_of_serve(tmp_path, server='host = "192.0.2.1"')


@pytest.mark.parametrize(
    "content",
    [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000, b"x"],
    ids=["garbage", "damaged", "one byte"],
)
def test_serve_and_gather_reject_a_file_that_is_not_a_database_and_do_not_change_it(tmp_path, content):
    (tmp_path / "inbox.db").write_bytes(content)
    assert _error_in_process(tmp_path).count("\n") == 1
    gathered = call(tmp_path, "gather")
    assert gathered.returncode == 3
    assert b"inbox.db" in gathered.stdout + gathered.stderr
    assert (tmp_path / "inbox.db").read_bytes() == content


def test_a_database_that_is_not_an_inbox_is_rejected_and_not_changed(tmp_path):
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        other.executescript("CREATE TABLE other (x); INSERT INTO other VALUES (1)")
    content = (tmp_path / "inbox.db").read_bytes()
    error = _error_of_serve(tmp_path, code=3)
    assert "not a gatherer inbox" in error
    assert error.count("\n") == 1
    assert (tmp_path / "inbox.db").read_bytes() == content
    assert not (tmp_path / "inbox.db-wal").exists()


def test_an_inbox_of_a_newer_gatherer_is_rejected_by_serve_and_by_readers(tmp_path):
    with run_server(tmp_path) as server:
        server.stop()
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('inbox', '9999_x', '')"
        )
        newer.commit()
    error = _error_in_process(tmp_path)
    assert "newer gatherer" in error
    assert error.count("\n") == 1
    with pytest.raises(Exception, match="newer gatherer") as caught:
        LocalInbox(tmp_path / "inbox.db")
    assert caught.value.exit_code == 3


def test_a_truncated_inbox_is_rejected(tmp_path):
    with run_server(tmp_path) as server:
        for _ in range(20):
            server.post(b"x" * 3000)
        server.stop()
    content = (tmp_path / "inbox.db").read_bytes()
    for name in FILES[1:]:
        (tmp_path / name).unlink()
    (tmp_path / "inbox.db").write_bytes(content[:3000])
    assert _error_in_process(tmp_path).count("\n") == 1


def test_a_folder_in_place_of_the_inbox_is_rejected(tmp_path):
    (tmp_path / "inbox.db").mkdir()
    error = _error_in_process(tmp_path)
    assert error.count("\n") == 1
    assert "inbox.db is a folder" in error


def test_a_folder_that_cannot_be_created_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    assert _error_in_process(tmp_path, inbox=tmp_path / "file" / "inbox.db").count("\n") == 1


def test_an_input_that_has_ended_before_the_start_stops_the_server_cleanly(tmp_path):
    configure(tmp_path, OPEN)
    result = run(tmp_path, "serve", "--stop-with-input", PYTHONPATH=str(ROOT))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(b"listening at http://")
    assert (tmp_path / "inbox.db").exists()


def test_an_endpoint_without_authentication_must_declare_it(tmp_path):
    silent = OPEN.replace("unauthenticated = true\n", "")
    assert "unauthenticated = true" in _error_in_process(tmp_path, silent, code=2)
    with run_server(tmp_path, OPEN) as server:
        assert "unauthenticated: any client can send requests" in server.log()


def test_two_endpoints_cannot_share_a_path(tmp_path):
    assert "path" in _error_in_process(
        tmp_path, ENDPOINT, ENDPOINT.replace('name = "meta"', 'name = "other"'), code=2
    )


def test_wal_and_shm_remain_after_a_clean_stop_for_read_only_readers(tmp_path):
    with run_server(tmp_path) as server:
        server.post(b"one")
        assert server.stop() == 0
    assert all((tmp_path / name).exists() for name in FILES)
    assert (tmp_path / "inbox.db-wal").stat().st_size == 0, "the log has been checkpointed"
    assert server.bodies() == [b"one"]
    assert all((tmp_path / name).exists() for name in FILES), "a reader does not remove them either"


def test_wal_and_shm_remain_after_a_stop_while_a_reader_is_attached(tmp_path):
    with run_server(tmp_path) as server:
        server.post(b"one")
        idle = LocalInbox(server.inbox)
        busy = sqlite3.connect(f"{server.inbox.as_uri()}?mode=ro", uri=True, isolation_level=None)
        busy.execute("BEGIN")
        busy.execute("SELECT count(*) FROM notification").fetchone()
        server.post(b"two")
        assert server.stop() == 0
    assert [notification.body for notification in idle.read(0, Bounds())] == [b"one", b"two"]
    idle.close()
    busy.execute("COMMIT")
    busy.close()
    assert all((tmp_path / name).exists() for name in FILES)
    with run_server(tmp_path) as server:
        server.post(b"three")
        assert server.bodies() == [b"one", b"two", b"three"]


@pytest.mark.skipif(sys.platform == "win32", reason="LOUD: POSIX permissions were not tested on Windows")
def test_the_inbox_and_its_new_folder_are_private(tmp_path):
    with run_server(tmp_path, inbox=tmp_path / "new" / "inbox.db") as server:
        server.post(b"x")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert {name: oct(modes[name]) for name in FILES} == dict.fromkeys(FILES, "0o600")


def test_identity_and_ids_continue_after_restarts(tmp_path):
    identities = set()
    for n in range(3):
        with run_server(tmp_path) as server:
            server.post(b"%d" % n)
            server.stop() if n % 2 else server.kill()
        with closing(LocalInbox(server.inbox)) as inbox:
            identities.add(inbox.identity)
            assert [(notification.id, notification.body) for notification in inbox.read(0, Bounds())][-1] == (
                n + 1,
                b"%d" % n,
            )
    assert len(identities) == 1
