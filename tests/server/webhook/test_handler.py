"""The webhook handler by itself: from head and body to response, without a socket."""

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
from gatherer.server.http.message import Exchange, Headers, PendingResponse, Reply, Request, Response
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


async def response_of(reply: Response | PendingResponse) -> Response:
    if isinstance(reply, Response):
        return reply
    done = asyncio.Event()
    reply.add_done_callback(lambda _: done.set())
    await done.wait()
    return reply.result()


def exchange_of(answer: Reply | Exchange) -> Exchange:
    assert not isinstance(answer, Response | asyncio.Future)
    return answer


def test_a_signed_body_is_stored_before_its_response_is_available(
    handler: WebhookHandler, tmp_path: Path
) -> None:
    body = b'{"entry": []}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()

    async def scenario() -> None:
        head = request("POST", PATH, content_length="13", x_hub_signature_256=signature, content_type="a/b")
        exchange = exchange_of(handler.handle(head))
        assert exchange.refusal() is None
        response = await response_of(exchange.respond(body))
        assert (response.status, response.body, response.close) == (200, b"", False)

    asyncio.run(scenario())
    stored = rows(tmp_path / "inbox.db", "endpoint, provider, remote, content_type, body")
    assert stored == [("meta", "meta", "192.0.2.1", "a/b", body)]


def test_a_body_with_a_wrong_signature_is_not_stored(handler: WebhookHandler, tmp_path: Path) -> None:
    exchange = exchange_of(
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
def test_a_request_can_be_rejected_by_its_head(handler, method, target, headers, status, close) -> None:
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
def test_the_connection_closes_after_an_incomplete_body(handler, status, reason, caplog) -> None:

    exchange = exchange_of(handler.handle(request("POST", "/open", content_length="1")))
    response = exchange.reject(HTTPStatus(status), reason)
    assert (response.status, response.close) == (status, True)
    assert caplog.messages == [f"{status} to 192.0.2.1: {reason}"]


def test_a_body_that_cannot_be_stored_is_not_read(handler: WebhookHandler, writer: InboxWriter) -> None:
    exchange = exchange_of(handler.handle(request("POST", "/open", content_length="1")))
    writer.close()
    refusal = exchange.refusal()
    assert refusal is not None
    assert (refusal.status, refusal.close) == (503, True)


def test_the_connection_stays_open_when_a_received_body_cannot_be_stored(handler, writer) -> None:
    async def scenario() -> None:
        exchange = exchange_of(handler.handle(request("POST", "/open", content_length="1")))
        writer.close()
        response = await response_of(exchange.respond(b"x"))
        assert (response.status, response.close) == (503, False)

    asyncio.run(scenario())


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


def test_header_names_are_case_insensitive_and_values_keep_every_byte() -> None:
    headers = Headers([(b"X-A", b"1"), (b"x-a", b"\xff"), (b"X-B", "é".encode())])
    assert headers.get("X-a") == "1"
    assert headers.get_all("x-A") == ["1", "\udcff"]
    assert headers.items() == [("X-A", "1"), ("x-a", "\udcff"), ("X-B", "é")]
    assert (headers.get("X-C"), headers.get_all("X-C")) == (None, [])
