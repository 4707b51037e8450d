"""Twilio's signature: over the URL as Twilio knows it and the sorted parameters, checked on the raw bytes."""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from gatherer.config import Endpoint
from gatherer.providers.twilio import MAX_PARAMETERS
from gatherer.server.webhook.authentication import Authentication
from tests.server_process import ServerProcess, encode_post, run_server

TOKEN = "auth-token-0123456789"
NEXT = "auth-token-of-tomorrow"
KEY = "url-key_0123456789"
FORM = "application/x-www-form-urlencoded"
PARAMETERS = [
    ("MessageSid", "SM00000000000000000000000000000001"),
    ("To", "whatsapp:+447700900123"),
    ("Body", "où? 👍 a+b&c=d 100%"),
    ("ErrorCode", ""),
    ("AccountSid", "AC1"),
]


def _endpoint(name: str, *settings: str) -> str:
    return "\n".join((f'name = "{name}"', 'provider = "twilio"', f'path = "/{name}"', *settings, ""))


TOKENS = f'twilio_auth_tokens = ["{TOKEN}", "{NEXT}"]'
ENDPOINTS = (
    _endpoint("bare", TOKENS),
    _endpoint("public", TOKENS, 'public_url = "https://hooks.example.com/in/twilio"'),
    _endpoint("key", TOKENS, f'url_key = "{KEY}"'),
    _endpoint("public-key", TOKENS, f'url_key = "{KEY}"', 'public_url = "https://hooks.example.com/tw#rc=5"'),
    _endpoint("query", TOKENS, 'public_url = "https://hooks.example.com/q?site=1"'),
    _endpoint("basic", TOKENS, 'basic = { user = "tw", password = "pass-word" }'),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with run_server(tmp_path_factory.mktemp("twilio"), *ENDPOINTS) as running:
        yield running


def encoded(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def signed(url: str, pairs: list[tuple[str, str]], token: str = TOKEN) -> str:
    """Return the signature, written down from Twilio's page once more: by name, then by value, each pair once."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def post(server: ServerProcess, path: str, body: bytes, signature: str | None, **headers: str) -> int:
    fields: dict[str, str | None] = {"X_Hub_Signature_256": None, "Content_Type": FORM}
    fields |= {"X_Twilio_Signature": signature, **headers}
    return server.exchange(encode_post(body, path, **fields)).status


def sent(server: ServerProcess, path: str, url: str, **headers: str) -> int:
    """Post the parameters to `path` as Twilio would that knows the endpoint as `url`."""
    return post(server, path, encoded(PARAMETERS), signed(url, PARAMETERS), **headers)


HERE = "http://localhost/bare"
HTTPS = {"X_Forwarded_Proto": "https"}
HOSTED = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "hooks.example.com"}
URLS = [
    ("as it came in", "/bare", HERE, {}, 200),
    ("with its port, asked without", "/bare", "http://localhost:80/bare", {}, 200),
    ("without its port, asked with", "/bare", HERE, {"Host": "localhost:8080"}, 200),
    ("another path", "/bare", "http://localhost/other", {}, 401),
    ("another host", "/bare", "http://elsewhere/bare", {}, 401),
    ("https, but no proxy says so", "/bare", "https://localhost/bare", {}, 401),
    ("https behind a proxy", "/bare", "https://localhost/bare", HTTPS, 200),
    ("https with its port behind a proxy", "/bare", "https://localhost:443/bare", HTTPS, 200),
    ("http where the proxy says https", "/bare", HERE, HTTPS, 401),
    ("the host a proxy names", "/bare", "https://hooks.example.com/bare", HOSTED, 200),
    ("a query", "/bare?campaign=7&x=%C3%A9", f"{HERE}?campaign=7&x=%C3%A9", {}, 200),
    ("a query that was changed", "/bare?campaign=8", f"{HERE}?campaign=7", {}, 401),
    ("a query that was added", "/bare?campaign=7", HERE, {}, 401),
    ("public_url", "/public", "https://hooks.example.com/in/twilio", {}, 200),
    ("public_url, with headers of a proxy", "/public", "https://hooks.example.com/in/twilio", HOSTED, 200),
    ("public_url with its port", "/public", "https://hooks.example.com:443/in/twilio", {}, 200),
    ("public_url and a query", "/public?a=1", "https://hooks.example.com/in/twilio?a=1", {}, 200),
    ("the local URL instead of public_url", "/public", "http://localhost/public", {}, 401),
    ("a url_key in the path", f"/key/{KEY}", f"http://localhost/key/{KEY}", {}, 200),
    ("a url_key missing in the signature", f"/key/{KEY}", "http://localhost/key", {}, 401),
    ("a wrong url_key, rightly signed", "/key/wrong", "http://localhost/key/wrong", {}, 401),
    ("a url_key after public_url", f"/public-key/{KEY}", f"https://hooks.example.com/tw/{KEY}", {}, 200),
    ("the query of public_url, lost on the way", "/query", "https://hooks.example.com/q?site=1", {}, 200),
    ("the query of public_url", "/query?site=1", "https://hooks.example.com/q?site=1", {}, 200),
    ("another query than public_url's", "/query?site=2", "https://hooks.example.com/q?site=1", {}, 401),
    ("Basic, not in the URL", "/basic", "http://localhost/basic", {"Authorization": "Basic dHc6cGFzcy13b3Jk"}, 200),
    ("Basic in the URL", "/basic", "http://tw:pass-word@localhost/basic", {"Authorization": "Basic dHc6cGFzcy13b3Jk"}, 200),
    ("Basic in the URL alone", "/basic", "http://tw:pass-word@localhost/basic", {}, 401),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "url", "headers", "status"), [one[1:] for one in URLS], ids=[one[0] for one in URLS]
)
def test_the_signed_url_is_the_one_that_twilio_knows(
    server: ServerProcess, path: str, url: str, headers: dict[str, str], status: int
) -> None:
    assert sent(server, path, url, **headers) == status


def test_only_a_trusted_proxy_tells_the_url(tmp_path: Path) -> None:
    with run_server(tmp_path, ENDPOINTS[0], server='trusted_proxies = ["203.0.113.1"]\n') as server:
        assert sent(server, "/bare", "https://localhost/bare", **HTTPS) == 401
        assert sent(server, "/bare", HERE, **HTTPS) == 200


@pytest.mark.parametrize(
    ("what", "signature", "status"),
    [
        ("the right token", signed(HERE, PARAMETERS), 200),
        ("the other token, while it is exchanged", signed(HERE, PARAMETERS, NEXT), 200),
        ("a wrong token", signed(HERE, PARAMETERS, "wrong"), 401),
        ("no signature", None, 401),
        ("an empty signature", "", 401),
        ("no base64", "not base64 at all", 401),
        ("a signature in other letters", signed(HERE, PARAMETERS).swapcase(), 401),
        ("more after the signature", signed(HERE, PARAMETERS) + "A", 401),
        ("bytes that are no text", "\udcff\udcfe", 401),
        ("the signature of other parameters", signed(HERE, PARAMETERS[1:]), 401),
        ("the signature of nothing", signed(HERE, []), 401),
    ],
)
def test_the_signature_has_to_be_right(
    server: ServerProcess, what: str, signature: str | None, status: int
) -> None:
    assert post(server, "/bare", encoded(PARAMETERS), signature) == status


def test_every_flipped_byte_of_the_body_is_noticed(server: ServerProcess) -> None:
    body = encoded(PARAMETERS)
    signature = signed(HERE, PARAMETERS)
    for place in range(0, len(body), 7):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert post(server, "/bare", changed, signature) == 401, changed


@pytest.mark.parametrize(
    "pairs",
    [
        [("A", "1"), ("A", "2"), ("A", "1")],
        [("b", "2"), ("B", "1"), ("a", "3"), ("ab", ""), ("a", "bz")],
        [("Empty", ""), ("Body", ""), ("Z", "  spaces stay  ")],
        [("Körper", "Straße ß € 👍"), ("Line", "a\r\nb")],
        [],
    ],
    ids=[
        "repeated",
        "sorted by name, not by name and value together",
        "empty and blank",
        "non-ASCII",
        "none",
    ],
)
def test_parameters_are_signed_decoded_and_sorted(
    server: ServerProcess, pairs: list[tuple[str, str]]
) -> None:
    before = len(server.bodies())
    assert post(server, "/bare", encoded(pairs), signed(HERE, pairs)) == 200
    assert server.bodies()[before:] == [encoded(pairs)]  # byte for byte


def test_a_form_with_absurdly_many_parameters_is_refused_at_little_cost(server: ServerProcess) -> None:
    body = b"&".join(b"a=%d" % i for i in range(MAX_PARAMETERS + 1))
    pairs = [("a", str(i)) for i in range(MAX_PARAMETERS + 1)]
    assert post(server, "/bare", body, signed(HERE, pairs)) == 401
    assert post(server, "/bare", body.rpartition(b"&")[0], signed(HERE, pairs[:-1])) == 200


def test_json_is_signed_by_its_hash_in_the_url(server: ServerProcess) -> None:
    body = b'{"property": "value", "boolean": true}'
    path = f"/bare?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = signed(f"http://localhost{path}", [])
    assert post(server, path, body, signature, Content_Type="application/json") == 200
    assert post(server, path, body + b" ", signature, Content_Type="application/json") == 401
    assert (
        post(server, path, b"a=b", signature) == 401
    )  # of a form the parameters are signed, also if the URL has a hash
    assert post(server, "/bare", body, signed(HERE, []), Content_Type="application/json") == 401


def test_a_published_signature_is_accepted() -> None:
    """The example in the tests of Twilio's own libraries."""
    pairs = [("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675309"), ("Digits", "1234")]
    pairs += [("From", "+14158675309"), ("To", "+18005551212")]
    endpoint = Endpoint.model_validate(
        {"name": "t", "provider": "twilio", "path": "/t", "twilio_auth_tokens": ["12345"]},
        context={"secrets": True},
    )
    headers = {"X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "Content-Type": FORM}
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert Authentication(endpoint).body(headers, encoded(pairs), url)
    assert not Authentication(endpoint).body(headers, encoded(pairs), url + "2")


def test_the_answer_says_nothing_in_the_language_that_twilio_reads(server: ServerProcess) -> None:
    body = encoded(PARAMETERS)
    answer = server.exchange(
        encode_post(body, "/bare", X_Twilio_Signature=signed(HERE, PARAMETERS), Content_Type=FORM)
    )
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "text/xml", b"<Response/>")


def test_neither_tokens_nor_signatures_are_logged(server: ServerProcess) -> None:
    post(server, "/bare", encoded(PARAMETERS), signed(HERE, PARAMETERS, "wrong"))
    assert TOKEN not in server.log()
    assert signed(HERE, PARAMETERS, "wrong") not in server.log()


def test_the_signature_is_kept_with_the_notification(server: ServerProcess) -> None:
    sent(server, "/bare", HERE)
    (headers,) = server.rows("headers")[-1]
    assert signed(HERE, PARAMETERS) in headers


@pytest.mark.parametrize(
    "url", ["hooks.example.com/t", "https://user:pw@example.com/t", "https://example.com", "/t", ""]
)
def test_a_public_url_is_a_whole_url(url: str) -> None:
    settings = {
        "name": "t",
        "provider": "twilio",
        "path": "/t",
        "twilio_auth_tokens": ["12345"],
        "public_url": url,
    }
    with pytest.raises(ValueError, match="expected the whole URL"):
        Endpoint.model_validate(settings)
