"""The URL to which a simulated campaign is sent, and the credentials of its requests."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from gatherer.config import Configuration, Endpoint
from gatherer.model.errors import ConfigurationError
from gatherer.providers.signatures import HUB_SECRETS

# A server that listens at all addresses is reached at the loopback address.
_ALL_ADDRESSES: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}  # noqa: S104


@dataclasses.dataclass(frozen=True, kw_only=True)
class Destination:
    """A URL, and the credentials of every request to it."""

    url: str
    app_secret: str | None = None  # signs the body
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The URL for messages: without its path and user, which may hold a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def of_url(url: str) -> Destination:
    """Return the destination `url`.

    Raises:
        ConfigurationError: `url` is not the URL of a web server.

    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError("--url must be a whole URL, as in http://127.0.0.1:8080/webhook/whatsapp")
    if parts.username is None:
        return Destination(url=url)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Destination(url=url, headers={"Authorization": _basic(credentials)})


def of_endpoint(configuration: Configuration, name: str, url: str | None = None) -> Destination:
    """Return the destination for the endpoint `name`.

    Args:
        configuration: that of `gatherer serve`, loaded with its secrets.
        name: of the endpoint.
        url: another URL of the endpoint, such as that of a web server in front.

    Raises:
        ConfigurationError: there is no such endpoint, or its port is not known.

    """
    endpoint = next((endpoint for endpoint in configuration.endpoint if endpoint.name == name), None)
    if endpoint is None:
        names = ", ".join(endpoint.name for endpoint in configuration.endpoint) or "none"
        raise ConfigurationError(f"the configuration has no endpoint {name!r}; it has: {names}")
    if endpoint.sns is not None or endpoint.unwrap is not None:
        raise ConfigurationError(
            f"the endpoint {name!r} is behind a relay (sns, unwrap), and takes no requests of the provider itself"
        )
    if url is None:
        server = configuration.server
        if server.port == 0:
            raise ConfigurationError(
                "the server chooses its port when it starts (port = 0): give its address with --url"
            )
        host = _ALL_ADDRESSES.get(server.host, server.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}{endpoint.url_path}"
    return dataclasses.replace(
        of_url(url),
        app_secret=next((secret.reveal() for secret in endpoint.secrets.get(HUB_SECRETS, ())), None),
        headers=_headers(endpoint),
    )


def with_credentials(
    destination: Destination,
    *,
    app_secret: str | None = None,
    bearer_token: str | None = None,
    basic: str | None = None,
    headers: tuple[str, ...] = (),
) -> Destination:
    """Return `destination` with credentials from the command line: `basic` as user:password, `headers` as name:value.

    Raises:
        ConfigurationError: `basic` or a header does not have that form.

    """
    all_headers = dict(destination.headers)
    if bearer_token is not None:
        all_headers["Authorization"] = f"Bearer {bearer_token}"
    if basic is not None:
        if ":" not in basic:
            raise ConfigurationError("--basic must be USER:PASSWORD")
        all_headers["Authorization"] = _basic(basic)
    for header in headers:
        name, colon, value = header.partition(":")
        if not (colon and name.strip() and header.isprintable()):
            raise ConfigurationError("--header must be NAME:VALUE, without line breaks")
        all_headers[name.strip()] = value.strip()
    return dataclasses.replace(
        destination, headers=all_headers, app_secret=app_secret or destination.app_secret
    )


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {}
    if endpoint.bearer_tokens:
        headers["Authorization"] = f"Bearer {endpoint.bearer_tokens[0].reveal()}"
    if endpoint.basic:
        headers["Authorization"] = _basic(f"{endpoint.basic.user}:{endpoint.basic.password.reveal()}")
    if endpoint.api_key:
        headers[endpoint.api_key.header] = endpoint.api_key.value.reveal()
    return headers


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode("ascii")
