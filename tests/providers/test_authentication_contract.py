"""The part of the contract that `serve` keeps: the requests of every provider, by every way to authenticate.

A provider that signs has one signed request in `tests/payloads/<provider>/signature.toml`: the name of the
payload, one secret for each name that the provider declares, and the headers of a request to
`http://x/<provider>/signature`.
"""

import base64
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from gatherer import providers
from tests.providers.cases import FOLDER, Case, cases
from tests.server_process import ServerProcess, encode_post, run_server

PROVIDERS = sorted(providers.BUILT_IN)
KEY = "url-key_0123456789"
SETTINGS = {
    "url_key": f'url_key = "{KEY}"',
    "bearer": 'bearer_tokens = ["token-0123456789"]',
    "basic": 'basic = { user = "sender", password = "pass-word" }',
    "api_key": 'api_key = { header = "X-Api-Key", value = "value-0123456789" }',
    "allow_ips": 'allow_ips = ["203.0.113.0/24"]',
}
HEADERS = {
    "url_key": {},
    "bearer": {"Authorization": "Bearer token-0123456789"},
    "basic": {"Authorization": "Basic " + base64.b64encode(b"sender:pass-word").decode()},
    "api_key": {"X-Api-Key": "value-0123456789"},
    "allow_ips": {"X-Forwarded-For": "203.0.113.9"},
}
SIGNING = [name for name in PROVIDERS if providers.get(name).secrets]
PAIRS = [(name, way) for name in PROVIDERS for way in SETTINGS] + [(name, "signature") for name in SIGNING]


def signed_request(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name / "signature.toml").read_text(encoding="utf-8"))


def _settings(name: str, way: str) -> str:
    if way != "signature":
        return SETTINGS[way]
    return "".join(f'{key} = ["{secret}"]\n' for key, secret in signed_request(name)["secrets"].items())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    endpoints = [
        f'name = "{name}-{way}"\nprovider = "{name}"\npath = "/{name}/{way}"\n{_settings(name, way)}\n'
        for name, way in PAIRS
    ]
    with run_server(tmp_path_factory.mktemp("contract"), *endpoints) as running:
        yield running


def _post(server: ServerProcess, payload: Case, path: str, headers: dict[str, str], more: bytes = b"") -> int:
    kind = "application/x-www-form-urlencoded" if payload.path.suffix == ".form" else "application/json"
    fields = {"X-Hub-Signature-256": None, "Content-Type": kind, "Host": "x", **headers}
    return server.exchange(encode_post(payload.body + more, path, **fields)).status


@pytest.mark.parametrize("name", SIGNING)
def test_a_provider_declares_what_it_documents(name: str) -> None:
    provider, request = providers.get(name), signed_request(name)
    assert set(request["secrets"]) == set(provider.secrets)
    assert set(request["headers"]) <= set(provider.signature_headers)
    for secret in provider.secrets:
        assert secret in provider.documentation
        assert secret in provider.authentication


@pytest.mark.parametrize(("name", "way"), PAIRS)
def test_the_requests_of_a_provider_are_accepted_with_the_right_proof_and_refused_with_any_other(
    server: ServerProcess, name: str, way: str
) -> None:
    path = f"/{name}/{way}"
    if way == "signature":
        request = signed_request(name)
        payload = next(case for case in cases(name) if case.path.name == request["payload"])
        right, right_path = request["headers"], path
    else:
        payload = cases(name)[0]
        right, right_path = HEADERS[way], f"{path}/{KEY}" if way == "url_key" else path
    before = len(server.rows())
    assert _post(server, payload, right_path, right) == 200
    assert server.rows("body, provider, endpoint")[before:] == [(payload.body, name, f"{name}-{way}")]
    assert _post(server, payload, path, {}) == 401
    wrong = {header: value[:-1] + ("0" if value[-1] != "0" else "1") for header, value in right.items()}
    if way == "allow_ips":
        wrong = {"X-Forwarded-For": "198.51.100.9"}
    assert _post(server, payload, right_path if wrong else right_path[:-1], wrong) == 401
    if way == "signature":
        assert _post(server, payload, right_path, right, more=b"&a=b") == 401, (
            "the signature is of another body"
        )
    assert len(server.rows()) == before + 1, "what is refused is stored nowhere"
