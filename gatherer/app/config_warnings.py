"""Warnings about a valid configuration: settings that are allowed, but insecure or incomplete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gatherer import providers
from gatherer.config import Configuration, Endpoint, Inbox, Server, SQLServerTarget
from gatherer.config.base import is_loopback
from gatherer.config.messages import key_path, with_home
from gatherer.config.secret import secrets_in
from gatherer.files import permissions
from gatherer.model.errors import ConfigurationError
from gatherer.providers import mapped_json
from gatherer.server.http import certificate

SHORTEST_SECRET: Final = 16  # characters
PLACEHOLDER: Final = "CHANGE-ME"
# Secrets that a client cannot guess by sending requests to `serve`, or that another system checks.
_MAY_BE_SHORT: Final = frozenset(
    [
        "endpoint.verify_token",
        "endpoint.basic.password",
        "server.tls_key_password",
        "target.connection",
        "target.password",
    ]
)


def warnings(configuration: Configuration, path: Path) -> list[str]:
    """Return one line for each setting in `configuration` that the operator should reconsider.

    Args:
        configuration: loaded with its secrets.
        path: the file that it was loaded from.

    """
    lines = []
    if not configuration.endpoint:
        lines.append("there is no [[endpoint]]: `gatherer serve` has nothing to receive at")
    for i, endpoint in enumerate(configuration.endpoint):
        lines += [f"endpoint[{i}] {endpoint.name}: {problem}" for problem in _about_endpoint(endpoint)]
    lines += _about_secrets(configuration)
    lines += _about_server(configuration.server)
    if isinstance(configuration.target, SQLServerTarget):
        lines += _about_target(configuration.target)
    lines += _about_steps(configuration)
    return lines + exposed_files(configuration, path)


def exposed_files(configuration: Configuration, path: Path) -> list[str]:
    """Return a line for each configured file that every account of this machine can read or change, and must not.

    These are warnings, never errors: a server that does not start receives nothing, and on some file systems
    every account can read every file.

    Args:
        configuration: with or without its secrets.
        path: the file that it was loaded from.

    """
    from gatherer.inbox import quarantine

    private: list[Path] = []
    public: list[Path] = []
    for inbox in configuration.named_inboxes.values():
        if isinstance(inbox, Inbox):
            for database in (inbox.path, quarantine.path_of(inbox.path)):
                private += [database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm")]
    for listener in (configuration.server, configuration.pull):
        if listener is not None and listener.tls_key is not None and listener.tls_certificate is not None:
            private.append(listener.tls_key)
            public.append(listener.tls_certificate)
    if configuration.server.client_ca is not None:  # it decides which clients can connect
        public.append(configuration.server.client_ca)
    secrets = [secret for _, secret in secrets_in(configuration)]
    private += [path.absolute().parent / with_home(secret.file) for secret in secrets if secret.file]
    (private if any(secret.is_written_down for secret in secrets) else public).append(path)
    return [
        *(problem for file in dict.fromkeys(public) for problem in permissions.problems(file, public=True)),
        *(problem for file in dict.fromkeys(private) for problem in permissions.problems(file)),
    ]


def _about_steps(configuration: Configuration) -> Iterator[str]:
    """Yield what will make the exports of `[[after_run]]` fail, each time."""
    from gatherer.app.export import ExportOptions, check
    from gatherer.app.output_path import dated_file

    for step in configuration.after_run:
        if step.export is None:
            continue
        values = step.export.model_dump()
        try:
            check(ExportOptions(kinds=tuple(values.pop("kind")), **values), configuration.target)
            path = dated_file("output", step.export.output)
        except ConfigurationError as error:
            yield f"after_run {step.name}: {error}"
            continue
        if not path.parent.is_dir():
            yield f"after_run {step.name}: there is no folder {path.parent}: create it, or correct the path"
        if path == step.export.output:
            yield (
                f"after_run {step.name}: the name of the file has no time, as in %Y%m%d_%H%M%S: the export fails "
                "as long as the last file is there"
            )


def _about_endpoint(endpoint: Endpoint) -> Iterator[str]:
    if endpoint.unauthenticated:
        yield "it is unauthenticated: every client that finds the URL can send requests to it"
    if endpoint.provider == mapped_json.NAME and endpoint.mapping is None:
        yield (
            "it has no mapping: `gatherer serve` needs none, but `gatherer gather` rejects its notifications until its "
            "configuration, on the machine that gathers, has one"
        )
    if endpoint.sns is not None and endpoint.unwrap is None:
        yield (
            "it has sns but no unwrap: `gatherer gather` rejects the messages of SNS, unless its configuration has "
            'one, such as unwrap = "/Message/whatsAppWebhookEntry"'
        )
    if endpoint.unwrap is not None and endpoint.unwrap_headers is None and any(endpoint.secrets.values()):
        yield (
            "it has unwrap and checks a signature over the whole body: if the provider has signed what is in the "
            "wrapper, set unwrap_headers"
        )
    provider = providers.get(endpoint.provider)
    is_relayed = endpoint.unwrap is not None or endpoint.sns is not None
    if provider.verifies_url and endpoint.verify_token is None and not is_relayed:
        yield (
            f"without a verify_token, {provider.title} cannot register this URL: "
            "only a service that forwards its requests can use it"
        )


def _about_secrets(configuration: Configuration) -> Iterator[str]:
    for path, secret in secrets_in(configuration):
        value = secret.reveal()
        kind = ".".join(part for part in path if isinstance(part, str))
        if PLACEHOLDER in value:
            yield f"{key_path(path)} is still the placeholder of the example: replace it"
        elif len(value) < SHORTEST_SECRET and kind not in _MAY_BE_SHORT:
            yield f"{key_path(path)} is short: {SHORTEST_SECRET} characters or more are hard to guess"


def _about_server(server: Server) -> Iterator[str]:
    if not is_loopback(server.host) and server.tls_certificate is None:
        yield (
            f"server.host: other machines can reach {server.host}, and their requests are not encrypted; "
            "providers need TLS: set tls_certificate and tls_key, or put a web server in front on this machine"
        )
    if server.tls_certificate is not None:
        warning = certificate.state(server.tls_certificate)["warning"]
        if warning is not None:
            yield f"server.tls_certificate: {warning}"
    if server.client_ca is not None and not server.client_names:
        yield (
            "server.client_names: without names, every client with a certificate issued by client_ca can connect: "
            "right for a private certificate authority, wrong for a public one"
        )
    for network in server.trusted_proxies:
        if network.num_addresses > 2**16:
            yield f"server.trusted_proxies: {network} lets many machines claim the address of any client"


def _about_target(target: SQLServerTarget) -> Iterator[str]:
    if target.trust_server_certificate:
        yield "target.trust_server_certificate: any machine on the network path can pretend to be the server"
    if target.encrypt is False:
        yield "target.encrypt: any machine on the network path can read the password and what people wrote"
