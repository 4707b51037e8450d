"""What is allowed in a configuration, and still unwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from gatherer.config import Configuration, Server
from gatherer.config.messages import with_home
from gatherer.config.secret import Secret
from gatherer.files import permissions

if TYPE_CHECKING:
    pass
import ipaddress
import os
import stat
from collections.abc import Iterable

from gatherer.config import Endpoint, OfferedInbox, SQLServerTarget
from gatherer.server.http import certificate

SHORTEST_SECRET: Final = 16
PLACEHOLDER: Final = "CHANGE-ME"


def warnings(configuration: Configuration, path: Path) -> list[str]:
    """Return one line for each thing in `configuration` that deserves a second thought.

    `configuration` was loaded from `path` with its secrets.
    """
    found = []
    if not configuration.endpoint:
        found.append("there is no [[endpoint]]: `gatherer serve` has nothing to receive at")
    for i, endpoint in enumerate(configuration.endpoint):
        found += [f"endpoint[{i}] {endpoint.name}: {problem}" for problem in _about(endpoint)]
    for section, key, secret in _beside_endpoints(configuration):
        found += [f"{section}: {problem}" for problem in _about_secrets([(key, secret)])]
    host = configuration.server.host
    if not _is_loopback(host) and configuration.server.tls_certificate is None:
        found.append(
            f"server.host: {host} is reachable from other machines, and what is sent to it is not encrypted; "
            "providers need TLS: set tls_certificate and tls_key, or let a web server on this machine pass requests on"
        )
    found += _about_tls(configuration.server)
    for network in configuration.server.trusted_proxies:
        if network.num_addresses > 2**16:
            found.append(f"server.trusted_proxies: {network} lets many machines claim any sender's address")
    if isinstance(configuration.target, SQLServerTarget):
        found += _about_target(configuration.target)
    if os.name == "posix" and _readable_by_all(path) and any(_written_down(configuration)):
        found.append(
            f"{path} has secrets in it and can be read by every account: chmod 600, or 640 with a group"
        )
    return found


def _about_tls(server: Server) -> Iterator[str]:
    if server.tls_certificate is not None:
        warning = certificate.state(server.tls_certificate)["warning"]
        if warning is not None:
            yield f"server.tls_certificate: {warning}"
    if server.client_ca is not None and not server.client_names:
        yield (
            "server.client_names: without names, every certificate that client_ca has issued lets its owner in: "
            "right for an authority of your own, wrong for a public one"
        )


def _about(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.unauthenticated:
        yield "it is unauthenticated: anybody who finds the URL can post to it"
    if endpoint.verify_token is None and endpoint.provider == "meta":
        yield "without a verify_token Meta cannot register this URL; somebody who forwards Meta's posts can use it"
    yield from _about_secrets(_secrets(endpoint))


def _about_secrets(secrets: Iterable[tuple[str, Secret]]) -> Iterator[str]:
    for name, secret in secrets:
        value = secret.reveal()
        if PLACEHOLDER in value:
            yield f"{name} is still the example's: replace it"
        elif len(value) < SHORTEST_SECRET and name not in ("verify_token", "basic.password"):
            yield f"{name} is short: {SHORTEST_SECRET} characters or more are hard to guess"


def _beside_endpoints(configuration: Configuration) -> Iterator[tuple[str, str, Secret]]:
    """Yield the section, the key and the secret of whatever goes between machines, and of what erases people."""
    if configuration.pull is not None:
        for name in ("tokens", "admin_tokens"):
            tokens: list[Secret] = getattr(configuration.pull, name)
            yield from (("pull", f"{name}[{i}]", token) for i, token in enumerate(tokens))
    for name, inbox in configuration.named_inboxes.items():
        if isinstance(inbox, OfferedInbox):
            yield f"inbox {name}", "token", inbox.token
            if inbox.admin_token is not None:
                yield f"inbox {name}", "admin_token", inbox.admin_token
    if configuration.privacy.key is not None:
        yield "privacy", "key", configuration.privacy.key


def _about_target(target: SQLServerTarget) -> Iterator[str]:
    if target.trust_server_certificate:
        yield "target.trust_server_certificate: whoever is in the network in between can be that server"
    if target.encrypt is False:
        yield "target.encrypt: what people wrote, and the password, can be read by whoever is in the network in between"


def _secrets(endpoint: Endpoint) -> Iterator[tuple[str, Secret]]:
    single: dict[str, Secret | None] = {
        "verify_token": endpoint.verify_token,
        "url_key": endpoint.url_key,
        "basic.password": endpoint.basic.password if endpoint.basic else None,
        "api_key.value": endpoint.api_key.value if endpoint.api_key else None,
    }
    yield from ((name, secret) for name, secret in single.items() if secret is not None)
    for name in ("app_secrets", "twilio_auth_tokens", "bearer_tokens"):
        several: list[Secret] = getattr(endpoint, name)
        yield from ((f"{name}[{i}]", secret) for i, secret in enumerate(several))


def _written_down(configuration: Configuration) -> Iterator[bool]:
    if configuration.server.tls_key_password is not None:
        yield configuration.server.tls_key_password.is_written_down
    for endpoint in configuration.endpoint:
        yield from (secret.is_written_down for _, secret in _secrets(endpoint))
    yield from (secret.is_written_down for _, _, secret in _beside_endpoints(configuration))
    if isinstance(configuration.target, SQLServerTarget):
        given = (configuration.target.connection, configuration.target.password)
        yield from (secret.is_written_down for secret in given if secret is not None)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _readable_by_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def exposed_files(configuration: Configuration, path: Path) -> list[str]:
    """Return a line for each file of the web server that every account can read or change, and must not.

    `configuration` was read from `path`. It is only told, also where it is grave: whoever does not start receives
    nothing, and some file systems give every file to everybody.
    """
    from gatherer.inbox import quarantine

    secrets = list(_all_secrets(configuration))
    private, public = [], [path]
    for kept in (configuration.inbox.path, quarantine.path_of(configuration.inbox.path)):
        private += [kept, *(kept.with_name(kept.name + suffix) for suffix in ("-wal", "-shm"))]
    for part in (configuration.server, configuration.pull):
        if part is not None and part.tls_key is not None and part.tls_certificate is not None:
            private.append(part.tls_key)
            public.append(part.tls_certificate)
    if configuration.server.client_ca is not None:  # whoever changes it decides who comes in
        public.append(configuration.server.client_ca)
    private += [Path(path.absolute().parent, with_home(one.file)) for one in secrets if one.file is not None]
    if any(one.is_written_down for one in secrets):
        private.append(path)
        public.remove(path)
    found = [
        problem for one in dict.fromkeys(public) for problem in permissions.problems(one, public=True)
    ]
    return found + [problem for one in dict.fromkeys(private) for problem in permissions.problems(one)]


def _all_secrets(part: object) -> Iterator[Secret]:
    """Yield every secret in a part of the configuration."""
    if isinstance(part, Secret):
        yield part
    elif isinstance(part, BaseModel):
        for _, inside in part:
            yield from _all_secrets(inside)
    elif isinstance(part, list):
        for inside in part:
            yield from _all_secrets(inside)
