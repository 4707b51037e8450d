"""The receiving server, from the configuration to the listening socket."""

import logging
from collections.abc import Callable
from contextlib import closing

from gatherer.app.offering import offered
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer import serve as server
    from gatherer.inbox.writer import InboxWriter
    from gatherer.receiver.receiver import Receiver

    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: anybody can post to it", endpoint.name)
    settings = configuration.server
    with closing(InboxWriter(configuration.inbox.path)) as writer, offered(configuration) as (pull, tasks):
        receiver = Receiver(configuration.endpoint, settings, writer)
        public = server.Listener(
            handle=receiver.handle, host=settings.host, port=settings.port, announce=announce
        )
        server.run([public, *pull], drain=receiver.drain, tasks=tasks)
