"""Whoever is slow, noisy or many is closed or refused in bounded time and memory; good clients notice nothing."""

import contextlib
import os
import re
import socket
import sqlite3
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from gatherer.cli.logs import LIMITED_LINES
from tests.certificates import Authority, open_tls_connection, post
from tests.server.webhook.admin import METRICS, metrics
from tests.server.webhook.hostile_clients import BROKEN
from tests.server_process import (
    ENDPOINT,
    OPEN,
    ROOT,
    WINDOWS,
    ServerProcess,
    encode_head,
    encode_post,
    read_response,
    run_server,
    signature,
)
from tests.waiting import BUSY_SECONDS, wait_until

SECONDS = 1.0
PATIENT_SECONDS = 30.0  # that no request of a test comes near
PLACES = 60
SETTINGS = f"""
header_timeout_seconds = {SECONDS}
keepalive_timeout_seconds = {SECONDS}
body_timeout_seconds = {SECONDS}
max_header_bytes = 8192
max_connections = {PLACES}
"""
KEYED = 'name = "keyed"\nprovider = "meta"\npath = "/keyed"\nurl_key = "the-url-key-0123456789"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("serve")
    with run_server(folder, ENDPOINT, OPEN, KEYED, server=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with time limits that a busy machine keeps as well."""
    limits = f"header_timeout_seconds = {PATIENT_SECONDS}\nbody_timeout_seconds = {PATIENT_SECONDS}\n"
    with run_server(
        tmp_path_factory.mktemp("patient"), OPEN, server=f"{limits}max_header_bytes = 8192\n"
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _good_posts_get_in_as_ever(server: ServerProcess) -> Iterator[None]:
    yield
    assert server.post(b"still there").status == 200
    assert server.process.poll() is None
    assert "Traceback" not in server.log()


def closed_after(connection: socket.socket, seconds: float = 20) -> tuple[float, bytes]:
    """Wait until the server closes; return how long that took, and what it said before."""
    started, received = time.monotonic(), b""
    connection.settimeout(seconds)
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return time.monotonic() - started, received


def statuses(received: bytes) -> list[int]:
    return [int(one) for one in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


# --- slow


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /webhook/meta HTTP/1.1\r\nHost: x\r\n"])
def test_whoever_stops_within_the_head_is_closed(server, sent):
    with server.connect() as connection:
        connection.sendall(sent)
        took, received = closed_after(connection)
    assert took < SECONDS + BUSY_SECONDS
    assert received == b""


def test_a_head_that_trickles_does_not_extend_its_time(server):
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(b"POST /webhook/meta HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            while time.monotonic() < started + 30:
                connection.sendall(b"X-A: b\r\n")
                time.sleep(0.1)
    assert time.monotonic() - started < SECONDS + BUSY_SECONDS


def test_a_head_that_begins_late_on_an_idle_connection_has_its_whole_time(tmp_path):
    """The time to idle and the time for a head are two: the sum of both pauses is more than one of them."""
    limits = "header_timeout_seconds = 4\nkeepalive_timeout_seconds = 4\n"
    with run_server(tmp_path, server=limits) as server, server.connect() as connection:
        for idle, pause in ((0, 0), (2.8, 2)):
            time.sleep(idle)
            request = encode_post(b"late")
            connection.sendall(request[:20])
            time.sleep(pause)
            connection.sendall(request[20:])
            assert read_response(connection).status == 200


def test_an_idle_connection_is_closed(server):
    with server.connect() as connection:
        started = time.monotonic()
        connection.sendall(encode_post(b"x"))
        assert read_response(connection).status == 200
        _, received = closed_after(connection)
    assert SECONDS * 0.9 < time.monotonic() - started < SECONDS + BUSY_SECONDS
    assert received == b""


def test_a_head_that_stops_on_a_connection_that_has_posted_is_closed(server):
    with server.connect() as connection:
        connection.sendall(encode_post(b"x") + b"POST /webhook")
        assert read_response(connection).status == 200
        assert closed_after(connection)[0] < 2 * SECONDS + BUSY_SECONDS


@pytest.mark.nightly
def test_whoever_does_not_read_the_answers_is_closed(server):
    request = encode_post(b"", "/nowhere") * 200
    started = time.monotonic()
    with server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(1)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + 30:
                with contextlib.suppress(TimeoutError):
                    connection.sendall(request)
    assert time.monotonic() - started < 25


# --- many


def test_idle_connections_beyond_all_places_keep_nobody_out(server):
    with contextlib.ExitStack() as open_:
        for n in range(5 * PLACES):
            connection = open_.enter_context(server.connect())
            connection.sendall(b"POST /webhook/meta HTTP/1.1\r\n"[: n % 29])
        for n in range(20):
            assert server.post(b"good %d" % n).status == 200
        assert server.connections() <= PLACES + 5


@pytest.mark.skipif(WINDOWS, reason="LOUD: Windows has no limit on open sockets")
def test_where_the_system_lets_us_open_few_files_there_are_fewer_places(tmp_path):
    import resource

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    with run_server(tmp_path, preexec_fn=few) as server, contextlib.ExitStack() as open_:
        for _ in range(300):
            open_.enter_context(server.connect())
        for n in range(20):
            assert server.post(b"good %d" % n).status == 200
        assert "server.max_connections: reduced to 64" in server.log()


def test_slow_bodies_beyond_all_places_keep_nobody_out(server):
    slow = encode_post(b"x" * 1000)[:-500]
    with contextlib.ExitStack() as open_:
        for n in range(3 * PLACES):
            open_.enter_context(server.connect()).sendall(slow)
            if n % 10 == 0:
                assert server.post(b"good %d" % n).status == 200


@pytest.mark.parametrize("path", ["/open", "/webhook/meta", "/nowhere"])
def test_bodies_that_break_in_the_middle_keep_no_place(server, path):
    opened = encode_head("POST", path, {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
    with contextlib.ExitStack() as open_:
        for _ in range(2 * PLACES):
            connection = open_.enter_context(server.connect())
            with contextlib.suppress(ConnectionError):
                connection.sendall(opened)
                time.sleep(0.003)
                connection.sendall(b"zz\r\n")
        for n in range(PLACES):
            assert server.post(b"good %d" % n).status == 200
        assert server.connections() <= PLACES + 5


def test_tls_that_breaks_inside_a_body_is_no_error_of_ours(tmp_path):
    authority = Authority(tmp_path / "authority")
    with run_server(tmp_path, server=authority.issue()) as server:
        with open_tls_connection(server, authority.client()) as tls:
            tls.sendall(encode_post(b"x" * 1000)[:-500])
            os.write(tls.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
            wait_until(lambda: server.connections() == 0)
        assert "ERROR" not in server.log()


def test_a_flood_of_strangers_does_not_fill_the_log(tmp_path):
    with (
        run_server(tmp_path, ENDPOINT, OPEN, server="max_connections = 20\n") as server,
        contextlib.ExitStack() as open_,
    ):
        for _ in range(400):
            open_.enter_context(server.connect())
        for _ in range(100):
            with server.connect() as connection:
                connection.sendall(BROKEN["HTTP/0.9 with headers"])
                closed_after(connection)
        said = server.log()
    for line in ("all connections are taken", "not HTTP/1.0 or 1.1"):
        assert 0 < said.count(line) <= LIMITED_LINES + 1, line


def test_a_flood_of_wrong_posts_from_an_address_does_not_lock_the_address_out(server):
    for n in range(300):
        assert server.post(b"x", X_Hub_Signature_256=signature(b"y")).status == 401
        if n % 50 == 0:
            assert server.post(b"right").status == 200


def test_a_post_that_has_arrived_never_makes_room_for_others(tmp_path):
    """Not even while the disk keeps it waiting, and everybody else comes from its address."""
    with (
        run_server(tmp_path, server=SETTINGS, settings=f"commit_timeout_seconds = 60.0\n{METRICS}") as server,
        contextlib.ExitStack() as open_,
    ):
        blocker = open_.enter_context(contextlib.closing(sqlite3.connect(server.inbox, isolation_level=None)))
        blocker.execute("BEGIN IMMEDIATE")
        good = [open_.enter_context(server.connect()) for _ in range(PLACES // 2)]
        for connection in good:
            connection.sendall(encode_post(b"waits for the disk"))
        wait_until(lambda: metrics(server)["gatherer_queue_notifications"] == len(good), server.log)
        for n in range(3 * PLACES):
            open_.enter_context(server.connect()).sendall(b"POST"[: n % 5])
        assert server.post(b"", "/nowhere").status == 404, "all that came before it have been accepted"
        blocker.execute("ROLLBACK")
        assert [read_response(connection).status for connection in good] == [200] * len(good)


# --- large


@pytest.mark.parametrize(
    "block",
    [
        b"X: " + b"a" * 1_000_000,
        b"X: y\r\n" * 100_000,
        b"".join(b"X-%d: y\r\n" % n for n in range(50_000)),
        b"X" * 1_000_000,
        b"a: b\r\n " + b" folded\r\n" * 50_000,
    ],
    ids=["long field", "many fields", "many names", "long name", "folded"],
)
def test_a_huge_block_of_headers_is_refused(server, block):
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"POST /webhook/meta HTTP/1.1\r\nHost: x\r\n" + block)
        took, received = closed_after(connection)
    assert took < SECONDS + BUSY_SECONDS
    assert set(statuses(received)) <= {400, 431}


def test_headers_without_end_are_refused_before_their_time_is_over(patient):
    with patient.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        started, received = time.monotonic(), b""
        with contextlib.suppress(ConnectionError):
            for n in range(81):
                connection.sendall(b"X-%d: %s\r\n" % (n, b"y" * 100))
                time.sleep(0.001)
        received += closed_after(connection)[1]
    assert set(statuses(received)) <= {431}  # closing while more arrives can cost the client the answer
    assert time.monotonic() - started < BUSY_SECONDS


def test_a_long_request_line_is_refused(server):
    answer = server.exchange(b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status in (400, 431)
    assert b"aaaa" not in answer.body


# --- broken, as proxies and servers have disagreed about it


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_proper_http_is_refused_and_stored_nowhere(server, name):
    before = len(server.bodies())
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(BROKEN[name])
        took, received = closed_after(connection)
    assert took < SECONDS + BUSY_SECONDS
    assert len(server.bodies()) == before
    assert set(statuses(received)) <= {400, 408, 411, 413, 415, 431}, received
    for line in BROKEN[name].split(b"\r\n")[:2]:
        assert len(line) < 6 or line not in received, "nothing of the request comes back"


def test_a_chunk_that_is_broken_later_is_refused_at_once(patient):
    with patient.connect() as connection:
        connection.sendall(
            encode_head("POST", "/open", {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
        )
        time.sleep(0.1)
        connection.sendall(b"zz\r\n")
        took, received = closed_after(connection)
    assert statuses(received) == [400]
    assert took < BUSY_SECONDS
    assert b"abc" not in patient.bodies()
    assert "ERROR" not in patient.log(), "it is no fault of ours"


def test_a_good_post_before_a_body_that_breaks_is_answered(patient):
    with patient.connect() as connection:
        opened = encode_head("POST", "/open", {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
        connection.sendall(encode_post(b"good, before a broken one", "/open") + opened)
        # In one piece with the broken chunk, the good request would be refused with it.
        assert read_response(connection).status == 200
        connection.sendall(b"zz\r\n")
        received = closed_after(connection)[1]
    assert statuses(received) == [400]
    assert patient.bodies()[-1] == b"good, before a broken one"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
)
def test_other_methods_are_refused_and_stored_nowhere(server, method):
    before = len(server.bodies())
    with server.connect() as connection:
        connection.sendall(
            encode_head(method, "/open", {"Host": "x", "Content-Length": "1", "Connection": "close"}) + b"x"
        )
        took, received = closed_after(connection)
    assert took < SECONDS + BUSY_SECONDS
    assert set(statuses(received)) <= {400, 404, 405}, received
    assert statuses(received)
    assert len(server.bodies()) == before


@pytest.mark.parametrize(
    "path",
    [
        "//open",
        "/open/",
        "/./open",
        "/x/../open",
        "/%6fpen",
        "/open%2f",
        "/%2e%2e/open",
        "/..;/open",
        "/open;x",
        "/open%00",
        "/open%0d%0aX:y",
        "/OPEN",
        "\\open",
        "http://other/x",
        "*",
        "/keyed//the-url-key-0123456789",
        "/keyed/../keyed/the-url-key-0123456789",
        "/keyed/the-url-key-%30123456789",
        "/\u00f6pen",
    ],
)
def test_a_path_is_compared_as_it_stands(server, path):
    before = len(server.bodies())
    assert server.post(b"x", path).status in (400, 401, 404)
    assert len(server.bodies()) == before


def test_an_upgrade_that_is_not_wanted_costs_no_body(server):
    """Java's client asks for HTTP/2 with its first post over an unencrypted connection."""
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAEAAEAA"}
    assert server.post(b"asked for an upgrade", **upgrade).status == 200
    assert server.bodies()[-1] == b"asked for an upgrade"


def test_a_pipeline_behind_a_refusal_is_answered_in_order_or_not_at_all(server):
    before = len(server.bodies())
    wrong = encode_post(b"wrong", X_Hub_Signature_256=signature(b"x"))
    with server.connect() as connection:
        connection.sendall(wrong + encode_post(b"right") + b"GARBAGE\r\n\r\n")
        took, received = closed_after(connection)
    assert took < SECONDS + BUSY_SECONDS
    # What arrived in one piece with the garbage may go with it; then nothing of it was taken.
    assert (statuses(received), server.bodies()[before:]) in (([401, 200, 400], [b"right"]), ([400], []))


def test_a_pipeline_of_thousands_is_answered(server):
    count, received = 5000, b""
    with server.connect() as connection:
        sender = threading.Thread(
            target=connection.sendall, args=(encode_post(b"x", X_Hub_Signature_256="no") * count,)
        )
        sender.start()
        while received.count(b"HTTP/1.1 401 ") < count:
            received += connection.recv(1 << 20)
        sender.join()


# --- memory


def test_slow_large_bodies_take_no_more_memory_than_they_may(tmp_path):
    """60 bodies of 4 MB that never end, where only 8 MB may be on their way."""
    limits = "max_arriving_bytes = 8_388_608\nbody_timeout_seconds = 20"
    with run_server(tmp_path, server=limits) as server, contextlib.ExitStack() as open_:
        process = psutil.Process(server.process.pid)
        assert server.post(b"warm").status == 200
        before = process.memory_info().rss
        hostile = [open_.enter_context(server.connect()) for _ in range(60)]
        unfinished = encode_post(b"x" * 4_000_000)[:-1]
        answers = []
        for n, connection in enumerate(hostile):
            with contextlib.suppress(ConnectionError):
                connection.sendall(unfinished)
            if n % 5 == 0:
                answers.append(server.post(b"y" * 3_000_000).status)
        grown = process.memory_info().rss - before
        assert answers == [200] * 12
        assert read_response(hostile[0]).status == 503
    assert grown < 150e6


# --- all at once


@contextlib.contextmanager
def attack(port: int, clients: int, *more: str) -> Iterator[None]:
    """Let hostile clients of every kind loose for the duration of the block, in a process of their own."""
    command = [sys.executable, "-m", "tests.server.webhook.hostile_clients", str(port), str(clients), *more]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        with contextlib.suppress(
            psutil.AccessDenied
        ):  # they stand for other machines: this one's time is for ours
            psutil.Process(process.pid).nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if WINDOWS else 19)
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("clients", "seconds", "scheme"),
    [
        (300, 2, "http"),
        pytest.param(300, 5, "http", marks=pytest.mark.nightly),
        pytest.param(300, 5, "https", marks=pytest.mark.nightly),
        pytest.param(3000, 30, "http", marks=pytest.mark.nightly),
        pytest.param(3000, 30, "https", marks=pytest.mark.nightly),
    ],
)
def test_good_clients_are_served_under_attack(tmp_path, clients, seconds, scheme, capsys):
    settings, client, more = "max_connections = 1000\n", None, []
    if scheme == "https":
        authority = Authority(tmp_path / "authority")
        settings, client, more = settings + authority.issue(), authority.client(), ["tls"]
    with run_server(tmp_path, ENDPOINT, OPEN, server=settings) as server:
        process = psutil.Process(server.process.pid)
        quiet = _latencies(server, client, 1)
        before = process.memory_info().rss
        with attack(server.port, clients, *more):
            wait_until(lambda: server.connections() > clients // 2, server.log)
            under_attack = _latencies(server, client, seconds)
            grown = process.memory_info().rss - before
            held = server.connections()
        assert "Traceback" not in server.log()
    with capsys.disabled():
        print(  # noqa: T201 - a figure to read: machines differ too much to demand one
            f"\n{scheme}, {clients} hostile clients, {held} connections at the end; p99 of {len(under_attack)} good "
            f"posts {_p99(under_attack):.1f} ms, {_p99(quiet):.1f} ms without them; memory grown by {grown / 1e6:.0f} MB"
        )
    assert statistics.median(under_attack) < 1000 * BUSY_SECONDS, "far from what is measured: machines differ"
    assert grown < 300e6


def _latencies(server: ServerProcess, client: ssl.SSLContext | None, seconds: float) -> list[float]:
    """Post at an easy pace, each on a connection of its own, and return how many milliseconds each took."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        answer = post(server, client, b"good" * 100) if client else server.post(b"good" * 100)
        assert answer.status == 200
        found.append((time.monotonic() - started) * 1000)
        time.sleep(0.005)
    return found


def _p99(milliseconds: list[float]) -> float:
    return sorted(milliseconds)[int(len(milliseconds) * 0.99)]
