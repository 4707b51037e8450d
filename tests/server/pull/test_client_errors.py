"""What the gathering side makes of every answer that is not the one it asked for."""

import json
from typing import Any

import pytest
import requests
import responses

from gatherer.inbox.base import Bounds
from gatherer.inbox.remote import protocol
from gatherer.inbox.remote.client import Address
from gatherer.inbox.remote.inbox import RemoteInbox
from gatherer.model.errors import GathererError, InboxError, TemporaryError
from gatherer.model.retry import RetryPolicy

URL = "https://web1.example.org:8443/gatherer"
QUICK = RetryPolicy(attempts=3, first_wait_seconds=0.001, longest_wait_seconds=0.002)
ABOUT = {"protocol": 1, "gatherer": "1", "inbox_id": "abc", "first_id": 1, "last_id": 2}
ROWS = [
    (1, 1_790_000_000_000, "a", "meta", b"one", None, None, None, None),
    (2, 1_790_000_000_000, "a", "meta", b"two", None, None, None, None),
]


def about(**changes: Any) -> dict[str, Any]:
    body = json.dumps(ABOUT | changes).encode()
    return {"body": body, "headers": {"Content-Digest": protocol.digest(body)}}


def opened() -> RemoteInbox:
    return RemoteInbox("web1", Address(url=URL, token="t"), retry_policy=QUICK)


@pytest.fixture
def server() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


TRANSIENT = [408, 425, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", TRANSIENT)
def test_what_will_pass_is_tried_again(server: Any, status: int) -> None:
    server.get(f"{URL}/v1/inbox", status=status, headers={"Retry-After": "0"})
    server.get(f"{URL}/v1/inbox", status=status)
    server.get(f"{URL}/v1/inbox", **about())
    opened().close()
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    "failure",
    [
        requests.ConnectionError("refused"),
        requests.ConnectTimeout("too slow"),
        requests.ReadTimeout("too slow"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ProxyError("the proxy is away"),
        requests.exceptions.SSLError("EOF occurred in violation of protocol"),
    ],
)
def test_a_network_that_fails_is_temporary(server: Any, failure: Exception) -> None:
    server.get(f"{URL}/v1/inbox", body=failure)
    with pytest.raises(
        TemporaryError, match=r"inbox web1 at https://web1.*tried 3 times, nothing is lost"
    ) as raised:
        opened()
    assert raised.value.exit_code == 75
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 401}, "401: the token is not one of its"),
        ({"status": 403, "body": "<html>blocked", "content_type": "text/html"}, "403: a proxy or firewall"),
        (
            {"status": 404, "body": "<html>no", "content_type": "text/html"},
            "404: the URL is not that of a .pull.",
        ),
        (
            {"status": 400, "body": "not understood: x\n", "content_type": "text/plain"},
            "400: not understood: x",
        ),
        (
            {"status": 301, "headers": {"Location": "https://elsewhere/"}},
            "redirects to https://elsewhere/",
        ),
        (
            {"status": 200, "body": "<html>Welcome to IIS"},
            "not that of a .pull. of a gatherer: is it right",
        ),
        ({"status": 299, "body": "?"}, "not that of a .pull. of a gatherer"),
        ({"status": 418}, "answered 418"),
        (about(protocol=2), "that this one understands"),
        (about(last_id=None), "that this one understands"),
    ],
)
def test_what_will_not_pass_is_said_once_and_clearly(server: Any, answer: dict[str, Any], says: str) -> None:
    server.get(f"{URL}/v1/inbox", **answer)
    with pytest.raises(InboxError, match=says) as raised:
        opened()
    assert raised.value.exit_code == 3
    assert len(server.calls) == 1
    assert "\n" not in str(raised.value)


def test_the_token_goes_to_the_server_alone_whatever_netrc_says(
    server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine web1.example.org login a password b\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.get(f"{URL}/v1/inbox", **about())
    opened().close()
    assert server.calls[0].request.headers["Authorization"] == "Bearer t"


def test_a_damaged_description_is_asked_for_again(server: Any) -> None:
    good = about()
    server.get(f"{URL}/v1/inbox", body=good["body"].replace(b"2", b"9"), headers=good["headers"])
    server.get(f"{URL}/v1/inbox", **good)
    assert opened().last_id() == 2


def test_only_what_has_not_come_is_asked_for_again(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **about())
    end = protocol.of_end(protocol.End(inbox_id="abc", count=1, last_id=2))
    server.get(f"{URL}/v1/notifications", body=protocol.of_batch(ROWS[:1]) + b"GNB1 and then it was cut")
    server.get(f"{URL}/v1/notifications", body=protocol.of_batch(ROWS[1:]) + end)
    inbox = opened()
    assert [n.body for n in inbox.read(0, Bounds(rows=10, bytes=100))] == [b"one", b"two"]
    asked = [call.request.params for call in server.calls[1:]]
    assert [(p["after"], p["rows"], p["bytes"]) for p in asked] == [("0", "10", "100"), ("1", "9", "97")]


def test_a_page_of_a_proxy_instead_of_notifications_is_not_taken_for_some(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **about())
    server.get(f"{URL}/v1/notifications", body="<html>" + "Sign in, please. " * 10)
    with pytest.raises(TemporaryError, match="not a response of gatherer"):
        opened().read(0, Bounds())


def test_another_inbox_in_its_place_ends_the_run(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **about())
    server.get(f"{URL}/v1/notifications", status=409)
    with pytest.raises(TemporaryError, match="another inbox replaced it"):
        opened().read(0, Bounds())


@pytest.mark.parametrize(
    "answer", [{"status": 503}, {"status": 404}, {"body": requests.ConnectionError("away")}]
)
def test_an_acknowledgement_never_fails_a_run(
    server: Any, answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.get(f"{URL}/v1/inbox", **about())
    server.post(f"{URL}/v1/acknowledgement", **answer)
    inbox = opened()
    inbox.acknowledge("target", 2)
    inbox.acknowledge("target", 2)
    assert caplog.text.count("delays purging") == 1
    assert issubclass(TemporaryError, GathererError)
