"""Azure Event Grid in front of an endpoint: its two handshakes, for the configured topics only."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server_process import OPEN, Response, ServerProcess, encode_head, encode_post, run_server

TOPIC = "/subscriptions/5b4b/resourceGroups/crm/providers/Microsoft.Communication/CommunicationServices/acs"
CODE = '512d38b6-"c7b8'
ENDPOINT = (
    'name = "azure"\nprovider = "meta"\npath = "/azure"\nurl_key = "the-key"\n'
    f'[endpoint.event_grid]\ntopics = ["{TOPIC}"]\n'
)
CHINA = (
    'name = "china"\nprovider = "meta"\npath = "/china"\nurl_key = "the-key"\nverify_token = "token"\n'
    f'[endpoint.event_grid]\ntopics = ["{TOPIC}"]\norigin = "eventgrid.azure.cn"\n'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), ENDPOINT, CHINA, OPEN) as running:
        yield running


def handshake(topic: str = TOPIC, **changes: Any) -> dict[str, Any]:
    return {
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": topic,
        "subject": "",
        "data": {"validationCode": CODE, "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/x"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-11-30T04:23:35.1981776Z",
        "metadataVersion": "1",
        "dataVersion": "1",
    } | changes


def post(
    server: ServerProcess, body: object, path: str = "/azure/the-key", kind: str = "SubscriptionValidation"
) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.exchange(encode_post(content, path, X_Hub_Signature_256=None, aeg_event_type=kind))


@pytest.mark.parametrize("topic", [TOPIC, TOPIC.upper(), TOPIC.lower()])
@pytest.mark.parametrize("wrap", [lambda event: [event], lambda event: event], ids=["array", "object"])
def test_a_handshake_for_the_topic_gets_its_code_back(server, topic, wrap):
    before = len(server.rows("id"))
    response = post(server, wrap(handshake(topic)))
    assert response.status == 200
    assert response.headers.get_content_type() == "application/json"
    assert json.loads(response.body) == {"validationResponse": CODE}
    assert len(server.rows("id")) == before


@pytest.mark.parametrize(
    "body",
    [
        [handshake(TOPIC + "2")],
        [handshake("/subscriptions/5b4b")],
        [handshake(eventType="Microsoft.Communication.SMSReceived")],
        [handshake(), handshake()],
        [handshake(data={})],
        [handshake(data={"validationCode": 17})],
        [],
        {},
        None,
        b"",
        b"{",
        b"\xff",
    ],
)
def test_any_other_handshake_is_refused(server, body):
    before = len(server.rows("id"))
    response = post(server, body)
    assert (response.status, response.body) == (401, b"Unauthorized\n")
    assert len(server.rows("id")) == before


@pytest.mark.parametrize("path", ["/azure", "/azure/wrong"])
def test_a_handshake_without_the_url_key_is_refused(server, path):
    assert post(server, [handshake()], path).status == 401


def test_a_handshake_at_another_endpoint_is_a_notification(server):
    response = post(server, [handshake()], "/open")
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("kind", ["Notification", "", "SubscriptionDeletion"])
def test_what_is_no_handshake_is_stored_unread(server, kind):
    body = f'[{{"{kind}": not even JSON'.encode()
    assert post(server, body, kind=kind).status == 200
    assert server.bodies()[-1] == body


def options(server: ServerProcess, path: str, origin: str | None) -> Response:
    fields = {"Host": "localhost", "WebHook-Request-Origin": origin, "WebHook-Request-Rate": "120"}
    return server.exchange(encode_head("OPTIONS", path, fields | {"Connection": "close"}))


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/azure/the-key", "eventgrid.azure.net"),
        ("/azure/the-key?a=b", "EventGrid.azure.net"),
        ("/china/the-key", "eventgrid.azure.cn"),
    ],
)
def test_event_grid_may_send_cloud_events(server, path, origin):
    before = len(server.rows("id"))
    response = options(server, path, origin)
    assert (response.status, response.body) == (200, b"")
    assert response.headers["WebHook-Allowed-Origin"] == origin.lower()
    assert response.headers["WebHook-Allowed-Rate"] == "*"
    assert response.headers["Allow"] == "OPTIONS, POST"
    assert len(server.rows("id")) == before


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [
        ("/azure/the-key", "example.com", 401),
        ("/azure/the-key", "eventgrid.azure.cn", 401),
        ("/azure/the-key", None, 401),
        ("/azure/the-key", "*", 401),
        ("/azure/wrong", "eventgrid.azure.net", 401),
        ("/azure", "eventgrid.azure.net", 401),
        ("/open", "eventgrid.azure.net", 405),
    ],
)
def test_another_origin_url_or_endpoint_gets_no_permission(server, path, origin, status):
    response = options(server, path, origin)
    assert response.status == status
    assert "WebHook-Allowed-Origin" not in response.headers


def test_a_wrong_method_is_told_the_allowed_ones(server):
    fields = {"Host": "localhost", "Connection": "close"}
    assert server.exchange(encode_head("PUT", "/azure/the-key", fields)).headers["Allow"] == "OPTIONS, POST"
    assert (
        server.exchange(encode_head("PUT", "/china/the-key", fields)).headers["Allow"] == "GET, OPTIONS, POST"
    )
