"""The webhook handler by itself: a head and a body in, a response out, and no socket in between."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

from gatherer.config import load
from gatherer.inbox.writer import InboxWriter
from gatherer.server.health import answering
from gatherer.server.http.message import Exchange, Headers, Reply, Request, Response
from gatherer.server.webhook.handler import WebhookHandler
from tests.server_process import ENDPOINT, OPEN, PATH, SECRET, configure, rows

HANDSHAKE = 'name = "hand"\nprovider = "meta"\npath = "/hand"\nverify_token = "token"\nurl_key = "the-key"\n'


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[InboxWriter]:
    with closing(InboxWriter(tmp_path / "inbox.db")) as writer:
        yield writer


@pytest.fixture
def handler(tmp_path: Path, writer: InboxWriter) -> WebhookHandler:
    configure(tmp_path, ENDPOINT, OPEN, HANDSHAKE)
    configuration = load(tmp_path / "gatherer.toml", secrets=True)
    return WebhookHandler(configuration.endpoint, configuration.server, writer)


def request(method: str, target: str, **headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(method, target, Headers(fields), "192.0.2.1")


async def finished(reply: Reply) -> Response:
    return reply if isinstance(reply, Response) else await reply


def taken(answer: Reply | Exchange) -> Exchange:
    assert not isinstance(answer, Response | asyncio.Future)
    return answer


def test_a_signed_body_is_on_disk_when_its_response_is_there(handler: WebhookHandler, tmp_path: Path) -> None:
    body = b'{"entry": []}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()

    async def play() -> None:
        head = request("POST", PATH, content_length="13", x_hub_signature_256=signature, content_type="a/b")
        exchange = taken(handler.handle(head))
        assert exchange.refusal() is None
        response = await finished(exchange.respond(body))
        assert (response.status, response.body, response.close) == (200, b"", False)

    asyncio.run(play())
    stored = rows(tmp_path / "inbox.db", "endpoint, provider, remote, content_type, body")
    assert stored == [("meta", "meta", "192.0.2.1", "a/b", body)]


def test_a_wrong_signature_stores_nothing(handler: WebhookHandler, tmp_path: Path) -> None:
    exchange = taken(
        handler.handle(request("POST", PATH, content_length="1", x_hub_signature_256="sha256=0"))
    )
    response = exchange.respond(b"x")
    assert isinstance(response, Response)
    assert (response.status, response.body, response.close) == (401, b"Unauthorized\n", False)
    assert rows(tmp_path / "inbox.db") == []


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "close"),
    [
        ("POST", "/nowhere", {"content_length": "1"}, 404, False),
        ("POST", "/open", {}, 411, True),
        ("POST", "/open", {"content_length": "5000000"}, 413, True),
        ("POST", "/open", {"content_length": "1", "content_encoding": "gzip"}, 415, True),
        ("POST", "/open", {"transfer_encoding": "gzip, chunked"}, 415, True),
        ("POST", "/hand", {"content_length": "1"}, 401, False),
        ("POST", "/hand/wrong-key", {"content_length": "1"}, 401, False),
        ("PUT", "/open", {"content_length": "1"}, 405, False),
        ("GET", "/open", {}, 405, False),
        ("GET", "/hand/the-key?hub.mode=subscribe&hub.verify_token=wrong", {}, 401, False),
    ],
)
def test_a_head_alone_is_enough_to_reject(handler, method, target, headers, status, close) -> None:
    response = handler.handle(request(method, target, **headers))
    assert isinstance(response, Response)
    assert (response.status, response.close) == (status, close)
    assert response.body == f"{response.status.phrase}\n".encode()


def test_the_handshake_returns_the_challenge(handler: WebhookHandler) -> None:
    query = "hub.mode=subscribe&hub.verify_token=token&hub.challenge=a%20b"
    response = handler.handle(request("GET", f"/hand/the-key?{query}"))
    assert isinstance(response, Response)
    assert (response.status, response.body) == (200, b"a b")


@pytest.mark.parametrize(
    ("status", "reason"), [(408, "late"), (413, "large"), (503, "shed"), (400, "framing")]
)
def test_a_body_that_does_not_come_whole_ends_the_connection(handler, status, reason, caplog) -> None:

    exchange = taken(handler.handle(request("POST", "/open", content_length="1")))
    response = exchange.reject(HTTPStatus(status), reason)
    assert (response.status, response.close) == (status, True)
    assert caplog.messages == [f"{status} to 192.0.2.1: {reason}"]


def test_a_body_that_cannot_be_stored_is_not_read(handler: WebhookHandler, writer: InboxWriter) -> None:
    exchange = taken(handler.handle(request("POST", "/open", content_length="1")))
    writer.close()
    refusal = exchange.refusal()
    assert refusal is not None
    assert (refusal.status, refusal.close) == (503, True)


def test_a_body_that_has_arrived_and_cannot_be_stored_keeps_the_connection(handler, writer) -> None:
    async def play() -> None:
        exchange = taken(handler.handle(request("POST", "/open", content_length="1")))
        writer.close()
        response = await finished(exchange.respond(b"x"))
        assert (response.status, response.close) == (503, False)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("target", "method", "reason", "status"),
    [
        ("/healthz", "GET", None, 200),
        ("/healthz", "GET", "full", 200),
        ("/readyz", "HEAD", None, 200),
        ("/readyz", "GET", "full", 503),
        ("/readyz?x", "GET", None, 404),
        ("/readyz", "POST", None, 404),
    ],
)
def test_health_is_answered_before_the_handler(target, method, reason, status) -> None:
    handle = answering(lambda request: Response(HTTPStatus.NOT_FOUND), lambda: reason)
    response = handle(request(method, target))
    assert isinstance(response, Response)
    assert response.status == status


def test_headers_are_found_in_any_case_and_every_byte_is_kept() -> None:
    headers = Headers([(b"X-A", b"1"), (b"x-a", b"\xff"), (b"X-B", "é".encode())])
    assert headers.get("X-a") == "1"
    assert headers.get_all("x-A") == ["1", "\udcff"]
    assert headers.items() == [("X-A", "1"), ("x-a", "\udcff"), ("X-B", "é")]
    assert (headers.get("X-C"), headers.get_all("X-C")) == (None, [])
