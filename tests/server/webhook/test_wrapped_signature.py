"""The signature of a provider inside of a wrapper that has kept the exact text of the body."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server_process import SECRET, Response, ServerProcess, encode_post, run_server, signature

BODY = '{"entry": [{"id":"1", "changes":[]}],  "text":"\\u00e9 \\ud83d\\ude00 ü\\u0000"}'
SIGNED = f'app_secrets = ["{SECRET}"]\n'


def endpoint(name: str, unwrap: str, headers: str, *more: str) -> str:
    lines = (f'name = "{name}"', 'provider = "meta"', f'path = "/{name}"', f'unwrap = "{unwrap}"')
    return "\n".join((*lines, f'unwrap_headers = "{headers}"', *more, ""))


ENDPOINTS = (
    endpoint("zapier", "/raw_body", "/headers", SIGNED),
    endpoint("n8n", "/*/body", "/*/headers", SIGNED),
    endpoint("alone", "/body", "/signature", SIGNED),
    endpoint("sns", "/Message/body", "/Message/headers", 'app_secrets = ["another", "app-secret"]\n'),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), *ENDPOINTS) as running:
        yield running


def post(server: ServerProcess, path: str, wrapper: object) -> Response:
    body = wrapper if isinstance(wrapper, bytes) else json.dumps(wrapper).encode()
    return server.exchange(encode_post(body, path, X_Hub_Signature_256=None))


def headers(text: str = BODY, secret: str = SECRET) -> dict[str, Any]:
    return {"host": "relay", "x-hub-signature-256": signature(text.encode(), secret)}


def item(text: str = BODY, secret: str = SECRET) -> dict[str, Any]:
    return {"headers": headers(text, secret), "body": text}


RIGHT = [
    ("/zapier", {"raw_body": BODY, "headers": headers()}),
    ("/zapier", {"raw_body": BODY, "headers": {"X-Hub-Signature-256": [headers()["x-hub-signature-256"]]}}),
    ("/n8n", item()),
    ("/n8n", [item()]),
    ("/n8n", [item(), item("{}"), item()]),
    ("/alone", {"body": BODY, "signature": signature(BODY.encode())}),
    ("/sns", {"Message": json.dumps(item())}),
]


@pytest.mark.parametrize(("path", "wrapper"), RIGHT)
def test_the_exact_text_with_its_signature_is_stored(server, path, wrapper):
    assert post(server, path, wrapper).status == 200
    assert server.bodies()[-1] == json.dumps(wrapper).encode()


WRONG = [
    ("no wrapper", "/zapier", json.loads(BODY)),
    ("another text", "/zapier", {"raw_body": BODY + " ", "headers": headers()}),
    ("another secret", "/zapier", {"raw_body": BODY, "headers": headers(secret="guess")}),
    ("no signature", "/zapier", {"raw_body": BODY, "headers": {}}),
    ("no headers", "/zapier", {"raw_body": BODY}),
    ("headers of no type", "/zapier", {"raw_body": BODY, "headers": 17}),
    ("null", "/zapier", {"raw_body": BODY, "headers": {"x-hub-signature-256": None}}),
    ("an empty list", "/zapier", {"raw_body": BODY, "headers": {"x-hub-signature-256": []}}),
    ("a parsed body", "/zapier", {"raw_body": json.loads(BODY), "headers": headers()}),
    ("a number", "/zapier", {"raw_body": 17, "headers": headers("17")}),
    ("one of two", "/n8n", [item(), item(secret="guess")]),
    ("one without text", "/n8n", [item(), {"headers": headers()}]),
    ("one without headers", "/n8n", [item(), {"body": BODY}]),
    ("one without either", "/n8n", [item(), json.loads(BODY)]),
    ("exchanged", "/n8n", [item() | {"body": "{}"}, item("{}") | {"body": BODY}]),
    ("no items", "/n8n", []),
    ("null for all", "/n8n", None),
    ("the signature of the wrapper", "/alone", {"body": BODY, "signature": signature(b"x")}),
    ("no JSON", "/zapier", b"\xff{"),
    ("nothing", "/zapier", b""),
    ("deep", "/n8n", b"[" * 100_000),
]


@pytest.mark.parametrize(("path", "wrapper"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_anything_else_is_refused(server, path, wrapper):
    before = len(server.rows("id"))
    response = post(server, path, wrapper)
    assert (response.status, response.body) == (401, b"Unauthorized\n")
    assert len(server.rows("id")) == before


def test_the_signature_of_the_whole_body_does_not_count(server):
    body = json.dumps({"raw_body": BODY, "headers": {}}).encode()
    response = server.exchange(encode_post(body, "/zapier", X_Hub_Signature_256=signature(body)))
    assert response.status == 401
