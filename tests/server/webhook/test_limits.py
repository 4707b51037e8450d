"""What is too large, too slow, compressed or broken is refused at once; good neighbours notice nothing."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.server_process import (
    ENDPOINT,
    OPEN,
    PATH,
    ServerProcess,
    encode_head,
    encode_post,
    read_response,
    run_server,
    signature,
)
from tests.waiting import BUSY_SECONDS, wait_until

LIMIT = 200_000
TIMEOUT = 1.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = f"max_body_bytes = {LIMIT}\nbody_timeout_seconds = {TIMEOUT}"
    with run_server(tmp_path_factory.mktemp("serve"), ENDPOINT, OPEN, server=limits) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_but_what_was_acknowledged_is_stored(server: ServerProcess) -> Iterator[None]:
    """After every test good posts get in as ever."""
    yield
    assert server.post(b"still there").status == 200
    assert server.bodies()[-1] == b"still there"


def _chunked(body: bytes, size: int, **headers: str) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    fields = {"Host": "localhost", "Transfer-Encoding": "chunked", "X-Hub-Signature-256": signature(body)}
    return encode_head("POST", PATH, fields | headers) + framed


def test_a_body_of_exactly_the_limit_is_taken(server):
    body = b"x" * LIMIT
    assert server.post(body).status == 200
    assert server.bodies()[-1] == body


@pytest.mark.skipif(
    not hasattr(signal, "SIGSTOP"), reason="LOUD: needs SIGSTOP, to have a server fall behind"
)
def test_a_large_body_that_is_here_all_at_once_is_no_long_head(tmp_path):
    """As after a moment in which the server had other things to do: head and body are read in one go."""
    post = encode_post(b"x" * 4_000_000)
    with run_server(tmp_path) as server, server.connect() as connection:
        for _ in range(5):
            connection.sendall(post)  # the system's buffer grows with what is taken out of it
            assert read_response(connection).status == 200
            os.kill(server.process.pid, signal.SIGSTOP)
            sending = threading.Thread(target=connection.sendall, args=(post,))
            sending.start()
            time.sleep(0.1)
            os.kill(server.process.pid, signal.SIGCONT)
            sending.join()
            assert read_response(connection).status == 200


def test_a_declared_oversize_is_refused_before_the_body(server):
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, {"Host": "localhost", "Content-Length": str(LIMIT + 1)}))
        answer = read_response(connection)
    assert answer.status == 413
    assert answer.headers["Connection"] == "close"


def test_a_declared_oversize_is_refused_instead_of_100_continue(server):
    fields = {"Host": "localhost", "Content-Length": str(LIMIT + 1), "Expect": "100-continue"}
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, fields))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_wrong_authentication_is_refused_instead_of_100_continue(server):
    fields = {"Host": "localhost", "Content-Length": "5", "Expect": "100-continue"}
    with server.connect() as connection:
        connection.sendall(encode_head("POST", "/nowhere", fields))
        assert connection.recv(4096).startswith(b"HTTP/1.1 404 ")


def test_100_continue_is_sent_where_the_body_is_wanted(server):
    body = b"after the go-ahead"
    request = encode_post(body, Expect="100-continue")
    with server.connect() as connection:
        connection.sendall(request[: -len(body)])
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_response(connection).status == 200
    assert server.bodies()[-1] == body


@pytest.mark.parametrize("size", [1, 7, 4096, 70_000])
def test_a_chunked_body_is_stored_without_its_framing(server, size):
    body = bytes(range(256)) * (300 if size > 7 else 4)
    assert server.exchange(_chunked(body, size)).status == 200
    assert server.bodies()[-1] == body


def test_a_chunked_oversize_is_refused(server):
    body = b"x" * (LIMIT + 1)
    assert server.exchange(_chunked(body, 50_000)).status == 413


def test_a_chunked_oversize_is_refused_before_its_end(server):
    unfinished = _chunked(b"x" * (LIMIT + 1), 50_000).removesuffix(b"0\r\n\r\n")
    assert server.exchange(unfinished).status == 413


def test_an_endless_chunked_body_is_refused_in_bounded_time(server):
    with server.connect() as connection:
        connection.sendall(encode_head("POST", PATH, {"Host": "localhost", "Transfer-Encoding": "chunked"}))
        with pytest.raises(ConnectionError):  # closed by the server
            wait_until(lambda: connection.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n"))


@pytest.mark.parametrize("sent", [0, 1, 5])
def test_a_slow_body_is_refused_after_the_time_limit(server, sent):
    request = encode_post(b"ten bytes!")
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(request[: len(request) - 10 + sent])
        assert read_response(connection).status == 408
    assert TIMEOUT * 0.9 < time.monotonic() - started < TIMEOUT + BUSY_SECONDS


def test_a_body_that_trickles_does_not_extend_its_time(server):
    request = encode_post(b"x" * 1000)
    started = time.monotonic()
    with server.connect() as connection:
        connection.sendall(request[:-1000])
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() < started + 30:
            connection.sendall(b"x")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < TIMEOUT + BUSY_SECONDS


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, identity"])
def test_a_compressed_body_is_refused(server, coding):
    assert server.post(b"\x1f\x8b", Content_Encoding=coding).status == 415


def test_a_body_that_says_twice_how_it_is_coded_is_refused(server):
    request = encode_post(b"\x1f\x8b", Content_Encoding="identity")
    assert (
        server.exchange(request.replace(b"identity\r\n", b"identity\r\nContent-Encoding: gzip\r\n")).status
        == 415
    )


def test_a_compressed_transfer_is_refused(server):
    assert server.exchange(_chunked(b"x", 1, **{"Transfer-Encoding": "gzip, chunked"})).status in (
        400,
        415,
        501,
    )


def test_a_body_that_says_that_it_is_not_compressed_is_taken(server):
    assert server.post(b"plain", Content_Encoding="identity").status == 200


def test_an_empty_body_is_a_notification_like_any_other(server):
    assert server.post(b"").status == 200
    assert server.bodies()[-1] == b""
    assert server.post(b"", X_Hub_Signature_256=signature(b"x")).status == 401


def test_a_post_that_does_not_say_how_long_it_is_is_refused(server):
    assert server.exchange(encode_head("POST", "/open", {"Host": "localhost"})).status == 411


@pytest.mark.parametrize(
    "framing",
    [
        {"Content-Length": "3", "Transfer-Encoding": "chunked"},
        {"Content-Length": "-1"},
        {"Content-Length": "3x"},
        {"Content-Length": "+3"},
        {"Content-Length": "3, 3"},
        {"Transfer-Encoding": "chunked, chunked"},
        {"Transfer-Encoding": "identity"},
    ],
)
def test_contradicting_framing_is_refused(server, framing):
    before = len(server.bodies())
    answer = server.exchange(
        encode_head("POST", "/open", {"Host": "localhost"} | framing) + b"3\r\nabc\r\n0\r\n\r\n"
    )
    assert answer.status in (400, 411, 415, 501)
    assert len(server.bodies()) == before


def test_a_shorter_content_length_than_the_body_fails_its_signature(server):
    body = b"0123456789"
    assert server.post(body, Content_Length="9").status in (400, 401)  # what is left over is no request
    assert server.bodies()[-1] not in (body, body[:-1])


def test_a_longer_content_length_than_the_body_stores_nothing(server):
    before = len(server.bodies())
    assert server.post(b"0123456789", Content_Length="11").status == 408
    assert len(server.bodies()) == before


def test_a_chunk_size_that_is_none_stores_nothing(server):
    before = len(server.bodies())
    start = encode_head("POST", "/open", {"Host": "localhost", "Transfer-Encoding": "chunked"})
    assert server.exchange(start + b"5\r\nhello\r\nzz\r\n").status == 400
    with server.connect() as connection:  # after a good first chunk, while the body is being read
        connection.sendall(start + b"5\r\nhello\r\n")
        time.sleep(0.2)
        connection.sendall(b"zz\r\n\r\n")
        assert read_response(connection).status in (400, 408)
    assert len(server.bodies()) == before


def test_a_client_that_goes_away_mid_body_stores_nothing(server):
    before = len(server.bodies())
    for sent in (0, 1, 500):
        request = encode_post(b"x" * 1000)
        with server.connect() as connection:
            connection.sendall(request[: len(request) - 1000 + sent])
    with server.connect() as connection:  # and one that resets the connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        connection.sendall(request[:-1])
    wait_until(lambda: server.connections() == 0)
    assert len(server.bodies()) == before
    assert "Traceback" not in server.log()


def test_a_client_that_goes_away_after_sending_is_stored_at_most_once_and_harms_nobody(server):
    sent = [b"gone %d" % n for n in range(50)]
    for body in sent:
        with server.connect() as connection:
            connection.sendall(encode_post(body))
    neighbours = [b"here %d" % n for n in range(20)]
    assert {server.post(body).status for body in neighbours} == {200}
    wait_until(lambda: server.connections() == 0)
    stored = server.bodies()
    assert all(stored.count(body) <= 1 for body in sent)
    assert all(stored.count(body) == 1 for body in neighbours)
    assert "Traceback" not in server.log()


def test_pipelined_posts_are_all_taken_in_their_order(server):
    sent = [b"pipelined %d" % n for n in range(40)]
    with server.connect() as connection:
        connection.sendall(b"".join(encode_post(body) for body in sent))
        received = b""
        while received.count(b"HTTP/1.1 200 ") < len(sent):
            chunk = connection.recv(65536)
            assert chunk
            received += chunk
    assert server.bodies()[-len(sent) :] == sent
