"""The part of the contract that `serve` keeps: every provider's posts, by every way it can authenticate."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from urllib.parse import parse_qsl

import pytest

from gatherer import providers
from tests.providers.cases import Case, cases
from tests.server_process import Serving, post_bytes, serving

PROVIDERS = sorted(providers.BUILT_IN)
KEY = "url-key_0123456789"
TOKEN = "auth-token-0123456789"
WAYS = {
    "url_key": f'url_key = "{KEY}"',
    "bearer": 'bearer_tokens = ["token-0123456789"]',
    "basic": 'basic = { user = "sender", password = "pass-word" }',
    "api_key": 'api_key = { header = "X-Api-Key", value = "value-0123456789" }',
    "allow_ips": 'allow_ips = ["203.0.113.0/24"]',
}
# Signatures belong to those who make them, and to relays that leave body and headers alone.
SIGNED = {
    **dict.fromkeys(("meta", "onprem"), ("app_secrets", 'app_secrets = ["secret-0123456789"]')),
    "twilio": ("twilio_auth_tokens", f'twilio_auth_tokens = ["{TOKEN}"]'),
}
PAIRS = [(name, way) for name in PROVIDERS for way in (*WAYS, *(SIGNED[name][:1] if name in SIGNED else ()))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    endpoints = [
        f'name = "{name}-{way}"\nprovider = "{name}"\npath = "/{name}/{way}"\n'
        + (WAYS.get(way) or SIGNED[name][1])
        + "\n"
        for name, way in PAIRS
    ]
    with serving(tmp_path_factory.mktemp("contract"), *endpoints) as running:
        yield running


def _proof(server: Serving, one: Case, path: str, way: str) -> tuple[str, dict[str, str]]:
    """Return the path and the headers that prove a post to `path` right."""
    if way == "url_key":
        return f"{path}/{KEY}", {}
    if way == "app_secrets":
        digest = hmac.new(b"secret-0123456789", one.body, hashlib.sha256).hexdigest()
        return path, {"X-Hub-Signature-256": f"sha256={digest}"}
    if way == "twilio_auth_tokens":
        pairs = sorted(set(parse_qsl(one.body.decode(), keep_blank_values=True)))
        text = f"http://x{path}" + "".join(name + value for name, value in pairs)
        signature = hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()
        return path, {"X-Twilio-Signature": base64.b64encode(signature).decode()}
    return path, {
        "bearer": {"Authorization": "Bearer token-0123456789"},
        "basic": {"Authorization": "Basic " + base64.b64encode(b"sender:pass-word").decode()},
        "api_key": {"X-Api-Key": "value-0123456789"},
        "allow_ips": {"X-Forwarded-For": "203.0.113.9"},
    }[way]


def _post(server: Serving, one: Case, path: str, headers: dict[str, str]) -> int:
    kind = "application/x-www-form-urlencoded" if one.path.suffix == ".form" else "application/json"
    fields = {"X-Hub-Signature-256": None, "Content-Type": kind, "Host": "x", **headers}
    return server.exchange(post_bytes(one.body, path, **fields)).status


@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_a_providers_posts_are_taken_with_the_right_proof_and_refused_with_any_other(
    server: Serving, name: str, way: str
) -> None:
    one = cases(name)[0]
    path = f"/{name}/{way}"
    right_path, right = _proof(server, one, path, way)
    before = len(server.rows())
    assert _post(server, one, right_path, right) == 200
    assert server.rows("body, provider, endpoint")[before:] == [(one.body, name, f"{name}-{way}")]
    assert _post(server, one, path, {}) == 401
    wrong = {header: value[:-1] + ("0" if value[-1] != "0" else "1") for header, value in right.items()}
    if way == "allow_ips":
        wrong = {"X-Forwarded-For": "198.51.100.9"}
    assert _post(server, one, right_path if wrong else right_path[:-1], wrong) == 401
    assert len(server.rows()) == before + 1, "what is refused is stored nowhere"
