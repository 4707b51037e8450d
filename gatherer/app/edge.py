"""What faces the internet, from the configuration to its parts: TLS, limits, the files that others must not read."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from gatherer import permissions
from gatherer.config import Configuration, Server
from gatherer.explanations import with_home
from gatherer.secret import Secret

if TYPE_CHECKING:
    from gatherer.limits import Limits
    from gatherer.tls import ServerTLS

log = logging.getLogger(__name__)

SPARE_FILES: Final = 64  # for the inbox, the log and the files of certificates
ANSWER_BUFFER_BYTES: Final = 32_768  # answers to webhooks are short
FEWEST_CONNECTIONS: Final = 10


def server_tls(settings: Server) -> "ServerTLS | None":
    """Return the TLS that `settings` ask for; None where a proxy in front does it.

    Raises:
        ConfigurationError: its files are no use.

    """
    from gatherer.tls import Files, ServerTLS

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


def limits_of(settings: Server) -> "Limits":
    """Return the limits of a listener: as configured, but no more connections than this process can open."""
    from gatherer.limits import Limits

    most = _openable_files() - SPARE_FILES
    if most < settings.max_connections:
        log.warning("server.max_connections: %d, because the system lets us open no more files", most)
    return Limits(
        header_timeout_seconds=settings.header_timeout_seconds,
        keepalive_timeout_seconds=settings.keepalive_timeout_seconds,
        max_header_bytes=settings.max_header_bytes,
        max_connections=max(FEWEST_CONNECTIONS, min(most, settings.max_connections)),
        tls_handshake_timeout_seconds=settings.tls_handshake_timeout_seconds,
        send_buffer_bytes=ANSWER_BUFFER_BYTES,
    )


def exposed_files(configuration: Configuration, path: Path) -> list[str]:
    """Return a line for each file of the web server that every account can read or change, and must not.

    `configuration` was read from `path`. It is only told, also where it is grave: whoever does not start receives
    nothing, and some file systems give every file to everybody.
    """
    from gatherer.inbox import quarantine

    secrets = list(_secrets(configuration))
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
        problem for one in dict.fromkeys(public) for problem in permissions.problems(one, may_be_read=True)
    ]
    return found + [problem for one in dict.fromkeys(private) for problem in permissions.problems(one)]


def _secrets(part: object) -> Iterator[Secret]:
    """Yield every secret in a part of the configuration."""
    if isinstance(part, Secret):
        yield part
    elif isinstance(part, BaseModel):
        for _, inside in part:
            yield from _secrets(inside)
    elif isinstance(part, list):
        for inside in part:
            yield from _secrets(inside)


def _openable_files() -> int:
    """Return how many files this process may have open, after raising that as far as it goes."""
    if sys.platform == "win32":  # sockets are not counted there
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = 65_536 if hard == unlimited else min(hard, 65_536)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return sys.maxsize if soft == unlimited else soft
