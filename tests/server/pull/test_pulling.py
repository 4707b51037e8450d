"""The pull listener through real sockets and TLS: responses, tokens, and recovery from network errors."""

import http.client
import json
import os
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatherer.inbox import consumers
from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.remote import client
from gatherer.model.errors import InboxError, TemporaryError
from gatherer.model.notification import Notification
from gatherer.model.timestamps import from_milliseconds
from gatherer.pipeline.gather import gather_inbox
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import RECEIVED_AT, fill_inbox, inbox_files
from tests.server.pull.pull_server import (
    TOKEN,
    PullServer,
    altering_proxy,
    certificate_pin,
    run_pull_server,
    write_certificates,
)
from tests.server_process import OPEN, run_failing_server

BODIES = [
    b"",
    b"\x00\xff\xfe not JSON",
    "Größe 👍".encode(),
    b"x" * 700_000,
    *(os.urandom(900) for _ in range(1500)),
]


@pytest.fixture(scope="module")
def pull_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PullServer]:
    folder = tmp_path_factory.mktemp("pull_server")
    fill_inbox(folder / "inbox.db", BODIES)
    with run_pull_server(folder) as process:
        yield process


ANY = Bounds()


def drain(inbox: Inbox, bounds: Bounds = ANY) -> list[Notification]:
    notifications: list[Notification] = []
    while batch := inbox.read(notifications[-1].id if notifications else 0, bounds):
        notifications += batch
    return notifications


def local(pull_server: PullServer) -> list[Notification]:
    with closing(LocalInbox(pull_server.folder / "inbox.db")) as inbox:
        return drain(inbox)


@pytest.mark.parametrize(
    "bounds", [Bounds(), Bounds(rows=7), Bounds(bytes=1), Bounds(rows=700, bytes=100_000)]
)
def test_a_remote_inbox_reads_as_the_local_one(pull_server: PullServer, bounds: Bounds) -> None:
    """They agree in bytes, metadata, order, and the bounds of each batch."""
    if bounds.bytes == 1:
        with closing(pull_server.open()) as inbox:
            assert [[n.id for n in inbox.read(after, bounds)] for after in range(4)] == [[1], [2], [3], [4]]
        return
    with closing(pull_server.open()) as inbox, closing(LocalInbox(pull_server.folder / "inbox.db")) as beside:
        assert (inbox.identity, inbox.last_id(), inbox.first_id()) == (beside.identity, len(BODIES), 1)
        after = 0
        while batch := inbox.read(after, bounds):
            assert len(batch) <= bounds.rows
            assert len(batch) == 1 or sum(len(n.body) for n in batch) <= bounds.bytes
            assert batch == beside.read(after, Bounds(rows=len(batch), bytes=2**30))
            after = batch[-1].id
        assert after == len(BODIES)
        assert inbox.has_contiguous_ids
        assert inbox.purged_to() == beside.purged_to() == 0
        there, here = inbox.status(), beside.status()
        assert there.missing == here.missing == 0
        assert (there.identity, there.count, there.first_id, there.last_id) == (
            here.identity,
            here.count,
            here.first_id,
            here.last_id,
        )


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(ids=frozenset({1, 5, 900, 10**15})),
        Selection(ids=frozenset(range(2, 1500, 3))),
        Selection(ids=frozenset()),
        Selection(from_id=10, to_id=20),
        Selection(
            since=from_milliseconds(RECEIVED_AT + 5000),
            until=from_milliseconds(RECEIVED_AT + 9000),
        ),
        Selection(since=from_milliseconds(0)),
        Selection(endpoint="apteco", to_id=3),
        Selection(endpoint="another & more"),
    ],
)
def test_a_remote_inbox_selects_as_the_local_one(pull_server: PullServer, selection: Selection) -> None:
    with closing(pull_server.open()) as inbox, closing(LocalInbox(pull_server.folder / "inbox.db")) as beside:
        selected = [n for batch in inbox.select(selection, Bounds()) for n in batch]
        assert selected == [n for batch in beside.select(selection, Bounds()) for n in batch]


def test_a_single_notification_can_be_read(pull_server: PullServer) -> None:
    with closing(pull_server.open()) as inbox:
        notification = inbox.get(3)
        assert notification is not None
        assert notification.body == BODIES[2]
        assert inbox.get(10**9) is None


def test_a_remote_inbox_can_be_read_while_it_grows(tmp_path: Path) -> None:
    with run_pull_server(tmp_path, OPEN) as pull_server, closing(pull_server.open()) as inbox:
        assert (inbox.last_id(), inbox.first_id(), inbox.read(0, Bounds())) == (0, None, [])
        for number in range(5):
            assert pull_server.server.post(b"%d" % number, "/open").status == 200
            assert [n.body for n in inbox.read(number, Bounds())] == [b"%d" % number]


def test_a_hole_is_reported_and_the_purged_beginning_is_not_one(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", [b"[]"] * 100)
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as connection, connection:
        connection.execute("DELETE FROM notification WHERE id <= 10 OR id BETWEEN 40 AND 60")
        connection.execute("UPDATE inbox SET purged_to = 10")
    with (
        run_pull_server(tmp_path) as pull_server,
        closing(pull_server.open()) as inbox,
        closing(SQLiteTarget(tmp_path / "responses.db")) as target,
    ):
        summary = gather_inbox(inbox, target)
        assert (summary.read, summary.purged_unread, summary.missing) == (69, 10, 21)
        assert inbox.status().missing == 21


# --- network errors -----------------------------------------------------------------------------------


def test_reading_resumes_after_repeated_disconnections(pull_server: PullServer) -> None:
    """The stream is cut in the middle; complete batches are used and not requested again."""

    def cut(number: int, offset: int, data: bytes) -> bytes | None:
        return None if number <= 4 and offset > 400_000 else data

    with altering_proxy(pull_server.port, cut) as between:
        with closing(pull_server.open(url=f"https://127.0.0.1:{between.port}")) as inbox:
            assert drain(inbox) == local(pull_server)
        assert between.connections >= 3


def test_changed_bytes_are_detected_without_tls(tmp_path: Path) -> None:
    """TLS detects changes by itself, but the connection from a web server on the same machine has no TLS."""
    fill_inbox(tmp_path / "inbox.db", BODIES)
    changed = []

    def change(number: int, offset: int, data: bytes) -> bytes:
        if number in (2, 3, 5) and len(data) > 1000:
            changed.append(number)
            return data[:500] + bytes([data[500] ^ 1]) + data[501:]
        return data

    with (
        run_pull_server(tmp_path, tls=False) as pull_server,
        altering_proxy(pull_server.port, change) as between,
    ):
        with closing(pull_server.open(url=f"http://127.0.0.1:{between.port}", ca=None)) as inbox:
            assert drain(inbox, Bounds(rows=300)) == local(pull_server)
    assert changed


def test_a_response_that_is_always_truncated_is_a_temporary_error(
    pull_server: PullServer,
) -> None:
    with altering_proxy(
        pull_server.port, lambda _, offset, data: None if offset > 20_000 else data
    ) as between:
        with closing(pull_server.open(url=f"https://127.0.0.1:{between.port}")) as inbox:
            with pytest.raises(TemporaryError, match=r"web1.*tried 4 times, nothing is lost"):
                inbox.read(3, Bounds())


def test_reading_resumes_after_a_restart_of_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "web1"
    folder.mkdir()
    fill_inbox(folder / "inbox.db", BODIES)
    with run_pull_server(folder) as first:
        inbox = first.open()
        notifications = inbox.read(0, Bounds(rows=100))
        first.server.kill()
    restarts: list[Any] = []

    def restart() -> None:
        with run_pull_server(folder, port=first.port):
            restarts.append(True)
            finished.wait(30)

    finished = threading.Event()
    thread = threading.Thread(target=restart)
    with closing(inbox):
        inbox._client.retry_policy = replace(client.RETRY_POLICY, attempts=20, longest_wait_seconds=0.5)
        thread.start()
        try:
            while batch := inbox.read(notifications[-1].id, Bounds(rows=100)):
                notifications += batch
        finally:
            finished.set()
            thread.join(30)
    assert restarts
    assert notifications == local(first)


def test_a_reader_notices_that_the_inbox_was_replaced(tmp_path: Path) -> None:
    """The server continues with a new file; the run ends, and the next one starts with the new inbox."""
    fill_inbox(tmp_path / "inbox.db", BODIES[:2])
    with run_pull_server(tmp_path, OPEN) as pull_server, closing(pull_server.open()) as inbox:
        assert len(inbox.read(0, Bounds(rows=1))) == 1
        for path in inbox_files(tmp_path):
            path.rename(tmp_path / f"old{path.name}")
        fill_inbox(tmp_path / "inbox.db", [b"new"])
        with pytest.raises(TemporaryError, match="another inbox replaced it"):
            drain(inbox, Bounds(rows=1))
        with pytest.raises(TemporaryError, match="another inbox replaced it"):
            inbox.last_id()
        with closing(pull_server.open()) as new:
            assert [n.body for n in drain(new)] == [b"new"]


def test_a_proxy_that_speaks_http_1_0_receives_the_whole_response(tmp_path: Path) -> None:
    """nginx does so by default: the response ends with the connection."""
    import io
    import socket

    from gatherer.inbox.remote import protocol

    fill_inbox(tmp_path / "inbox.db", BODIES)
    with (
        run_pull_server(tmp_path, tls=False) as pull_server,
        closing(LocalInbox(tmp_path / "inbox.db")) as beside,
    ):
        request = f"GET /v1/notifications?inbox_id={beside.identity} HTTP/1.0\r\nAuthorization: bearer {TOKEN}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", pull_server.port), 20) as connection:
            connection.sendall(request.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"chunked" not in head
        rows = [
            row
            for batch in protocol.read(io.BytesIO(body).read, inbox_id=beside.identity, after=0)
            for row in batch
        ]
        assert [row[4] for row in rows] == BODIES


def test_prefetched_notifications_are_not_returned_for_another_position(pull_server: PullServer) -> None:
    with closing(pull_server.open()) as inbox:
        assert [n.id for n in inbox.read(0, Bounds(rows=5))] == [1, 2, 3, 4, 5]
        assert [n.id for n in inbox.read(100, Bounds(rows=2))] == [101, 102]
        assert [n.id for n in inbox.read(102, Bounds(rows=1))] == [103]
        assert [n.id for n in inbox.read(103, Bounds(rows=50))] != []


# --- tokens and certificates --------------------------------------------------------------------------------------


def send_request(
    pull_server: PullServer, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> Any:
    context = ssl.create_default_context(cafile=str(pull_server.ca))
    connection = http.client.HTTPSConnection("127.0.0.1", pull_server.port, context=context, timeout=20)
    with closing(connection):
        fields = {"Authorization": f"Bearer {TOKEN}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()


def test_a_wrong_token_is_rejected_and_never_logged(tmp_path: Path) -> None:
    with run_pull_server(tmp_path) as pull_server:
        with pytest.raises(InboxError, match=r"401.*the token is not one of its \[pull\] tokens"):
            pull_server.open(token="wrong-and-secret")
        for path in ("/v1/inbox", "/", "/v1/notifications?inbox_id=x", "/webhook/meta"):
            status, headers, body = send_request(pull_server, path, Authorization="Bearer wrong-and-secret")
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert b"secret" not in body
        assert send_request(pull_server, "/v1/inbox", Authorization=f"Basic {TOKEN}")[0] == 401
        assert send_request(pull_server, "/v1/inbox", Authorization="")[0] == 401
        log = pull_server.server.log()
        assert "pull: 401 to 127.0.0.1" in log
        assert "secret" not in log
        assert TOKEN not in log


def test_failed_attempts_are_limited_and_a_valid_token_is_not(tmp_path: Path) -> None:
    with run_pull_server(tmp_path) as pull_server:
        statuses = [send_request(pull_server, "/v1/inbox", Authorization="Bearer x")[0] for _ in range(14)]
        assert statuses == [401] * 10 + [429] * 4
        assert send_request(pull_server, "/v1/inbox")[0] == 200
        assert pull_server.server.log().count("pull: ") == 11, "responses with 429 are logged once"


def test_a_token_can_be_rotated_without_interruption(tmp_path: Path) -> None:
    """Both tokens are accepted until every gatherer has the new one."""
    with run_pull_server(tmp_path, tokens=("the-old-one", "the-new-one")) as pull_server:
        for token in ("the-old-one", "the-new-one"):
            pull_server.open(token=token).close()
    with run_pull_server(tmp_path, tokens=("the-new-one",)) as pull_server:
        pull_server.open(token="the-new-one").close()
        with pytest.raises(InboxError, match="401"):
            pull_server.open(token="the-old-one")


def test_the_certificate_of_the_server_is_verified(pull_server: PullServer, tmp_path: Path) -> None:
    pull_server.open(ca=None, pin=pull_server.pin).close()
    write_certificates(tmp_path)
    with pytest.raises(InboxError, match="its certificate is not accepted"):
        pull_server.open(ca=None, pin=certificate_pin(tmp_path / "certificate.pem"))
    with pytest.raises(InboxError, match="its certificate is not accepted"):
        pull_server.open(ca=tmp_path / "ca.pem")
    with pytest.raises(InboxError, match="its certificate is not accepted"):
        pull_server.open(ca=None)
    with pytest.raises(InboxError, match=r"missing\.pem cannot be read"):
        pull_server.open(ca=tmp_path / "missing.pem")


def test_environment_variables_do_not_change_the_trusted_certificate(
    pull_server: PullServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificates(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pull_server.ca))
    with pytest.raises(InboxError, match="certificate"):
        pull_server.open(ca=tmp_path / "ca.pem")


def test_https_proxy_is_honoured(pull_server: PullServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy opens a tunnel; the client still verifies the certificate of the server."""
    import socket

    requests: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def tunnel() -> None:
        client, _ = listener.accept()
        requests.append(client.recv(65536).partition(b" HTTP")[0])
        server = socket.create_connection(("127.0.0.1", pull_server.port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def forward(source: socket.socket, destination: socket.socket) -> None:
            with suppress(OSError):  # the other direction has closed it
                while data := source.recv(65536):
                    destination.sendall(data)
            destination.close()

        threading.Thread(target=forward, args=(client, server), daemon=True).start()
        forward(server, client)

    threading.Thread(target=tunnel, daemon=True).start()
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    with closing(listener), closing(pull_server.open(ca=None, pin=pull_server.pin)) as inbox:
        assert inbox.last_id() == len(BODIES)
    assert requests == [f"CONNECT 127.0.0.1:{pull_server.port}".encode()]


# --- acknowledgements and the rest of the protocol ----------------------------------------------


def test_an_acknowledgement_is_stored_for_the_purge(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", BODIES[:3])
    with run_pull_server(tmp_path) as pull_server, closing(pull_server.open()) as inbox:
        inbox.acknowledge("target-1", 2)
        inbox.acknowledge("target-2", 0)
        positions = {consumer.name: consumer for consumer in consumers.read_all(tmp_path / "inbox.db")}
        assert (positions["target-1"].notification_id, positions["target-1"].inbox_id) == (2, inbox.identity)
        assert positions["target-2"].notification_id == 0
        inbox.acknowledge("target-1", 4)
        assert consumers.read_all(tmp_path / "inbox.db")[0].notification_id == 2, (
            "there is no notification 4 yet"
        )


def test_a_failed_acknowledgement_is_logged_once_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill_inbox(tmp_path / "inbox.db", BODIES[:3])
    with run_pull_server(tmp_path) as pull_server:
        (tmp_path / "inbox.db.consumers").write_text("a file in place of the folder", encoding="ascii")
        with closing(pull_server.open()) as inbox:
            inbox.acknowledge("target-1", 2)
            inbox.acknowledge("target-1", 3)
    assert caplog.text.count("delays purging") == 1, "the warning is logged once"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"inbox_id": 7, "consumer": "a", "notification_id": 1}',
        b'{"inbox_id": "ID", "consumer": "../a", "notification_id": 1}',
        b'{"inbox_id": "ID", "consumer": "a", "notification_id": "1"}',
        b'{"inbox_id": "ID", "consumer": "a", "notification_id": true}',
        b'{"inbox_id": "ID", "consumer": "a", "notification_id": -1}',
        b'{"inbox_id": "ID", "consumer": "a", "notification_id": 1' + b" " * 10_000 + b"}",
    ],
)
def test_an_invalid_acknowledgement_is_rejected(pull_server: PullServer, content: bytes) -> None:
    from gatherer.inbox.remote.protocol import digest

    identity = json.loads(send_request(pull_server, "/v1/inbox")[2])["inbox_id"]
    content = content.replace(b"ID", identity.encode())
    status, _, _ = send_request(
        pull_server, "/v1/acknowledgement", "POST", content, Content_Digest=digest(content)
    )
    assert status == (400 if len(content) < 4096 else 413)
    assert not (pull_server.folder / "inbox.db.consumers").exists()


def test_an_acknowledgement_without_checksum_or_for_another_inbox_is_rejected(
    pull_server: PullServer,
) -> None:
    from gatherer.inbox.remote.protocol import digest

    content = b'{"inbox_id": "another", "consumer": "a", "notification_id": 1}'
    assert send_request(pull_server, "/v1/acknowledgement", "POST", content)[0] == 400
    answer = send_request(pull_server, "/v1/acknowledgement", "POST", content, Content_Digest=digest(content))
    assert answer[0] == 409


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/notifications", 400),
        ("/v1/notifications?inbox_id=another", 409),
        ("/v1/notifications?inbox_id=another&after=-1", 400),
        ("/v1/notifications?inbox_id=another&after=x", 400),
        ("/v1/notifications?inbox_id=another&rows=0", 400),
        (f"/v1/notifications?inbox_id=another&after={2**63}", 400),
        ("/v1/notifications?inbox_id=another&ids=1,,2", 400),
        ("/v1/notifications?inbox_id=another&since=999999999999999999", 400),
        ("/v2/inbox", 404),
        ("/", 404),
        ("/v1/acknowledgement", 405),
    ],
)
def test_an_invalid_request_is_rejected_in_one_line(pull_server: PullServer, path: str, status: int) -> None:
    received_status, headers, body = send_request(pull_server, path)
    assert received_status == status
    assert body.count(b"\n") == 1
    assert "no-store" in headers["Cache-Control"]


def test_the_public_listener_serves_no_inbox_and_the_pull_listener_no_webhooks(
    pull_server: PullServer,
) -> None:
    assert pull_server.server.exchange(b"GET /v1/inbox HTTP/1.1\r\nHost: x\r\n\r\n").status == 404
    assert send_request(pull_server, "/webhook/meta", "POST", b"{}")[0] == 404


def test_a_reader_that_stops_reading_does_not_block_the_others(pull_server: PullServer) -> None:
    context = ssl.create_default_context(cafile=str(pull_server.ca))
    identity = json.loads(send_request(pull_server, "/v1/inbox")[2])["inbox_id"]
    request = f"GET /v1/notifications?inbox_id={identity} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    with closing(socket_to(pull_server, context)) as idle:
        idle.sendall(request.encode())
        assert idle.recv(1) == b"H"
        with closing(pull_server.open()) as inbox:
            assert len(drain(inbox)) == len(BODIES)
        assert pull_server.server.post(b"{}").status == 200


def socket_to(pull_server: PullServer, context: ssl.SSLContext) -> ssl.SSLSocket:
    import socket

    plain = socket.create_connection(("127.0.0.1", pull_server.port), 20)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("host = '0.0.0.0'\ntokens = ['a']", "pull: other machines can reach 0.0.0.0"),
        ("tokens = []", "pull.tokens"),
        ("tokens = ['a']\ntls_key = 'key.pem'", "belong together"),
        ("tokens = ['a']\ntls_certificate = 'no.pem'\ntls_key = 'no.pem'", "no.pem"),
        ("tokens = ['a']\ntls_certificate = 'gatherer.toml'\ntls_key = 'gatherer.toml'", "gatherer.toml"),
    ],
)
def test_an_unsafe_pull_listener_does_not_start(tmp_path: Path, keys: str, message: str) -> None:
    code, log = run_failing_server(tmp_path, server=f"port = 0\n[pull]\nport = 0\n{keys}\n")
    assert code == 2
    assert message in log
    assert "Traceback" not in log
