"""Offering the inbox to other machines, from `[pull]` to a listener and what runs beside it."""

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from gatherer.config import Configuration

if TYPE_CHECKING:
    from gatherer.inbox.writer import InboxWriter
    from gatherer.serve import Listener

log = logging.getLogger(__name__)

Task = Callable[[], Coroutine[Any, Any, None]]


@contextmanager
def offered(
    configuration: Configuration, writer: "InboxWriter"
) -> "Iterator[tuple[list[Listener], list[Task]]]":
    """Yield the listener of `[pull]`, if there is one, and the tasks that it needs.

    `writer` does what holders of an admin token ask for.

    Raises:
        ConfigurationError: its certificate cannot be used.

    """
    settings = configuration.pull
    if settings is None:
        yield [], []
        return
    from gatherer.inbox.scrubbing import scrub
    from gatherer.pulling.handler import Pulling
    from gatherer.pulling.source import Source
    from gatherer.pulling.tokens import Tokens
    from gatherer.receiver.authentication import sender
    from gatherer.serve import Listener
    from gatherer.tls import Files, ServerTLS

    tls = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls = ServerTLS(Files(certificate=settings.tls_certificate, key=settings.tls_key))
    trusted = tuple(configuration.server.trusted_proxies)
    with closing(Source(configuration.inbox.path)) as source:
        pulling = Pulling(
            source,
            Tokens([token.reveal() for token in settings.tokens]),
            admins=Tokens([token.reveal() for token in settings.admin_tokens]),
            erase=partial(scrub, writer),
            address=lambda request: sender(
                request.remote or "", request.headers.getall("X-Forwarded-For", ()), trusted
            ),
        )
        listener = Listener(
            handle=pulling.handle,
            host=settings.host,
            port=settings.port,
            tls=tls.context if tls else None,
            announce=lambda url: log.info("offering the inbox at %s", url),
        )
        yield [listener], [tls.watch] if tls else []
