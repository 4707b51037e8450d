"""The receiving server, from the configuration to the listening sockets."""

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gatherer.config import Configuration
from gatherer.model.errors import ConfigurationError

if TYPE_CHECKING:
    from gatherer.inbox.writer import InboxWriter
    from gatherer.server.http.server import Listener

log = logging.getLogger(__name__)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer.app.control import actions_of
    from gatherer.app.resources import open_quarantine, open_writer, retention
    from gatherer.app.server_settings import limits_of, server_tls
    from gatherer.inbox import control
    from gatherer.inbox.maintenance import InboxMaintenance
    from gatherer.server import health
    from gatherer.server.http import server
    from gatherer.server.http.tls import Named
    from gatherer.server.observer import Observer
    from gatherer.server.webhook.handler import WebhookHandler

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
            from gatherer.server.metrics import Metrics, State

            observer = Metrics()
        writer = resources.enter_context(
            closing(open_writer(configuration.inbox, committed=observer.committed))
        )
        quarantine = open_quarantine(configuration, configuration.inbox)
        tasks = [InboxMaintenance(writer, retention(configuration.inbox)).run]
        if tls is not None:
            tasks.append(tls.watch)
        if quarantine is not None:
            resources.callback(quarantine.close)
        tasks.append(partial(control.run, writer.path, actions_of(writer, quarantine)))
        receiver = WebhookHandler(
            configuration.endpoint, settings, writer, quarantine=quarantine, observer=observer
        )
        listeners = [
            server.Listener(
                handle=health.answering(receiver.handle, writer.refusal_reason),
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
                    handle=health.answering(observer.handler(), writer.refusal_reason),
                    host=admin.host,
                    port=admin.port,
                    announce=lambda url: log.info("metrics at %s/metrics", url),
                )
            )
        pull, watching = resources.enter_context(offered(configuration, writer))
        listeners += [
            replace(one, handle=health.answering(one.handle, writer.refusal_reason)) for one in pull
        ]
        server.run(listeners, drain=receiver.drain, tasks=[*tasks, *watching])


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
    from gatherer.inbox.redaction import redact
    from gatherer.server.http.server import Listener
    from gatherer.server.http.tls import Files, ServerTLS
    from gatherer.server.pull.handler import PullHandler
    from gatherer.server.pull.source import Source
    from gatherer.server.pull.tokens import Tokens
    from gatherer.server.webhook.proxy_headers import sender

    tls = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        tls = ServerTLS(Files(certificate=settings.tls_certificate, key=settings.tls_key))
    trusted = tuple(configuration.server.trusted_proxies)
    with closing(Source(configuration.inbox.path)) as source:
        pulling = PullHandler(
            source,
            Tokens([token.reveal() for token in settings.tokens]),
            admins=Tokens([token.reveal() for token in settings.admin_tokens]),
            erase=partial(redact, writer),
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
