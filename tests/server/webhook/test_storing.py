"""Storing: the exact bytes of a request, with its time, endpoint, client and headers."""

import json
import time
from collections.abc import Iterator

import pytest

from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from tests.server_process import ENDPOINT, OPEN, ServerProcess, encode_post, run_server, signature

COLUMNS = "received_at, endpoint, provider, remote, content_type, headers, body"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), ENDPOINT, OPEN) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"\xc3\xa9 \xf0\x9f\x98\x80"}',
        b"\xef\xbb\xbf{}",
        b"{\r\n\t}\r\n \n",
        b"\xff\xfe\x00\xd8 not UTF-8 \xed\xa0\x80",
        b"a\x00b\x00",
        b"\x00",
        b"'; DROP TABLE notification; --",
        bytes(range(256)) * 1000,
    ],
    ids=["text", "BOM", "white space", "invalid UTF-8", "NULs", "one NUL", "SQL", "all bytes"],
)
def test_the_stored_bytes_equal_the_sent_bytes(server, body):
    assert server.post(body).status == 200
    assert server.bodies()[-1] == body


def test_a_row_records_time_endpoint_and_client(server):
    body = b'{"a": 1}'
    before = time.time_ns() // 1_000_000
    answer = server.post(
        body, Content_Type='application/json; charset="x"', Authorization="Bearer x", Cookie="a=b"
    )
    after = time.time_ns() // 1_000_000
    assert (answer.status, answer.body) == (200, b"")
    received_at, *columns, headers, stored = server.rows(COLUMNS)[-1]
    assert before <= received_at <= after
    assert columns == ["meta", "meta", "127.0.0.1", 'application/json; charset="x"']
    assert json.loads(headers) == {"X-Hub-Signature-256": signature(body)}
    assert stored == body


def test_absent_headers_are_null_in_the_row(server):
    assert server.post(b"x", "/open", Content_Type=None, X_Hub_Signature_256=None).status == 200
    assert server.rows("endpoint, content_type, headers, body")[-1] == ("open", None, None, b"x")


def test_headers_that_are_not_utf_8_are_stored_escaped(server):
    requests = [encode_post(b"good %d" % n, "/open") for n in range(10)]
    requests.insert(
        5, encode_post(b"odd", "/open", Content_Type="a/\udcff\udc80", X_Hub_Signature="\udcff\udca0")
    )
    with server.connect() as connection:
        connection.sendall(b"".join(requests))
        received = b""
        while received.count(b"HTTP/1.1 200 ") < len(requests):
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk
    stored = server.rows("content_type, headers, body")[-len(requests) :]
    assert stored[5][0] == "a/\\udcff\\udc80"
    assert json.loads(stored[5][1])["X-Hub-Signature"] == "\\udcff\\udca0"


def test_the_same_body_twice_is_two_notifications(server):
    before = len(server.bodies())
    assert [server.post(b"twice").status for _ in range(2)] == [200, 200]
    assert server.bodies()[before:] == [b"twice", b"twice"]


def test_a_reader_sees_an_acknowledged_body_at_once(server):
    inbox = LocalInbox(server.inbox)
    try:
        for n in range(50):
            body = b"read at once %d" % n
            last = inbox.last_id()
            assert server.post(body).status == 200
            batch = inbox.read(last, Bounds())
            assert [(row.body, row.endpoint, row.provider, row.remote) for row in batch] == [
                (body, "meta", "meta", "127.0.0.1")
            ]
            assert batch[0].inbox_id == inbox.identity
            assert batch[0].id == last + 1
    finally:
        inbox.close()
