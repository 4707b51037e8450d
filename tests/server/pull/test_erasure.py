"""Erasure through the pull listener: only an admin token permits it."""

import base64
import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox.base import Bounds
from gatherer.inbox.redaction import InboxRedaction
from gatherer.inbox.remote.protocol import digest
from gatherer.model.errors import InboxError, TemporaryError
from gatherer.model.notification import body_key
from tests.factories import fill_inbox
from tests.server.pull.pull_server import TOKEN, PullServer, run_pull_server

ADMIN = "token-of-the-administrator"
BODIES = [b"about a person", b"about another person"]


@pytest.fixture
def pull_server(tmp_path: Path) -> Iterator[PullServer]:
    fill_inbox(tmp_path / "inbox.db", BODIES)
    with run_pull_server(tmp_path, pull=f'admin_tokens = ["old-token", "{ADMIN}"]\n') as pull_server:
        yield pull_server


def send_erasure(
    pull_server: PullServer,
    content: bytes,
    token: str | None = ADMIN,
    *,
    method: str = "POST",
    content_digest: str = "",
) -> int:
    context = ssl.create_default_context(cafile=str(pull_server.ca))
    with closing(
        http.client.HTTPSConnection("127.0.0.1", pull_server.port, context=context, timeout=30)
    ) as connection:
        headers = {"Content-Digest": content_digest or digest(content)}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(method, "/v1/erasure", content, headers)
        return connection.getresponse().status


def erasure_request(pull_server: PullServer, body: bytes = b"") -> bytes:
    with closing(pull_server.open()) as inbox:
        identity = inbox.identity
    notifications = [[1, body_key(BODIES[0]).hex(), base64.b64encode(body).decode()]]
    return json.dumps({"inbox_id": identity, "notifications": notifications}).encode()


def test_the_redaction_is_complete_when_the_response_is_sent(pull_server: PullServer) -> None:
    assert send_erasure(pull_server, erasure_request(pull_server, b"rest")) == 200
    assert pull_server.server.bodies() == [b"rest", BODIES[1]]
    with closing(pull_server.open(admin_token="old-token")) as inbox:
        assert (
            inbox.redact([InboxRedaction(1, body_key(b"rest"), b""), InboxRedaction(2, b"another", b"")]) == 1
        )
        assert [n.is_erased for n in inbox.read(0, Bounds())] == [True, False]
    assert pull_server.server.bodies() == [b"", BODIES[1]]


@pytest.mark.parametrize("token", [None, "", TOKEN, "wrong"])
def test_an_erasure_requires_an_admin_token(pull_server: PullServer, token: str | None) -> None:
    assert send_erasure(pull_server, erasure_request(pull_server), token) == 401
    assert pull_server.server.bodies() == BODIES


def test_an_invalid_request_is_rejected_and_changes_nothing(pull_server: PullServer) -> None:
    good = erasure_request(pull_server)
    assert send_erasure(pull_server, good, method="GET") == 405
    assert send_erasure(pull_server, good, content_digest="sha-256=:AAAA:") == 400
    assert send_erasure(pull_server, good[:-1]) == 400
    for invalid in (
        b"",
        b"[]",
        b"{}",
        b"\xff",
        good.replace(b"[[1", b'[["x"'),
        good.replace(b'""]]', b'"%"]]'),
        b"[" * 200_000,
        *(
            good.replace(b"[[1", b"[[" + invalid)
            for invalid in (b"0", b"1e400", b"Infinity", b"9223372036854775808")
        ),
    ):
        assert send_erasure(pull_server, invalid) == 400, invalid
    identity = json.loads(good)["inbox_id"].encode()
    assert send_erasure(pull_server, good.replace(identity, b"0" * 32)) == 409
    assert send_erasure(pull_server, good + b" " * 64_000_000) == 413
    assert pull_server.server.bodies() == BODIES
    assert send_erasure(pull_server, good) == 200


def test_without_admin_tokens_every_erasure_is_rejected(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", BODIES)
    with run_pull_server(tmp_path) as pull_server, closing(pull_server.open(admin_token=TOKEN)) as inbox:
        with pytest.raises(InboxError, match="not one of its \\[pull\\] admin_tokens"):
            inbox.redact([InboxRedaction(1, body_key(BODIES[0]), b"")])
        assert pull_server.server.bodies() == BODIES


def test_a_server_that_has_stopped_is_a_temporary_error(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", BODIES)
    with run_pull_server(tmp_path, pull=f'admin_tokens = ["{ADMIN}"]\n') as pull_server:
        inbox = pull_server.open(admin_token=ADMIN)
    with closing(inbox), pytest.raises(TemporaryError, match="nothing is lost"):
        inbox.redact([InboxRedaction(1, body_key(BODIES[0]), b"")])
