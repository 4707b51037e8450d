"""`serve` starts only where it can keep its promises, and leaves the inbox readable when it stops."""

import socket
import sqlite3
import stat
import sys
from contextlib import closing

import pytest

from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from tests.factories import call
from tests.server_process import ENDPOINT, OPEN, configure, run_failing_server, run_server

FILES = ("inbox.db", "inbox.db-wal", "inbox.db-shm")


def _refuses(folder, *endpoints, code: int = 2, **more) -> str:
    """Return the one line with which `serve` refuses to start."""
    got, said = run_failing_server(folder, *endpoints, **more)
    assert got == code, said
    assert said.startswith("Error: ")
    assert "Traceback" not in said
    return said


def _refuses_at_once(folder, *endpoints, **more) -> str:
    """Return the same where nothing but files decides, so that it can be tried in this process."""
    configure(folder, *endpoints, **more)
    ended = call(folder, "serve")
    said = ended.stderr.decode()
    assert (ended.returncode, ended.stdout) == (2, b""), said
    assert said.startswith("Error: ")
    assert "Traceback" not in said
    return said


def test_a_second_serve_is_refused_and_told_who_holds_the_inbox(tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    with run_server(tmp_path) as server:
        said = _refuses(second, inbox=server.inbox)
        assert said.count("\n") == 1
        assert f"already served by process {server.process.pid} on {socket.gethostname()}" in said
        assert server.post(b"unharmed").status == 200


@pytest.mark.skipif(sys.platform == "win32", reason="LOUD: links need privileges on Windows")
def test_a_second_serve_is_refused_also_by_another_name_of_the_file(tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    with run_server(tmp_path) as server:
        (second / "alias.db").symlink_to(server.inbox)
        assert "already served by" in _refuses(second, inbox=second / "alias.db")


def test_the_lock_dies_with_its_process(tmp_path):
    with run_server(tmp_path) as server:
        server.kill()
    with run_server(tmp_path) as server:
        assert server.post(b"x").status == 200


def test_what_cannot_be_a_host_is_named(tmp_path):
    assert "cannot listen at a..b" in _refuses(tmp_path, server='host = "a..b"')


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = _refuses(tmp_path, server=f"port = {port}")
    assert said.count("\n") == 1
    assert f"127.0.0.1 port {port}" in said


def test_an_address_that_is_not_ours_is_named(tmp_path):
    assert "192.0.2.1" in _refuses(tmp_path, server='host = "192.0.2.1"')


@pytest.mark.parametrize(
    "content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["garbage", "damaged"]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / "inbox.db").write_bytes(content)
    assert _refuses_at_once(tmp_path).count("\n") == 1
    assert (tmp_path / "inbox.db").read_bytes() == content


def test_a_database_that_is_no_inbox_is_refused_and_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        other.executescript("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
    content = (tmp_path / "inbox.db").read_bytes()
    said = _refuses(tmp_path)
    assert "not a gatherer inbox" in said
    assert said.count("\n") == 1
    assert (tmp_path / "inbox.db").read_bytes() == content
    assert not (tmp_path / "inbox.db-wal").exists()


def test_an_inbox_of_a_newer_gatherer_is_refused_by_serve_and_by_readers(tmp_path):
    with run_server(tmp_path) as server:
        server.stop()
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('inbox', '9999_x', '')"
        )
        newer.commit()
    said = _refuses_at_once(tmp_path)
    assert "newer gatherer" in said
    assert said.count("\n") == 1
    with pytest.raises(Exception, match="newer gatherer") as refusal:
        LocalInbox(tmp_path / "inbox.db")
    assert refusal.value.exit_code == 3


def test_a_truncated_inbox_is_refused(tmp_path):
    with run_server(tmp_path) as server:
        for _ in range(20):
            server.post(b"x" * 3000)
        server.stop()
    content = (tmp_path / "inbox.db").read_bytes()
    for name in FILES[1:]:
        (tmp_path / name).unlink()
    (tmp_path / "inbox.db").write_bytes(content[:3000])
    assert _refuses_at_once(tmp_path).count("\n") == 1


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "inbox.db").mkdir()
    assert _refuses_at_once(tmp_path).count("\n") == 1


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    assert _refuses_at_once(tmp_path, inbox=tmp_path / "file" / "inbox.db").count("\n") == 1


def test_an_endpoint_without_authentication_has_to_say_so(tmp_path):
    silent = OPEN.replace("unauthenticated = true\n", "")
    assert "unauthenticated = true" in _refuses_at_once(tmp_path, silent)
    with run_server(tmp_path, OPEN) as server:
        assert "unauthenticated: any client can post" in server.log()


def test_two_endpoints_do_not_share_a_path(tmp_path):
    assert "path" in _refuses_at_once(tmp_path, ENDPOINT, ENDPOINT.replace('name = "meta"', 'name = "other"'))


def test_wal_and_shm_stay_after_a_clean_stop_so_that_readers_need_not_write(tmp_path):
    with run_server(tmp_path) as server:
        server.post(b"one")
        assert server.stop() == 0
    assert all((tmp_path / name).exists() for name in FILES)
    assert (tmp_path / "inbox.db-wal").stat().st_size == 0, "and the log has been moved into the file"
    assert server.bodies() == [b"one"]
    assert all((tmp_path / name).exists() for name in FILES), "a reader removes nothing either"


def test_wal_and_shm_stay_after_a_stop_while_a_reader_is_attached(tmp_path):
    with run_server(tmp_path) as server:
        server.post(b"one")
        idle = LocalInbox(server.inbox)
        busy = sqlite3.connect(f"{server.inbox.as_uri()}?mode=ro", uri=True, isolation_level=None)
        busy.execute("BEGIN")
        busy.execute("SELECT count(*) FROM notification").fetchone()
        server.post(b"two")
        assert server.stop() == 0
    assert [one.body for one in idle.read(0, Bounds())] == [b"one", b"two"]
    idle.close()
    busy.execute("COMMIT")
    busy.close()
    assert all((tmp_path / name).exists() for name in FILES)
    with run_server(tmp_path) as server:
        server.post(b"three")
        assert server.bodies() == [b"one", b"two", b"three"]


@pytest.mark.skipif(sys.platform == "win32", reason="LOUD: POSIX permissions were not looked at on Windows")
def test_the_inbox_and_a_folder_made_for_it_are_private(tmp_path):
    with run_server(tmp_path, inbox=tmp_path / "new" / "inbox.db") as server:
        server.post(b"x")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert {name: oct(modes[name]) for name in FILES} == dict.fromkeys(FILES, "0o600")


def test_the_identity_stays_over_restarts_and_the_ids_go_on(tmp_path):
    identities = set()
    for n in range(3):
        with run_server(tmp_path) as server:
            server.post(b"%d" % n)
            server.stop() if n % 2 else server.kill()
        with closing(LocalInbox(server.inbox)) as inbox:
            identities.add(inbox.identity)
            assert [(one.id, one.body) for one in inbox.read(0, Bounds())][-1] == (n + 1, b"%d" % n)
    assert len(identities) == 1
