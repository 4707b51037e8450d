"""The signature of Twilio: over the URL that Twilio knows and the sorted parameters."""

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


def encode_form(pairs: list[tuple[str, str]]) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def twilio_signature(url: str, pairs: list[tuple[str, str]], token: str = TOKEN) -> str:
    """Return the signature after the documentation of Twilio: pairs sorted by name and value, without duplicates."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def post(server: ServerProcess, path: str, body: bytes, signature: str | None, **headers: str) -> int:
    fields: dict[str, str | None] = {"X_Hub_Signature_256": None, "Content_Type": FORM}
    fields |= {"X_Twilio_Signature": signature, **headers}
    return server.exchange(encode_post(body, path, **fields)).status


def post_as_twilio(server: ServerProcess, path: str, url: str, **headers: str) -> int:
    """Send the parameters to `path`, signed as Twilio does if it knows the endpoint as `url`."""
    return post(server, path, encode_form(PARAMETERS), twilio_signature(url, PARAMETERS), **headers)


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
    ("path", "url", "headers", "status"), [case[1:] for case in URLS], ids=[case[0] for case in URLS]
)
def test_the_signature_covers_the_url_that_twilio_knows(
    server: ServerProcess, path: str, url: str, headers: dict[str, str], status: int
) -> None:
    assert post_as_twilio(server, path, url, **headers) == status


def test_forwarded_headers_change_the_url_only_from_a_trusted_proxy(tmp_path: Path) -> None:
    with run_server(tmp_path, ENDPOINTS[0], server='trusted_proxies = ["203.0.113.1"]\n') as server:
        assert post_as_twilio(server, "/bare", "https://localhost/bare", **HTTPS) == 401
        assert post_as_twilio(server, "/bare", HERE, **HTTPS) == 200


@pytest.mark.parametrize(
    ("what", "signature", "status"),
    [
        ("the right token", twilio_signature(HERE, PARAMETERS), 200),
        ("the other token, while it is exchanged", twilio_signature(HERE, PARAMETERS, NEXT), 200),
        ("a wrong token", twilio_signature(HERE, PARAMETERS, "wrong"), 401),
        ("no signature", None, 401),
        ("an empty signature", "", 401),
        ("no base64", "not base64 at all", 401),
        ("a signature in other letters", twilio_signature(HERE, PARAMETERS).swapcase(), 401),
        ("more after the signature", twilio_signature(HERE, PARAMETERS) + "A", 401),
        ("bytes that are no text", "\udcff\udcfe", 401),
        ("the signature of other parameters", twilio_signature(HERE, PARAMETERS[1:]), 401),
        ("the signature of nothing", twilio_signature(HERE, []), 401),
    ],
)
def test_a_wrong_signature_is_rejected(
    server: ServerProcess, what: str, signature: str | None, status: int
) -> None:
    assert post(server, "/bare", encode_form(PARAMETERS), signature) == status


def test_a_flipped_byte_in_the_body_is_rejected(server: ServerProcess) -> None:
    body = encode_form(PARAMETERS)
    signature = twilio_signature(HERE, PARAMETERS)
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
def test_decoded_and_sorted_parameters_are_signed(
    server: ServerProcess, pairs: list[tuple[str, str]]
) -> None:
    before = len(server.bodies())
    assert post(server, "/bare", encode_form(pairs), twilio_signature(HERE, pairs)) == 200
    assert server.bodies()[before:] == [encode_form(pairs)]  # byte for byte


def test_a_form_with_too_many_parameters_is_rejected(server: ServerProcess) -> None:
    body = b"&".join(b"a=%d" % i for i in range(MAX_PARAMETERS + 1))
    pairs = [("a", str(i)) for i in range(MAX_PARAMETERS + 1)]
    assert post(server, "/bare", body, twilio_signature(HERE, pairs)) == 401
    assert post(server, "/bare", body.rpartition(b"&")[0], twilio_signature(HERE, pairs[:-1])) == 200


def test_json_is_signed_by_its_hash_in_the_url(server: ServerProcess) -> None:
    body = b'{"property": "value", "boolean": true}'
    path = f"/bare?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = twilio_signature(f"http://localhost{path}", [])
    assert post(server, path, body, signature, Content_Type="application/json") == 200
    assert post(server, path, body + b" ", signature, Content_Type="application/json") == 401
    assert (
        post(server, path, b"a=b", signature) == 401
    )  # the parameters of a form are signed even if the URL has a hash
    assert post(server, "/bare", body, twilio_signature(HERE, []), Content_Type="application/json") == 401


def test_a_published_signature_is_accepted() -> None:
    """The example in the tests of the official Twilio libraries."""
    pairs = [("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675309"), ("Digits", "1234")]
    pairs += [("From", "+14158675309"), ("To", "+18005551212")]
    endpoint = Endpoint.model_validate(
        {"name": "t", "provider": "twilio", "path": "/t", "twilio_auth_tokens": ["12345"]},
        context={"secrets": True},
    )
    headers = {"X-Twilio-Signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "Content-Type": FORM}
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert Authentication(endpoint).body(headers, encode_form(pairs), url)
    assert not Authentication(endpoint).body(headers, encode_form(pairs), url + "2")


def test_the_response_is_empty_twiml(server: ServerProcess) -> None:
    body = encode_form(PARAMETERS)
    answer = server.exchange(
        encode_post(body, "/bare", X_Twilio_Signature=twilio_signature(HERE, PARAMETERS), Content_Type=FORM)
    )
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "text/xml", b"<Response/>")


def test_neither_tokens_nor_signatures_are_logged(server: ServerProcess) -> None:
    post(server, "/bare", encode_form(PARAMETERS), twilio_signature(HERE, PARAMETERS, "wrong"))
    assert TOKEN not in server.log()
    assert twilio_signature(HERE, PARAMETERS, "wrong") not in server.log()


def test_the_signature_is_stored_with_the_notification(server: ServerProcess) -> None:
    post_as_twilio(server, "/bare", HERE)
    (headers,) = server.rows("headers")[-1]
    assert twilio_signature(HERE, PARAMETERS) in headers


@pytest.mark.parametrize(
    "url", ["hooks.example.com/t", "https://user:pw@example.com/t", "https://example.com", "/t", ""]
)
def test_public_url_must_be_an_absolute_url(url: str) -> None:
    settings = {
        "name": "t",
        "provider": "twilio",
        "path": "/t",
        "twilio_auth_tokens": ["12345"],
        "public_url": url,
    }
    with pytest.raises(ValueError, match="expected the whole URL"):
        Endpoint.model_validate(settings)
