"""The settings of the listeners, from the configuration: their TLS, and their limits."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer.config import Configuration, OfferedInbox, Pull, Server
from gatherer.model.errors import ConfigurationError

if TYPE_CHECKING:
    from gatherer.server.http.connection import ConnectionLimits
    from gatherer.server.http.tls import ServerTLS

log = logging.getLogger(__name__)

RESERVED_FILES: Final = 64  # open files for the inbox, the log and the certificates
ANSWER_BUFFER_BYTES: Final = 32_768  # answers to webhooks are short
FEWEST_CONNECTIONS: Final = 10


def server_tls(settings: Server) -> "ServerTLS | None":
    """Return the TLS settings of the listener; None if `settings` have no certificate: a proxy then ends TLS.

    Raises:
        ConfigurationError: the certificate or the key cannot be used.

    """
    from gatherer.server.http.tls import Files, ServerTLS

    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTLS(
        Files(
            certificate=settings.tls_certificate,
            key=settings.tls_key,
            key_password=settings.tls_key_password.reveal() if settings.tls_key_password else None,
            client_ca=settings.client_ca,
        )
    )


def pull_tls(settings: Pull) -> "ServerTLS | None":
    """Return the TLS settings of the pull listener; None if `settings` have no certificate: a proxy then ends TLS.

    Raises:
        ConfigurationError: the certificate or the key cannot be used.

    """
    from gatherer.server.http.tls import Files, ServerTLS

    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return ServerTLS(Files(certificate=settings.tls_certificate, key=settings.tls_key))


def tls_problems(configuration: Configuration) -> list[str]:
    """Return one line for each key of `configuration`, loaded with its secrets, whose certificate or key cannot be used."""
    files: dict[str, Path | None] = {}
    for section, settings in (("server", configuration.server), ("pull", configuration.pull)):
        for name in ("tls_certificate", "tls_key", "client_ca"):
            files[f"{section}.{name}"] = getattr(settings, name, None)
    if isinstance(configuration.inboxes, list):
        for i, inbox in enumerate(configuration.inboxes):
            files[f"inbox[{i}].ca"] = inbox.ca if isinstance(inbox, OfferedInbox) else None
    problems = [f"{key}: {problem}" for key, path in files.items() if path and (problem := _unreadable(path))]
    if problems:
        return problems
    try:
        section = "server"
        server_tls(configuration.server)
        section = "pull"
        if configuration.pull is not None:
            pull_tls(configuration.pull)
    except ConfigurationError as error:
        return [f"{section}.tls_certificate: {error}"]
    return []


def _unreadable(path: Path) -> str | None:
    """Return why the file at `path` cannot be read; None if it can."""
    try:
        path.open("rb").close()
    except OSError as error:
        return f"the file {path} cannot be read: {error.strerror or error}"
    return None


def limits_of(settings: Server) -> "ConnectionLimits":
    """Return the limits of the listener: as configured, but no more connections than this process can open."""
    from gatherer.server.http.connection import ConnectionLimits

    available = _max_open_files() - RESERVED_FILES
    if available < settings.max_connections:
        log.warning("server.max_connections: reduced to %d: this process cannot open more files", available)
    return ConnectionLimits(
        header_timeout_seconds=settings.header_timeout_seconds,
        keepalive_timeout_seconds=settings.keepalive_timeout_seconds,
        body_timeout_seconds=settings.body_timeout_seconds,
        max_header_bytes=settings.max_header_bytes,
        max_body_bytes=settings.max_body_bytes,
        max_arriving_bytes=settings.max_arriving_bytes,
        max_connections=max(FEWEST_CONNECTIONS, min(available, settings.max_connections)),
        tls_handshake_timeout_seconds=settings.tls_handshake_timeout_seconds,
        send_buffer_bytes=ANSWER_BUFFER_BYTES,
    )


def _max_open_files() -> int:
    """Raise the limit of open files of this process as far as the system allows, and return it."""
    if sys.platform == "win32":  # sockets do not count as files
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = 65_536 if hard == unlimited else min(hard, 65_536)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return sys.maxsize if soft == unlimited else soft
