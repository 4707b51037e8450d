"""How a gatherer handles every response other than the requested one."""

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
DESCRIPTION = {
    "protocol": 1,
    "gatherer": "1",
    "inbox_id": "abc",
    "has_contiguous_ids": True,
    "purged_to": 0,
    "first_id": 1,
    "last_id": 2,
}
ROWS = [
    (1, 1_790_000_000_000, "a", "meta", b"one", None, None, None, None),
    (2, 1_790_000_000_000, "a", "meta", b"two", None, None, None, None),
]


def description(**changes: Any) -> dict[str, Any]:
    body = json.dumps(DESCRIPTION | changes).encode()
    return {"body": body, "headers": {"Content-Digest": protocol.digest(body)}}


def open_inbox() -> RemoteInbox:
    return RemoteInbox("web1", Address(url=URL, token="t"), retry_policy=QUICK)


@pytest.fixture
def server() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


TRANSIENT = [408, 425, 429, 500, 502, 503, 504]


@pytest.mark.parametrize("status", TRANSIENT)
def test_a_temporary_status_is_retried(server: Any, status: int) -> None:
    server.get(f"{URL}/v1/inbox", status=status, headers={"Retry-After": "0"})
    server.get(f"{URL}/v1/inbox", status=status)
    server.get(f"{URL}/v1/inbox", **description())
    open_inbox().close()
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
def test_a_network_error_is_temporary(server: Any, failure: Exception) -> None:
    server.get(f"{URL}/v1/inbox", body=failure)
    with pytest.raises(
        TemporaryError, match=r"inbox web1 at https://web1.*tried 3 times, nothing is lost"
    ) as raised:
        open_inbox()
    assert raised.value.exit_code == 75
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 401}, "401: the token is not one of its"),
        ({"status": 403, "body": "<html>blocked", "content_type": "text/html"}, "403: a proxy or firewall"),
        (
            {"status": 404, "body": "<html>no", "content_type": "text/html"},
            "404: the URL is not that of a .pull.",
        ),
        (
            {"status": 400, "body": "invalid request: x\n", "content_type": "text/plain"},
            "400: invalid request: x",
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
        (description(protocol=2), "that this one understands"),
        (description(last_id=None), "that this one understands"),
    ],
)
def test_a_permanent_failure_is_reported_without_a_retry(
    server: Any, answer: dict[str, Any], message: str
) -> None:
    server.get(f"{URL}/v1/inbox", **answer)
    with pytest.raises(InboxError, match=message) as raised:
        open_inbox()
    assert raised.value.exit_code == 3
    assert len(server.calls) == 1
    assert "\n" not in str(raised.value)


def test_netrc_does_not_replace_the_token(
    server: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine web1.example.org login a password b\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.get(f"{URL}/v1/inbox", **description())
    open_inbox().close()
    assert server.calls[0].request.headers["Authorization"] == "Bearer t"


def test_a_damaged_description_is_requested_again(server: Any) -> None:
    good = description()
    server.get(f"{URL}/v1/inbox", body=good["body"].replace(b"2", b"9"), headers=good["headers"])
    server.get(f"{URL}/v1/inbox", **good)
    assert open_inbox().last_id() == 2


def test_only_missing_notifications_are_requested_again(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **description())
    end = protocol.of_end(protocol.End(inbox_id="abc", count=1, last_id=2))
    server.get(f"{URL}/v1/notifications", body=protocol.of_batch(ROWS[:1]) + b"GNB1 and then it was cut")
    server.get(f"{URL}/v1/notifications", body=protocol.of_batch(ROWS[1:]) + end)
    inbox = open_inbox()
    assert [n.body for n in inbox.read(0, Bounds(rows=10, bytes=100))] == [b"one", b"two"]
    parameters = [call.request.params for call in server.calls[1:]]
    assert [(p["after"], p["rows"], p["bytes"]) for p in parameters] == [("0", "10", "100"), ("1", "9", "97")]


def test_a_page_of_a_proxy_is_not_read_as_notifications(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **description())
    server.get(f"{URL}/v1/notifications", body="<html>" + "Sign in, please. " * 10)
    with pytest.raises(TemporaryError, match="not a response of gatherer"):
        open_inbox().read(0, Bounds())


def test_a_replaced_inbox_ends_the_run(server: Any) -> None:
    server.get(f"{URL}/v1/inbox", **description())
    server.get(f"{URL}/v1/notifications", status=409)
    with pytest.raises(TemporaryError, match="another inbox replaced it"):
        open_inbox().read(0, Bounds())


@pytest.mark.parametrize(
    "answer", [{"status": 503}, {"status": 404}, {"body": requests.ConnectionError("away")}]
)
def test_an_acknowledgement_never_fails_a_run(
    server: Any, answer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server.get(f"{URL}/v1/inbox", **description())
    server.post(f"{URL}/v1/acknowledgement", **answer)
    inbox = open_inbox()
    inbox.acknowledge("target", 2)
    inbox.acknowledge("target", 2)
    assert caplog.text.count("delays purging") == 1
    assert issubclass(TemporaryError, GathererError)
