"""Slow, malformed and numerous clients are rejected in bounded time and memory, without effect on good clients."""

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
MAX_CONNECTIONS = 60
SETTINGS = f"""
header_timeout_seconds = {SECONDS}
keepalive_timeout_seconds = {SECONDS}
body_timeout_seconds = {SECONDS}
max_header_bytes = 8192
max_connections = {MAX_CONNECTIONS}
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
def _good_requests_are_still_accepted(server: ServerProcess) -> Iterator[None]:
    yield
    assert server.post(b"still there").status == 200
    assert server.process.poll() is None
    assert "Traceback" not in server.log()


def closed_after(connection: socket.socket, seconds: float = 20) -> tuple[float, bytes]:
    """Wait until the server closes; return the seconds until then and the bytes received."""
    started, received = time.monotonic(), b""
    connection.settimeout(seconds)
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            received += chunk
    return time.monotonic() - started, received


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


# --- slow


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /webhook/meta HTTP/1.1\r\nHost: x\r\n"])
def test_a_connection_is_closed_when_the_head_stops(server, sent):
    with server.connect() as connection:
        connection.sendall(sent)
        seconds, received = closed_after(connection)
    assert seconds < SECONDS + BUSY_SECONDS
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


def test_a_head_has_its_full_time_limit_on_an_idle_connection(tmp_path):
    """Idle connections and heads have separate time limits: the sum of both pauses exceeds each limit."""
    limits = "header_timeout_seconds = 5\nkeepalive_timeout_seconds = 5\n"
    with run_server(tmp_path, server=limits) as server, server.connect() as connection:
        for idle, pause in ((0, 0), (2.7, 2.7)):  # a busy machine may add 2.3 s to each
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


def test_a_connection_is_closed_when_the_head_of_a_second_request_stops(server):
    with server.connect() as connection:
        connection.sendall(encode_post(b"x") + b"POST /webhook")
        assert read_response(connection).status == 200
        assert closed_after(connection)[0] < 2 * SECONDS + BUSY_SECONDS


@pytest.mark.nightly
def test_a_client_that_does_not_read_responses_is_disconnected(server):
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


def test_good_clients_are_served_when_idle_connections_exceed_the_limit(server):
    with contextlib.ExitStack() as open_:
        for n in range(5 * MAX_CONNECTIONS):
            connection = open_.enter_context(server.connect())
            connection.sendall(b"POST /webhook/meta HTTP/1.1\r\n"[: n % 29])
        for n in range(20):
            assert server.post(b"good %d" % n).status == 200
        assert server.connections() <= MAX_CONNECTIONS + 5


@pytest.mark.skipif(WINDOWS, reason="LOUD: Windows has no limit on open sockets")
def test_a_low_limit_of_open_files_lowers_max_connections(tmp_path):
    import resource

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

    with run_server(tmp_path, preexec_fn=few) as server, contextlib.ExitStack() as open_:
        for _ in range(300):
            open_.enter_context(server.connect())
        for n in range(20):
            assert server.post(b"good %d" % n).status == 200
        assert "server.max_connections: reduced to 64" in server.log()


def test_good_clients_are_served_when_slow_bodies_exceed_the_limit(server):
    slow = encode_post(b"x" * 1000)[:-500]
    with contextlib.ExitStack() as open_:
        for n in range(3 * MAX_CONNECTIONS):
            open_.enter_context(server.connect()).sendall(slow)
            if n % 10 == 0:
                assert server.post(b"good %d" % n).status == 200


@pytest.mark.parametrize("path", ["/open", "/webhook/meta", "/nowhere"])
def test_connection_is_released_when_a_body_breaks_off(server, path):
    opened = encode_head("POST", path, {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
    with contextlib.ExitStack() as open_:
        for _ in range(2 * MAX_CONNECTIONS):
            connection = open_.enter_context(server.connect())
            with contextlib.suppress(ConnectionError):
                connection.sendall(opened)
                time.sleep(0.003)
                connection.sendall(b"zz\r\n")
        for n in range(MAX_CONNECTIONS):
            assert server.post(b"good %d" % n).status == 200
        assert server.connections() <= MAX_CONNECTIONS + 5


def test_a_tls_error_inside_a_body_is_not_logged_as_an_error(tmp_path):
    authority = Authority(tmp_path / "authority")
    with run_server(tmp_path, server=authority.issue()) as server:
        with open_tls_connection(server, authority.client()) as tls:
            tls.sendall(encode_post(b"x" * 1000)[:-500])
            os.write(tls.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
            wait_until(lambda: server.connections() == 0)
        assert "ERROR" not in server.log()


def test_a_flood_of_unauthenticated_clients_does_not_fill_the_log(tmp_path):
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
        log = server.log()
    for line in ("all connections are taken", "not HTTP/1.0 or 1.1"):
        assert 0 < log.count(line) <= LIMITED_LINES + 1, line


def test_a_flood_of_wrong_signatures_does_not_block_the_address(server):
    for n in range(300):
        assert server.post(b"x", X_Hub_Signature_256=signature(b"y")).status == 401
        if n % 50 == 0:
            assert server.post(b"right").status == 200


def test_a_received_request_is_never_evicted(tmp_path):
    """Not even while it waits for the disk and other clients have the same address."""
    with (
        run_server(tmp_path, server=SETTINGS, settings=f"commit_timeout_seconds = 60.0\n{METRICS}") as server,
        contextlib.ExitStack() as open_,
    ):
        blocker = open_.enter_context(contextlib.closing(sqlite3.connect(server.inbox, isolation_level=None)))
        blocker.execute("BEGIN IMMEDIATE")
        good = [open_.enter_context(server.connect()) for _ in range(MAX_CONNECTIONS // 2)]
        for connection in good:
            connection.sendall(encode_post(b"waits for the disk"))
        wait_until(lambda: metrics(server)["gatherer_queue_notifications"] == len(good), server.log)
        for n in range(3 * MAX_CONNECTIONS):
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
def test_a_huge_block_of_headers_is_rejected(server, block):
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"POST /webhook/meta HTTP/1.1\r\nHost: x\r\n" + block)
        seconds, received = closed_after(connection)
    assert seconds < SECONDS + BUSY_SECONDS
    assert set(statuses(received)) <= {400, 431}


def test_endless_headers_are_rejected_before_the_time_limit(patient):
    with patient.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n")
        started, received = time.monotonic(), b""
        with contextlib.suppress(ConnectionError):
            for n in range(81):
                connection.sendall(b"X-%d: %s\r\n" % (n, b"y" * 100))
                time.sleep(0.001)
        received += closed_after(connection)[1]
    assert set(statuses(received)) <= {431}  # the client may lose the response if it is still sending
    assert time.monotonic() - started < BUSY_SECONDS


def test_a_long_request_line_is_rejected(server):
    answer = server.exchange(b"POST /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.status in (400, 431)
    assert b"aaaa" not in answer.body


# --- malformed requests on which proxies and servers have disagreed


@pytest.mark.parametrize("name", BROKEN)
def test_malformed_http_is_rejected_and_not_stored(server, name):
    before = len(server.bodies())
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(BROKEN[name])
        seconds, received = closed_after(connection)
    assert seconds < SECONDS + BUSY_SECONDS
    assert len(server.bodies()) == before
    assert set(statuses(received)) <= {400, 408, 411, 413, 415, 431}, received
    for line in BROKEN[name].split(b"\r\n")[:2]:
        assert len(line) < 6 or line not in received, "the response does not echo the request"


def test_a_malformed_later_chunk_is_rejected_at_once(patient):
    with patient.connect() as connection:
        connection.sendall(
            encode_head("POST", "/open", {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
        )
        time.sleep(0.1)
        connection.sendall(b"zz\r\n")
        seconds, received = closed_after(connection)
    assert statuses(received) == [400]
    assert seconds < BUSY_SECONDS
    assert b"abc" not in patient.bodies()
    assert "ERROR" not in patient.log(), "a client error is not logged as an error"


def test_a_good_request_before_a_malformed_body_is_answered(patient):
    with patient.connect() as connection:
        opened = encode_head("POST", "/open", {"Host": "x", "Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n"
        connection.sendall(encode_post(b"good, before a broken one", "/open") + opened)
        # In one piece with the broken chunk, the good request would be rejected with it.
        assert read_response(connection).status == 200
        connection.sendall(b"zz\r\n")
        received = closed_after(connection)[1]
    assert statuses(received) == [400]
    assert patient.bodies()[-1] == b"good, before a broken one"


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
)
def test_other_methods_are_rejected_and_not_stored(server, method):
    before = len(server.bodies())
    with server.connect() as connection:
        connection.sendall(
            encode_head(method, "/open", {"Host": "x", "Content-Length": "1", "Connection": "close"}) + b"x"
        )
        seconds, received = closed_after(connection)
    assert seconds < SECONDS + BUSY_SECONDS
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
def test_a_path_is_compared_literally(server, path):
    before = len(server.bodies())
    assert server.post(b"x", path).status in (400, 401, 404)
    assert len(server.bodies()) == before


def test_a_request_with_an_unsupported_upgrade_is_stored(server):
    """The HTTP client of Java requests HTTP/2 with its first request over an unencrypted connection."""
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAEAAEAA"}
    assert server.post(b"asked for an upgrade", **upgrade).status == 200
    assert server.bodies()[-1] == b"asked for an upgrade"


def test_pipelined_requests_after_a_rejection_are_answered_in_order_or_not_at_all(server):
    before = len(server.bodies())
    wrong = encode_post(b"wrong", X_Hub_Signature_256=signature(b"x"))
    with server.connect() as connection:
        connection.sendall(wrong + encode_post(b"right") + b"GARBAGE\r\n\r\n")
        seconds, received = closed_after(connection)
    assert seconds < SECONDS + BUSY_SECONDS
    # Requests received together with the garbage may be rejected with it; then none of them is stored.
    assert (statuses(received), server.bodies()[before:]) in (([401, 200, 400], [b"right"]), ([400], []))


def test_thousands_of_pipelined_requests_are_answered(server):
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


def test_slow_large_bodies_stay_within_the_memory_limit(tmp_path):
    """60 bodies of 4 MB never end, and the limit for arriving bodies is 8 MB."""
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


# --- all attacks at the same time

ATTACKED_CONNECTIONS = 1000


@contextlib.contextmanager
def attack(port: int, clients: int, *more: str) -> Iterator[None]:
    """Run hostile clients of every kind in their own process for the duration of the block."""
    command = [sys.executable, "-m", "tests.server.webhook.hostile_clients", str(port), str(clients), *more]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        with contextlib.suppress(
            psutil.AccessDenied
        ):  # the clients stand for other machines and must not slow down the server
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
    settings, client, more = f"max_connections = {ATTACKED_CONNECTIONS}\n", None, []
    if scheme == "https":
        authority = Authority(tmp_path / "authority")
        settings, client, more = settings + authority.issue(), authority.client(), ["tls"]
    with run_server(tmp_path, ENDPOINT, OPEN, server=settings) as server:
        process = psutil.Process(server.process.pid)
        quiet = _latencies(server, client, 1)
        before = process.memory_info().rss
        with attack(server.port, clients, *more):
            wait_until(lambda: server.connections() > min(clients, ATTACKED_CONNECTIONS) // 2, server.log)
            under_attack = _latencies(server, client, seconds)
            grown = process.memory_info().rss - before
            held = server.connections()
        assert "Traceback" not in server.log()
    with capsys.disabled():
        print(  # noqa: T201 - machines differ too much for an assertion
            f"\n{scheme}, {clients} hostile clients, {held} connections at the end; p99 of {len(under_attack)} good "
            f"posts {_p99(under_attack):.1f} ms, {_p99(quiet):.1f} ms without them; memory grown by {grown / 1e6:.0f} MB"
        )
    assert statistics.median(under_attack) < 1000 * BUSY_SECONDS, "a generous limit, for slow machines"
    assert grown < 300e6


def _latencies(server: ServerProcess, client: ssl.SSLContext | None, seconds: float) -> list[float]:
    """Send requests at a moderate pace, each on its own connection; return the milliseconds of each."""
    latencies, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        answer = post(server, client, b"good" * 100) if client else server.post(b"good" * 100)
        assert answer.status == 200
        latencies.append((time.monotonic() - started) * 1000)
        time.sleep(0.005)
    return latencies


def _p99(milliseconds: list[float]) -> float:
    return sorted(milliseconds)[int(len(milliseconds) * 0.99)]
