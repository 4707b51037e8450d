"""Authentication of the requests to an endpoint: all configured checks must pass, each in constant time."""

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping

from gatherer import providers
from gatherer.config import Endpoint
from gatherer.providers.signatures import BodyCheck, Headers, SignatureSettings, equals_any, header_bytes
from gatherer.server.webhook.proxy_headers import belongs

HeaderCheck = Callable[[Headers, str], bool]  # takes the headers and the address of the client


class Authentication:
    """The checks that a request to one endpoint has to pass."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Prepare the checks that `endpoint` configures.

        Raises:
            ConfigurationError: the configuration was loaded without its secrets.

        """
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
        signature = providers.get(endpoint.provider).signature
        settings = _signature_settings(endpoint)
        if signature is not None and settings.secrets:
            self._body_checks.append(_signature_check(endpoint, signature(settings)))

    @property
    def has_handshake(self) -> bool:
        """Whether the endpoint answers Meta's GET handshake."""
        return self._verify_token is not None

    def url(self, rest: str) -> bool:
        """Return whether `rest`, the part of the URL after the path of the endpoint, is the configured key."""
        if self._url_key is None:
            return rest == ""
        return hmac.compare_digest(rest.encode("utf-8", "replace"), b"/" + self._url_key)

    def headers(self, headers: Headers, sender: str) -> bool:
        """Return whether the headers of a request from the address `sender` pass all checks."""
        return all([check(headers, sender) for check in self._header_checks])

    def body(self, headers: Headers, body: bytes, url: str) -> bool:
        """Return whether `headers` have the signature of `body`, the bytes received at `url`."""
        return all([check(headers, body, url) for check in self._body_checks])

    def handshake(self, query: Mapping[str, str]) -> bool:
        """Return whether `query` is a handshake with the right verify token."""
        token = query.get("hub.verify_token", "").encode("utf-8", "replace")
        return (
            self._verify_token is not None
            and query.get("hub.mode") == "subscribe"
            and hmac.compare_digest(token, self._verify_token)
        )


def _signature_check(endpoint: Endpoint, check: BodyCheck) -> BodyCheck:
    """Return `check`, the check of a signature, for the bodies inside of the wrapper of `endpoint` if it has one."""
    if endpoint.unwrap is None or endpoint.unwrap_headers is None:
        return check
    from gatherer.providers.unwrap import unwrapping_check

    names = providers.get(endpoint.provider).signature_headers
    return unwrapping_check(check, endpoint.unwrap, endpoint.unwrap_headers, names)


def _signature_settings(endpoint: Endpoint) -> SignatureSettings:
    """Return the part of the configuration of `endpoint` that the signature check of its provider may need."""
    secrets = {name: [secret.reveal() for secret in values] for name, values in endpoint.secrets.items()}
    return SignatureSettings(
        secrets={name: values for name, values in secrets.items() if values},
        public_url=endpoint.public_url,
        url_key=endpoint.url_key.reveal() if endpoint.url_key else None,
        basic=f"{endpoint.basic.user}:{endpoint.basic.password.reveal()}" if endpoint.basic else None,
    )


def _bearer(tokens: list[str]) -> HeaderCheck:
    accepted = [token.encode() for token in tokens]

    def check(headers: Headers, _sender: str) -> bool:
        scheme, _, token = (headers.get("Authorization") or "").partition(" ")
        return equals_any(header_bytes(token.strip()), accepted) and scheme.lower() == "bearer"

    return check


def _basic(user: str, password: str) -> HeaderCheck:
    accepted = f"{user}:{password}".encode()

    def check(headers: Headers, _sender: str) -> bool:
        scheme, _, encoded = (headers.get("Authorization") or "").partition(" ")
        try:
            credentials = base64.b64decode(header_bytes(encoded.strip()), validate=True)
        except binascii.Error:
            credentials = b""
        return hmac.compare_digest(credentials, accepted) and scheme.lower() == "basic"

    return check


def _api_key(header: str, value: str) -> HeaderCheck:
    accepted = value.encode()
    return lambda headers, _sender: hmac.compare_digest(header_bytes(headers.get(header) or ""), accepted)
