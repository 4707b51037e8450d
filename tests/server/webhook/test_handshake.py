"""The GET handshake of Meta: the challenge is returned exactly, and only for the right token."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.server_process import ENDPOINT, OPEN, PATH, ServerProcess, encode_head, run_server

KEY = "url-key"
ENDPOINTS = (
    ENDPOINT + 'verify_token = "verify me"\n',
    'name = "k"\nprovider = "meta"\npath = "/k"\nurl_key = "url-key"\nverify_token = "verify me"\n',
    OPEN,
)
TOKEN = "hub.verify_token=verify%20me"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), *ENDPOINTS) as running:
        yield running


def _get(server: ServerProcess, target: str, method: str = "GET"):
    return server.exchange(encode_head(method, target, {"Host": "localhost", "Connection": "close"}))


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"{PATH}?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 200),
        (f"{PATH}?hub.challenge=1&{TOKEN}&hub.mode=subscribe&more=x", 200),
        (f"{PATH}?hub.mode=subscribe&hub.verify_token=verify+me&hub.challenge=1", 200),
        (f"{PATH}?hub.mode=subscribe&hub.verify_token=verify&hub.challenge=1", 401),
        (f"{PATH}?hub.mode=subscribe&hub.verify_token=&hub.challenge=1", 401),
        (f"{PATH}?hub.mode=subscribe&hub.verify_token=%FF%00&hub.challenge=1", 401),
        (f"{PATH}?hub.mode=subscribe&hub.challenge=1", 401),
        (f"{PATH}?hub.mode=unsubscribe&{TOKEN}&hub.challenge=1", 401),
        (f"{PATH}?{TOKEN}&hub.challenge=1", 401),
        (PATH, 401),
        (f"/k/{KEY}?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 200),
        (f"/k/wrong?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 401),
        (f"/k?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 401),
        (f"/open?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 405),
        (f"/nowhere?hub.mode=subscribe&{TOKEN}&hub.challenge=1", 404),
    ],
)
def test_the_handshake_is_answered_only_for_the_right_token(server, target, status):
    answer = _get(server, target)
    assert answer.status == status
    assert (answer.body == b"1") == (status == 200)


@pytest.mark.parametrize(
    "challenge", ["1158201444", "", "0", "a b", "\u00e9\U0001f600", "<script>", '"{}"', "\n"]
)
def test_the_challenge_is_returned_exactly_as_plain_text(server, challenge):
    answer = _get(server, f"{PATH}?hub.mode=subscribe&{TOKEN}&hub.challenge={quote(challenge)}")
    assert answer.status == 200
    assert answer.body == challenge.encode()
    assert answer.headers.get_content_type() == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_challenge_that_is_not_utf_8_does_not_disturb_the_server(server):
    target = f"{PATH}?hub.mode=subscribe&{TOKEN}&hub.challenge="
    raw = encode_head("GET", target + "\udcff", {"Host": "localhost", "Connection": "close"})
    assert server.exchange(raw).status in (200, 400)
    assert _get(server, f"{target}1").body == b"1"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/open", "POST"),
        ("PUT", "/open", "POST"),
        ("DELETE", "/open", "POST"),
        ("OPTIONS", "/open", "POST"),
        ("PUT", PATH, "GET, POST"),
        ("PATCH", PATH, "GET, POST"),
        ("HEAD", PATH, "GET, POST"),
    ],
)
def test_other_methods_get_405_with_the_allowed_methods(server, method, path, allowed):
    with server.connect() as connection:
        connection.sendall(encode_head(method, path, {"Host": "localhost", "Connection": "close"}))
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert f"Allow: {allowed}\r\n".encode() in answer
    assert server.rows() == []


def test_a_handshake_stores_nothing_and_logs_no_token(server):
    _get(server, f"{PATH}?hub.mode=subscribe&{TOKEN}&hub.challenge=1")
    _get(server, f"{PATH}?hub.mode=subscribe&hub.verify_token=guess-1&hub.challenge=1")
    assert server.rows() == []
    assert "verify" not in server.log().replace("verify token", "")
    assert "guess-1" not in server.log()
