"""Who may post to an endpoint: every configured way must pass, each compared in constant time."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from gatherer.config import Endpoint
from gatherer.server.webhook.proxy_headers import belongs


class Headers(Protocol):
    """Case-insensitive request headers."""

    def get(self, name: str, /) -> str | None:
        """Return the value of the header `name`."""


HeaderCheck = Callable[[Headers, str], bool]  # of the headers and the sender's address
BodyCheck = Callable[[Headers, bytes, str], bool]  # of the headers, the raw body, and the URL asked for

MAX_PARAMETERS: Final = 1000  # of a signed form; Twilio posts a few dozen
_PORT: Final = re.compile(r":\d+\Z")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class Authentication:
    """What a post to one endpoint has to prove."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the checks that `endpoint` asks for; its secrets must have been loaded."""
        self._url_key = endpoint.url_key.reveal().encode() if endpoint.url_key else None
        self._verify_token = endpoint.verify_token.reveal().encode() if endpoint.verify_token else None
        self._header_checks: list[HeaderCheck] = []
        self._body_checks: list[BodyCheck] = []
        if endpoint.allow_ips:
            networks = tuple(endpoint.allow_ips)
            self._header_checks.append(lambda _, sender: belongs(sender, networks))
        if endpoint.bearer_tokens:
            self._header_checks.append(_bearer([token.reveal() for token in endpoint.bearer_tokens]))
        if endpoint.basic:
            self._header_checks.append(_basic(endpoint.basic.user, endpoint.basic.password.reveal()))
        if endpoint.api_key:
            self._header_checks.append(_api_key(endpoint.api_key.header, endpoint.api_key.value.reveal()))
        if endpoint.app_secrets:
            self._body_checks.append(_hub_signature([secret.reveal() for secret in endpoint.app_secrets]))
        if endpoint.twilio_auth_tokens:
            self._body_checks.append(_twilio_signature(endpoint))

    @property
    def has_handshake(self) -> bool:
        """Whether the endpoint answers Meta's GET handshake."""
        return self._verify_token is not None

    def url(self, rest: str) -> bool:
        """Tell whether `rest`, what follows the endpoint's path in the URL, is the configured key."""
        if self._url_key is None:
            return rest == ""
        return hmac.compare_digest(rest.encode("utf-8", "replace"), b"/" + self._url_key)

    def headers(self, headers: Headers, sender: str) -> bool:
        """Tell whether the headers of a post from the address `sender` pass."""
        return all([check(headers, sender) for check in self._header_checks])

    def body(self, headers: Headers, body: bytes, url: str) -> bool:
        """Tell whether the signature in `headers` belongs to `body`, the bytes as received at `url`."""
        return all([check(headers, body, url) for check in self._body_checks])

    def handshake(self, query: Mapping[str, str]) -> bool:
        """Tell whether `query` is a handshake with the right verify token."""
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        return (
            self._verify_token is not None
            and query.get("hub.mode") == "subscribe"
            and hmac.compare_digest(token, self._verify_token)
        )


def _equals_any(given: bytes, wanted: list[bytes]) -> bool:
    return any([hmac.compare_digest(given, one) for one in wanted])


def _bearer(tokens: list[str]) -> HeaderCheck:
    wanted = [token.encode() for token in tokens]

    def check(headers: Headers, _sender: str) -> bool:
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        return _equals_any(_bytes(token.strip()), wanted) and scheme.lower() == "bearer"

    return check


def _basic(user: str, password: str) -> HeaderCheck:
    wanted = f"{user}:{password}".encode()

    def check(headers: Headers, _sender: str) -> bool:
        scheme, _, encoded = (headers.get("Authorization") or "").partition(" ")
        try:
            given = base64.b64decode(_bytes(encoded.strip()), validate=True)
        except binascii.Error:
            given = b""
        return hmac.compare_digest(given, wanted) and scheme.lower() == "basic"

    return check


def _api_key(header: str, value: str) -> HeaderCheck:
    wanted = value.encode()
    return lambda headers, _sender: hmac.compare_digest(_bytes(headers.get(header) or ""), wanted)


def _hub_signature(secrets: list[str]) -> BodyCheck:
    """Return the check of `X-Hub-Signature-256`: HMAC-SHA256 of the raw body, with any of `secrets`."""
    # Copied for each body: hmac.digest lets go of Python's lock, and the writer does not give it back soon.
    keyed = [hmac.new(secret.encode(), digestmod=hashlib.sha256) for secret in secrets]

    def signature(key: hmac.HMAC, body: bytes) -> bytes:
        mac = key.copy()
        mac.update(body)
        return b"sha256=" + mac.hexdigest().encode()

    def check(headers: Headers, body: bytes, _url: str) -> bool:
        given = _bytes(headers.get("X-Hub-Signature-256") or "").lower()  # as some relays send upper case
        return _equals_any(given, [signature(key, body) for key in keyed])

    return check


def _twilio_signature(endpoint: Endpoint) -> BodyCheck:
    """Return the check of `X-Twilio-Signature`: HMAC-SHA1 of URL and parameters, with any of the Auth Tokens.

    https://www.twilio.com/docs/usage/webhooks/webhooks-security, and what Twilio's own libraries do beyond it:
    each different value of a repeated parameter counts once, and the URL may or may not name its port. Where
    Twilio posts something else than a form, the URL carries the body's hash in its place.
    """
    keys = [token.reveal().encode() for token in endpoint.twilio_auth_tokens]
    url_key = endpoint.url_key.reveal() if endpoint.url_key else None
    basic = f"{endpoint.basic.user}:{endpoint.basic.password.reveal()}@" if endpoint.basic else ""

    def check(headers: Headers, body: bytes, url: str) -> bool:
        given = headers.get("X-Twilio-Signature")
        if not given:
            return False
        form = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        claimed = re.search(r"[?&]bodySHA256=([0-9A-Fa-f]{64})(?:&|\Z)", url)
        if claimed and form != "application/x-www-form-urlencoded":
            parameters: bytes | None = b""
            intact = hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed[1].lower())
        else:
            parameters = _sorted_parameters(body)
            intact = parameters is not None
        wanted = [
            base64.b64encode(hmac.digest(key, _bytes(signed) + (parameters or b""), hashlib.sha1))
            for signed in _spellings(_public(url, endpoint.public_url, url_key), basic)
            for key in keys
        ]
        return _equals_any(_bytes(given), wanted) and intact

    return check


def _sorted_parameters(body: bytes) -> bytes | None:
    """Return the names and values of a form as Twilio signs them; None if there are absurdly many."""
    fields = body.split(b"&", MAX_PARAMETERS)
    if len(fields) > MAX_PARAMETERS:
        return None
    halves = (field.replace(b"+", b" ").partition(b"=") for field in fields)
    pairs = {(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in halves}
    return b"".join(name + value for name, value in sorted(pairs))


def _public(asked: str, public_url: str | None, url_key: str | None) -> str:
    """Return the URL that the provider knows: `public_url`, with the key and the query that were asked for."""
    if public_url is None:
        return asked
    base, _, query = public_url.partition("#")[0].partition("?")
    query = asked.partition("?")[2] or query
    if url_key is not None and not base.endswith(f"/{url_key}"):
        base += f"/{url_key}"
    return f"{base}?{query}" if query else base


def _spellings(url: str, basic: str) -> list[str]:
    """Return `url` with and without its port, and with user and password (`basic`) where there are some."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = _PORT.sub("", authority)
    authorities = dict.fromkeys((authority, host, host + _DEFAULT_PORTS.get(scheme, "")))
    users = dict.fromkeys(("", basic))
    return [f"{scheme}://{user}{one}{slash}{path}" for user in users for one in authorities]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
