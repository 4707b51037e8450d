"""`gatherer serve`: build the receiving server from the configuration, and run it until it is asked to stop."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gatherer import config
from gatherer.app.resources import inbox_retention, open_quarantine, open_writer
from gatherer.app.server_settings import limits_of, pull_tls, server_tls
from gatherer.config import Configuration
from gatherer.inbox import control
from gatherer.inbox.actions import Action, actions_of
from gatherer.inbox.maintenance import InboxMaintenance
from gatherer.inbox.quarantine import Quarantine
from gatherer.inbox.writer import InboxWriter
from gatherer.model.errors import ConfigurationError
from gatherer.server import health
from gatherer.server.http.server import Listener, run
from gatherer.server.http.tls import Named, ServerTLS
from gatherer.server.observer import Observer
from gatherer.server.pull.handler import LIMITS, PullHandler
from gatherer.server.pull.source import Source
from gatherer.server.pull.tokens import Tokens
from gatherer.server.webhook.handler import WebhookHandler
from gatherer.server.webhook.proxy_headers import sender

if TYPE_CHECKING:
    from gatherer.server.metrics import Metrics

log = logging.getLogger(__name__)

Task = Callable[[], Coroutine[Any, Any, None]]


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop.

    Args:
        configuration: loaded with the secrets of endpoints.
        announce: called with the URL of the webhook listener, when all listeners accept connections.

    Raises:
        ConfigurationError: there is no endpoint, a certificate cannot be used, or an address is not available.
        GathererError: the inbox cannot be opened for writing.

    """
    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: any client can send requests to it", endpoint.name)
    tls = server_tls(configuration.server)
    metrics = _metrics(configuration.admin)
    observer = metrics or Observer()
    with ExitStack() as resources:
        writer = resources.enter_context(
            closing(open_writer(configuration.inbox, committed=observer.committed))
        )
        quarantine = open_quarantine(configuration, configuration.inbox)
        if quarantine is not None:
            resources.callback(quarantine.close)
        actions = actions_of(writer, quarantine)
        webhooks = WebhookHandler(
            configuration.endpoint, configuration.server, writer, quarantine=quarantine, observer=observer
        )
        listeners = [_webhook_listener(configuration.server, webhooks, tls, observer, announce)]
        tasks: list[Task] = [
            InboxMaintenance(writer, inbox_retention(configuration.inbox)).run,
            partial(control.run, writer.path, actions),
        ]
        if tls is not None:
            tasks.append(tls.watch)
        if metrics is not None:
            listeners.append(_metrics_listener(configuration.admin, metrics, writer, quarantine, tls))
        if configuration.pull is not None:
            tls_of_pull = pull_tls(configuration.pull)
            source = resources.enter_context(closing(Source(configuration.inbox.path)))
            listeners.append(_pull_listener(configuration, configuration.pull, source, actions, tls_of_pull))
            if tls_of_pull is not None:
                tasks.append(tls_of_pull.watch)
        with_health = [
            replace(listener, handle=health.answering(listener.handle, writer.refusal_reason))
            for listener in listeners
        ]
        run(with_health, tasks=tasks)


def _webhook_listener(
    settings: config.Server,
    handler: WebhookHandler,
    tls: ServerTLS | None,
    observer: Observer,
    announce: Callable[[str], None],
) -> Listener:
    return Listener(
        handle=handler.handle,
        host=settings.host,
        port=settings.port,
        tls=tls.context if tls else None,
        admits=Named(settings.client_names) if settings.client_names else None,
        limits=limits_of(settings),
        refused=lambda status: observer.answered("-", status, 0.0),
        announce=announce,
    )


def _metrics(settings: config.Admin) -> "Metrics | None":
    """Return the counters for the metrics listener; None where none is configured."""
    if settings.port is None:
        return None
    from gatherer.server.metrics import Metrics

    return Metrics()


def _metrics_listener(
    settings: config.Admin,
    metrics: "Metrics",
    writer: InboxWriter,
    quarantine: Quarantine | None,
    tls: ServerTLS | None,
) -> Listener:
    from gatherer.server.metrics import State

    def expires_at() -> float | None:
        return tls.validity.not_after.timestamp() if tls else None

    metrics.registry.register(State(writer, quarantine, certificate_expires_at=expires_at))
    return Listener(
        handle=metrics.handler(),
        host=settings.host,
        port=settings.port or 0,
        announce=lambda url: log.info("metrics at %s/metrics", url),
    )


def _pull_listener(
    configuration: Configuration,
    settings: config.Pull,
    source: Source,
    actions: Mapping[str, Action],
    tls: ServerTLS | None,
) -> Listener:
    """Return the listener that offers the inbox to other machines. Clients can request some of `actions`."""
    trusted_proxies = tuple(configuration.server.trusted_proxies)
    handler = PullHandler(
        source,
        Tokens([token.reveal() for token in settings.tokens]),
        admins=Tokens([token.reveal() for token in settings.admin_tokens]),
        actions=actions,
        address=lambda request: sender(
            request.peer, request.headers.get_all("X-Forwarded-For"), trusted_proxies
        ),
    )
    return Listener(
        handle=handler.handle,
        host=settings.host,
        port=settings.port,
        tls=tls.context if tls else None,
        limits=LIMITS,
        announce=lambda url: log.info("offering the inbox at %s", url),
    )
