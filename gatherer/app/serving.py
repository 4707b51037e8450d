"""The receiving server, from the configuration to the listening sockets."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial

from gatherer.app.offering import offered
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer import serve as server
    from gatherer.app.asking import errands_of
    from gatherer.app.edge import limits_of, server_tls
    from gatherer.app.writing import open_quarantine, open_writer, retention
    from gatherer.inbox import errands
    from gatherer.inbox.housekeeping import Housekeeping
    from gatherer.receiver import health
    from gatherer.receiver.observer import Observer
    from gatherer.receiver.receiver import Receiver
    from gatherer.tls import Named

    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: anybody can post to it", endpoint.name)
    settings, admin = configuration.server, configuration.admin
    tls = server_tls(settings)

    def expires_at() -> float | None:
        return tls.validity.not_after.timestamp() if tls else None

    with ExitStack() as resources:
        observer = Observer()
        if admin.port is not None:
            from gatherer.receiver.metrics import Metrics, State

            observer = Metrics()
        writer = resources.enter_context(
            closing(open_writer(configuration.inbox, committed=observer.committed))
        )
        quarantine = open_quarantine(configuration, configuration.inbox)
        tasks = [Housekeeping(writer, retention(configuration.inbox)).run]
        if tls is not None:
            tasks.append(tls.watch)
        if quarantine is not None:
            resources.callback(quarantine.close)
        tasks.append(partial(errands.run, writer.path, errands_of(writer, quarantine)))
        receiver = Receiver(
            configuration.endpoint, settings, writer, quarantine=quarantine, observer=observer
        )
        listeners = [
            server.Listener(
                handle=health.answering(receiver.handle, writer.obstacle),
                host=settings.host,
                port=settings.port,
                tls=tls.context if tls else None,
                admits=Named(settings.client_names) if settings.client_names else None,
                limits=limits_of(settings),
                refused=lambda status: observer.answered("-", status, 0.0),
                announce=announce,
            )
        ]
        if admin.port is not None and isinstance(observer, Metrics):
            observer.registry.register(State(writer, quarantine, certificate_expires_at=expires_at))
            listeners.append(
                server.Listener(
                    handle=health.answering(observer.handler(), writer.obstacle),
                    host=admin.host,
                    port=admin.port,
                    announce=lambda url: log.info("metrics at %s/metrics", url),
                )
            )
        pull, watching = resources.enter_context(offered(configuration, writer))
        listeners += [replace(one, handle=health.answering(one.handle, writer.obstacle)) for one in pull]
        server.run(listeners, drain=receiver.drain, tasks=[*tasks, *watching])
