"""The receiving server, from the configuration to the listening sockets."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial

from gatherer.config import Configuration
from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer import serve as server
    from gatherer.app.storing import open_quarantine, open_writer
    from gatherer.inbox import errands
    from gatherer.receiver import health
    from gatherer.receiver.observer import Observer
    from gatherer.receiver.receiver import Receiver

    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: anybody can post to it", endpoint.name)
    settings, admin = configuration.server, configuration.admin
    with ExitStack() as resources:
        observer = Observer()
        if admin.port is not None:
            from gatherer.receiver.metrics import Metrics, State

            observer = Metrics()
        writer = resources.enter_context(closing(open_writer(configuration, committed=observer.committed)))
        quarantine = open_quarantine(configuration)
        tasks = []
        if quarantine is not None:
            resources.callback(quarantine.close)
            tasks.append(partial(errands.run, quarantine, writer))
        receiver = Receiver(
            configuration.endpoint, settings, writer, quarantine=quarantine, observer=observer
        )
        listeners = [
            server.Listener(
                handle=health.answering(receiver.handle, writer.obstacle),
                host=settings.host,
                port=settings.port,
                announce=announce,
            )
        ]
        if admin.port is not None and isinstance(observer, Metrics):
            observer.registry.register(State(writer, quarantine))
            listeners.append(
                server.Listener(
                    handle=health.answering(observer.handler(), writer.obstacle),
                    host=admin.host,
                    port=admin.port,
                    announce=lambda url: log.info("metrics at %s/metrics", url),
                )
            )
        server.run(listeners, drain=receiver.drain, tasks=tasks)
