"""The receiving server, from the configuration to the listening socket."""

import logging
from collections.abc import Callable
from contextlib import closing

from gatherer.config import Configuration
from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer import serve as server
    from gatherer.app.edge import limits_of, server_tls
    from gatherer.inbox.writer import InboxWriter
    from gatherer.receiver.receiver import Receiver
    from gatherer.tls import Named

    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: anybody can post to it", endpoint.name)
    settings = configuration.server
    tls = server_tls(settings)
    with closing(InboxWriter(configuration.inbox.path)) as writer:
        receiver = Receiver(configuration.endpoint, settings, writer)
        public = server.Listener(
            handle=receiver.handle,
            host=settings.host,
            port=settings.port,
            tls=tls.context if tls else None,
            admits=Named(settings.client_names) if settings.client_names else None,
            limits=limits_of(settings),
            announce=announce,
        )
        server.run([public], drain=receiver.drain, tasks=[tls.watch] if tls else [])
