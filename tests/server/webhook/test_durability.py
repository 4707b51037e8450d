"""A 200 means that the body is on disk: after kill -9, SIGTERM and a full disk, and by the order of system calls."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests import fault_injection
from tests.server_process import (
    Load,
    ServerProcess,
    check_integrity,
    encode_post,
    read_response,
    run_failing_server,
    run_server,
)
from tests.waiting import BUSY_SECONDS, wait_until

LINUX = sys.platform == "linux"


def test_another_connection_sees_the_row_when_the_200_arrives(tmp_path):
    with run_server(tmp_path) as server, closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        for n in range(200):
            body = b"visible %d" % n
            assert server.post(body).status == 200
            last = other.execute("SELECT body FROM notification ORDER BY id DESC LIMIT 1").fetchone()
            assert last == (body,)


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="LOUD: strace is not installed, the order was not checked"
)
def test_the_body_is_written_and_synced_before_the_response_is_sent(tmp_path):
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,pwritev,write,writev,send,sendto,sendmsg,fsync,fdatasync"
    command = ["strace", "-D", "-f", "-y", "-s", "5000", "-e", calls, "-o", str(trace)]
    with run_server(tmp_path, wrapper=command) as server:
        marks = [f"marker-{n}-".encode() for n in range(5)]
        for mark in marks:
            assert server.post(mark * 3).status == 200
        server.stop()
    lines = fault_injection.traced_lines(trace, server.process)
    answers = [n for n, line in enumerate(lines) if "HTTP/1.1 200 OK" in line]
    assert len(answers) == len(marks)
    for mark, answered in zip(marks, answers, strict=True):
        written = max(
            n
            for n, line in enumerate(lines[:answered])
            if "inbox.db-wal>" in line and "pwrite" in line and mark.decode() in line
        )
        assert any(_synced(line) for line in lines[written:answered]), lines[written : answered + 1]


def _synced(line: str) -> bool:
    """Whether `line` is the end of a successful sync of the write-ahead log."""
    return bool(re.search(r"f(data)?sync(\(\d+<[^>]*inbox\.db-wal>\)| resumed>\)) += 0", line))


def _assert_kill_9_loses_nothing(folder: Path, cycles: int) -> None:
    acknowledged: set[bytes] = set()
    possible: set[bytes] = set()
    for cycle in range(cycles):
        with run_server(folder) as server, Load(server.port, prefix=f"{cycle}-") as load:
            load.wait_for(40 + cycle * 7 % 60)
            server.kill()
        acknowledged.update(load.acknowledged)
        possible.update(load.acknowledged, load.unanswered)
        assert check_integrity(server.inbox) == "ok"
        stored = server.bodies()
        assert acknowledged <= set(stored), "an acknowledged body is lost or changed"
        assert set(stored) <= possible, "a body is stored that no client sent"
        assert len(stored) == len(set(stored)), "a body is stored twice"


def test_kill_9_under_load_loses_no_acknowledged_body(tmp_path):
    _assert_kill_9_loses_nothing(tmp_path, 5)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_kill_9_under_load_loses_no_acknowledged_body_in_200_cycles(tmp_path):
    _assert_kill_9_loses_nothing(tmp_path, 200)


def test_requests_in_flight_at_sigterm_are_answered_and_the_exit_code_is_0(tmp_path):
    for cycle in range(3):
        with run_server(tmp_path) as server, Load(server.port, prefix=f"{cycle}-") as load:
            load.wait_for(100)
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 8 + BUSY_SECONDS
        assert set(load.acknowledged) <= set(server.bodies())
        assert not load.refused
        assert "Traceback" not in server.log()
        assert check_integrity(server.inbox) == "ok"


def test_a_body_that_is_arriving_at_sigterm_is_stored(tmp_path):
    body = b"x" * 1000
    with run_server(tmp_path) as server, server.connect() as connection, server.connect() as idle:
        connection.sendall(encode_post(body)[:-500])
        idle.sendall(encode_post(b"before"))  # an idle keep-alive connection does not delay the stop
        assert read_response(idle).status == 200
        server.process.terminate()
        wait_until(lambda: "stopping" in server.log())
        with pytest.raises(OSError):
            server.connect(timeout=2)
        server.process.terminate()  # a second signal does not abort the graceful stop
        connection.sendall(body[:500])
        answer = read_response(connection)
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert server.process.wait(60) == 0
        assert server.bodies() == [b"before", body]


@contextmanager
def _disk_filled(server: ServerProcess, send: Callable[[bytes], int]) -> Iterator[list[bytes]]:
    """Send bodies until the disk is full; yield the acknowledged ones."""
    acknowledged = []
    for n in range(500):
        body = b"%d-" % n + os.urandom(20_000)
        status = send(body)
        if status != 200:
            break
        acknowledged.append(body)
    assert status == 503
    assert acknowledged, "no body was accepted before"
    yield acknowledged


def _full_disk(server: ServerProcess, free: Callable[[], None]) -> None:
    """A full disk gives 503 with Retry-After; once space is freed, the server recovers without a restart."""
    with _disk_filled(server, lambda body: server.post(body).status) as acknowledged:
        refusals = 0
        for n in range(100):  # a checkpoint can free space for a few more bodies
            body = b"%d " % n + b"y" * 20_000
            answer = server.post(body)
            if answer.status == 200:
                acknowledged.append(body)
                continue
            refusals += 1
            if refusals == 3:
                break
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.body == b"Service Unavailable\n"
        assert refusals == 3
        assert set(acknowledged) <= set(server.bodies()), "readers still find the acknowledged bodies"
        free()
        wait_until(lambda: server.post(b"after").status == 200, server.log)
        assert server.bodies()[-1] == b"after"
        assert set(acknowledged) <= set(server.bodies())
        assert check_integrity(server.inbox) == "ok"
        assert "commits again" in server.log()
        assert "Traceback" not in server.log()
        assert server.stop() == 0


@pytest.mark.skipif(not LINUX, reason="LOUD: limits of a running process can only be changed on Linux")
def test_a_file_that_cannot_grow_gives_503_until_it_can(tmp_path):
    import resource

    with run_server(tmp_path) as server:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (300_000, hard))
        _full_disk(
            server, lambda: resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard)) and None
        )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    with fault_injection.small_disk(tmp_path / "disk", "512k") as mount:
        yield mount


def test_a_full_disk_gives_503_until_space_is_freed(tmp_path, small_disk):
    with run_server(tmp_path, settings="min_free_bytes = 0", inbox=small_disk / "inbox.db") as server:
        _full_disk(
            server,
            lambda: subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True) and None,
        )


def test_a_full_disk_at_the_start_is_a_temporary_error(tmp_path, small_disk):
    (small_disk / "ballast").write_bytes(b"x" * 500_000)
    code, log = run_failing_server(tmp_path, settings="min_free_bytes = 0", inbox=small_disk / "inbox.db")
    assert (code, log.count("\n")) == (75, 1)
    assert "cannot be written at present" in log


def test_the_server_survives_many_clients_that_disconnect_mid_request(tmp_path):
    with run_server(tmp_path) as server:
        for n in range(300):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(encode_post(b"vanish %d" % n)[: 50 + n])
            connection.close()
        assert server.post(b"still there").status == 200
        assert server.stop() == 0
        assert "Traceback" not in server.log()
