"""A request is accepted only if every configured authentication method passes, on the raw bytes."""

import base64
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatherer.server.webhook.proxy_headers import sender
from tests.server_process import ENDPOINT, OPEN, PATH, ServerProcess, encode_post, run_server, signature

BODY = b'{"entry":[]}'
KEY = "url-key_0123456789"
PASSWORD = "p\u00e4ss:word"


def _endpoint(name: str, *settings: str) -> str:
    return "\n".join((f'name = "{name}"', 'provider = "meta"', f'path = "/{name}"', *settings, ""))


ENDPOINTS = (
    ENDPOINT,
    OPEN,
    _endpoint("two", 'app_secrets = ["new", "old"]'),
    _endpoint("bearer", 'bearer_tokens = ["token-1", "token-2"]'),
    _endpoint("basic", f'basic = {{ user = "meta", password = "{PASSWORD}" }}'),
    _endpoint("api", 'api_key = { header = "X-Api-Key", value = "the-value" }'),
    _endpoint("url", f'url_key = "{KEY}"'),
    _endpoint("ips", 'allow_ips = ["203.0.113.0/24", "2001:db8::/32"]'),
    _endpoint(
        "all",
        'app_secrets = ["new"]',
        'bearer_tokens = ["token-1"]',
        'api_key = { header = "X-Api-Key", value = "the-value" }',
        f'url_key = "{KEY}"',
        'allow_ips = ["203.0.113.0/24"]',
    ),
)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


NONE = {"X-Hub-Signature-256": None}
GOOD = signature(BODY, "new")
ALL = {
    "X-Hub-Signature-256": GOOD,
    "Authorization": "Bearer token-1",
    "X-Api-Key": "the-value",
    "X-Forwarded-For": "203.0.113.9",
}
TABLE = [
    # app_secrets: the forms of the signature
    ("right signature", PATH, {}, 200),
    ("no signature", PATH, NONE, 401),
    ("empty signature", PATH, {"X-Hub-Signature-256": ""}, 401),
    ("of another secret", PATH, {"X-Hub-Signature-256": signature(BODY, "other")}, 401),
    ("of another body", PATH, {"X-Hub-Signature-256": signature(BODY + b" ")}, 401),
    ("without prefix", PATH, {"X-Hub-Signature-256": signature(BODY)[7:]}, 401),
    ("other prefix", PATH, {"X-Hub-Signature-256": "sha1=" + signature(BODY)[7:]}, 401),
    ("hex in upper case", PATH, {"X-Hub-Signature-256": "sha256=" + signature(BODY)[7:].upper()}, 200),
    ("too short", PATH, {"X-Hub-Signature-256": signature(BODY)[:-1]}, 401),
    ("too long", PATH, {"X-Hub-Signature-256": signature(BODY) + "0"}, 401),
    ("not hex", PATH, {"X-Hub-Signature-256": "sha256=" + "g" * 64}, 401),
    ("not ASCII", PATH, {"X-Hub-Signature-256": "sha256=" + "\udcff" * 64}, 401),
    ("SHA-1 only", PATH, NONE | {"X-Hub-Signature": "sha1=" + "0" * 40}, 401),
    # rotation
    ("new secret", "/two", {"X-Hub-Signature-256": signature(BODY, "new")}, 200),
    ("old secret", "/two", {"X-Hub-Signature-256": signature(BODY, "old")}, 200),
    ("neither secret", "/two", {"X-Hub-Signature-256": signature(BODY, "oldest")}, 401),
    # bearer
    ("first token", "/bearer", {"Authorization": "Bearer token-1"}, 200),
    ("second token", "/bearer", {"Authorization": "bearer  token-2"}, 200),
    ("wrong token", "/bearer", {"Authorization": "Bearer token-3"}, 401),
    ("token as another scheme", "/bearer", {"Authorization": "Basic token-1"}, 401),
    ("bare token", "/bearer", {"Authorization": "token-1"}, 401),
    ("no token", "/bearer", {}, 401),
    ("empty token", "/bearer", {"Authorization": "Bearer "}, 401),
    # basic
    ("user and password", "/basic", {"Authorization": _basic("meta", PASSWORD)}, 200),
    ("wrong password", "/basic", {"Authorization": _basic("meta", "password")}, 401),
    ("wrong user", "/basic", {"Authorization": _basic("mata", PASSWORD)}, 401),
    ("not base64", "/basic", {"Authorization": "Basic *"}, 401),
    ("no password", "/basic", {}, 401),
    # api_key
    ("right value", "/api", {"x-api-key": "the-value"}, 200),
    ("wrong value", "/api", {"X-Api-Key": "the-valu"}, 401),
    ("no value", "/api", {}, 401),
    # url_key
    ("right key", f"/url/{KEY}", {}, 200),
    ("right key and a query", f"/url/{KEY}?a=1", {}, 200),
    ("wrong key", f"/url/{KEY[:-1]}", {}, 401),
    ("key in upper case", f"/url/{KEY.upper()}", {}, 401),
    ("no key", "/url", {}, 401),
    ("empty key", "/url/", {}, 401),
    ("key and more", f"/url/{KEY}/", {}, 404),
    # allow_ips, behind the proxy 127.0.0.1
    ("allowed", "/ips", {"X-Forwarded-For": "203.0.113.9"}, 200),
    ("allowed, IPv6", "/ips", {"X-Forwarded-For": "2001:db8::1"}, 200),
    ("allowed, mapped to IPv6", "/ips", {"X-Forwarded-For": "::ffff:203.0.113.9"}, 200),
    ("allowed, with a port as IIS adds it", "/ips", {"X-Forwarded-For": "203.0.113.9:50123"}, 200),
    ("not allowed", "/ips", {"X-Forwarded-For": "203.0.114.9"}, 401),
    ("only claimed", "/ips", {"X-Forwarded-For": "203.0.113.9, 198.51.100.1"}, 401),
    ("nonsense", "/ips", {"X-Forwarded-For": "203.0.113.9, unknown"}, 401),
    ("the proxy itself", "/ips", {}, 401),
    # all methods together, and each method missing
    ("all methods", f"/all/{KEY}", ALL, 200),
    ("all but the signature", f"/all/{KEY}", ALL | {"X-Hub-Signature-256": signature(BODY, "x")}, 401),
    ("all but the token", f"/all/{KEY}", ALL | {"Authorization": "Bearer x"}, 401),
    ("all but the value", f"/all/{KEY}", ALL | {"X-Api-Key": "x"}, 401),
    ("all but the key", "/all/x", ALL, 401),
    ("all but the address", f"/all/{KEY}", ALL | {"X-Forwarded-For": "192.0.2.1"}, 401),
    # no authentication, declared by `unauthenticated`
    ("unauthenticated", "/open", NONE, 200),
    ("unknown path", "/", {}, 404),
    ("unknown path below", f"{PATH}/x", {}, 404),
    ("another case", PATH.upper(), {}, 404),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("serve"), *ENDPOINTS) as running:
        yield running


@pytest.mark.parametrize(("case", "path", "headers", "status"), TABLE, ids=[row[0] for row in TABLE])
def test_every_configured_method_must_pass(server, case, path, headers, status):
    before = len(server.rows("id"))
    answer = server.exchange(encode_post(BODY, path, **headers))
    assert answer.status == status
    assert len(server.rows("id")) == before + (status == 200)
    if status != 200:
        assert BODY not in answer.body
        assert answer.body.strip() in (
            b"Unauthorized",
            b"Not Found",
        )  # generic: the response does not say which check failed


def test_a_flipped_byte_in_the_body_is_rejected(server):
    signed = signature(BODY)
    for place in range(len(BODY)):
        flipped = bytearray(BODY)
        flipped[place] ^= 1
        assert server.post(bytes(flipped), X_Hub_Signature_256=signed).status == 401


def test_signatures_are_verified_on_the_raw_bytes(server):
    text = {"body": "\u00e9 \U0001f600 / @ <%"}
    escaped = json.dumps(text).replace("/", "\\/").encode()
    unescaped = json.dumps(text, ensure_ascii=False).encode()
    assert escaped != unescaped
    for body, other in ((escaped, unescaped), (unescaped, escaped)):
        assert server.post(body).status == 200
        assert server.bodies()[-1] == body
        assert server.post(body, X_Hub_Signature_256=signature(other)).status == 401


def test_the_last_forwarded_header_wins(server):
    forged = encode_post(BODY, "/ips", X_Forwarded_For="203.0.113.9")
    added = forged.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n", 1)
    assert server.exchange(forged).status == 200
    assert server.exchange(added).status == 401


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(tmp_path):
    with run_server(tmp_path, ENDPOINTS[7], OPEN, server="trusted_proxies = []") as untrusting:
        assert untrusting.post(BODY, "/ips", X_Forwarded_For="203.0.113.9").status == 401
        assert untrusting.post(BODY, "/open", X_Forwarded_For="203.0.113.9").status == 200
        assert untrusting.rows("remote") == [("127.0.0.1",)]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("10.0.0.1", ["fe80::1%\udcff"], "fe80::1"),
        ("10.0.0.1", ["203.0.113.9, garbage\udcff"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_the_client_is_the_last_address_reported_by_a_trusted_proxy(peer, forwarded, client):
    assert sender(peer, forwarded, (ipaddress.ip_network("10.0.0.0/8"),)) == client


def test_secrets_and_paths_are_not_logged(server):
    for path in (f"/url/{KEY}", f"/url/{KEY}x", f"/nowhere/{KEY}"):
        server.post(BODY, path, Authorization="Bearer token-1x", X_Api_Key="the-valuex")
    log = server.log()
    assert "401" in log
    for secret in (KEY, "token-1", "the-value", "app-secret", PASSWORD, "nowhere", BODY.decode()):
        assert secret not in log


def test_the_inbox_contains_no_credentials(server):
    assert server.post(BODY, "/bearer", Authorization="Bearer token-1").status == 200
    assert server.post(BODY, f"/url/{KEY}", X_Api_Key="the-value").status == 200
    content = b"".join(
        Path(f"{server.inbox}{suffix}").read_bytes()
        for suffix in ("", "-wal")
        if Path(f"{server.inbox}{suffix}").exists()
    )
    for secret in (b"token-1", KEY.encode(), b"the-value", b"Authorization"):
        assert secret not in content
