"""Metrics for Prometheus: counters of events, and gauges that are read when Prometheus requests them."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gatherer.inbox import consumers, disk_space, sqlite_file
from gatherer.inbox.quarantine import Quarantine
from gatherer.inbox.writer import InboxWriter
from gatherer.server.health import not_found
from gatherer.server.http.message import Handler, Reply, Request, Response
from gatherer.server.observer import Observer

PATH: Final = "/metrics"
NO_CONSUMER: Final = (
    "none"  # the label while there is no consumer: an alert must fire if gather was never set up
)
_LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics(Observer):
    """The counters of one process."""

    def __init__(self) -> None:
        """Register the counters, at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # does nothing on Windows
        self._requests = Counter(
            "gatherer_requests", "Requests answered.", ("endpoint", "status"), registry=self.registry
        )
        self._latency = Histogram(
            "gatherer_acknowledgement_seconds",
            "From the headers of a request to its 200, when it is on disk.",
            registry=self.registry,
            buckets=_LATENCIES,
        )
        self._failures = Counter(
            "gatherer_authentication_failures",
            "Requests that did not authenticate.",
            ("endpoint",),
            registry=self.registry,
        )
        self._groups = Histogram(
            "gatherer_commit_notifications",
            "Notifications in one commit.",
            registry=self.registry,
            buckets=_GROUPS,
        )
        self._counters: dict[tuple[str, int], Counter] = {}  # a cache: the lookup by labels is slow

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a response, and the time to a 200."""
        counter = self._counters.get((endpoint, status))
        if counter is None:
            counter = self._counters[endpoint, status] = self._requests.labels(endpoint, str(status))
        counter.inc()
        if status == 200:
            self._latency.observe(seconds)

    def authentication_failed(self, endpoint: str) -> None:
        """Count a request that did not authenticate."""
        self._failures.labels(endpoint).inc()

    def committed(self, rows: int) -> None:
        """Count a commit of so many notifications."""
        self._groups.observe(rows)

    def handler(self) -> Handler:
        """Return the handler of `GET /metrics`."""

        def answer(request: Request) -> Reply:
            if request.target != PATH or request.method != "GET":
                return not_found(request)
            return asyncio.get_running_loop().create_task(self._respond())

        return answer

    async def _respond(self) -> Response:
        # In a thread: it reads files, and webhooks must not wait for that.
        body = await asyncio.to_thread(generate_latest, self.registry)
        return Response(body=body, headers=[("Content-Type", CONTENT_TYPE_LATEST)])


class State(Collector):
    """Gauges that are read on request: queue, files, disk, backlog, certificate."""

    def __init__(
        self,
        writer: InboxWriter,
        quarantine: Quarantine | None,
        *,
        certificate_expires_at: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Report on `writer` and `quarantine`.

        Args:
            writer: of the inbox.
            quarantine: None: there is none.
            certificate_expires_at: returns when the certificate expires, in seconds since 1970; None: no certificate.

        """
        self._writer = writer
        self._quarantine = quarantine
        self._certificate_expires_at = certificate_expires_at

    def collect(self) -> Iterator[Metric]:
        """Yield the current values of the gauges. Those of the inbox are left out if the file cannot be read."""
        queue_rows, queue_bytes = self._writer.waiting
        yield _gauge("ready", "Whether notifications are accepted.", self._writer.refusal_reason() is None)
        yield _gauge("queue_notifications", "Notifications that wait for the disk.", queue_rows)
        yield _gauge("queue_bytes", "Bytes of the notifications that wait for the disk.", queue_bytes)
        if self._quarantine is not None:
            quarantine_rows, quarantine_bytes = self._quarantine.size
            yield _gauge("quarantine_requests", "Requests in quarantine.", quarantine_rows)
            yield _gauge("quarantine_bytes", "Bytes of the requests in quarantine.", quarantine_bytes)
        expires_at = self._certificate_expires_at()
        if expires_at is not None:
            yield _gauge("certificate_expiry_timestamp_seconds", "When the certificate expires.", expires_at)
        with contextlib.suppress(Exception):  # the other gauges do not depend on the file
            yield from _inbox_gauges(self._writer.path)


def _inbox_gauges(path: Path) -> Iterator[Metric]:
    """Yield the gauges of the inbox at `path` and of its consumers."""
    with contextlib.closing(sqlite_file.open_readable(path, busy_seconds=1)) as connection:
        usage = disk_space.usage(connection, path)
        yield _gauge("inbox_bytes", "Size of the inbox file.", path.stat().st_size)
        yield _gauge("inbox_held_bytes", "Bytes of the inbox file that are in use.", usage.held)
        yield _gauge("inbox_wal_bytes", "Size of the write-ahead log of the inbox.", usage.log)
        yield _gauge("disk_free_bytes", "Free bytes on the disk of the inbox.", usage.free)
        backlog = GaugeMetricFamily(
            "gatherer_backlog_notifications",
            "Notifications that a consumer has not read yet.",
            labels=("consumer",),
        )
        age = GaugeMetricFamily(
            "gatherer_backlog_age_seconds",
            "Age of the oldest notification that a consumer has not read yet; 0 without one.",
            labels=("consumer",),
        )
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        positions = {
            consumer.name: consumer.notification_id if consumer.inbox_id == identity else 0
            for consumer in consumers.read_all(path)
        }
        for name, position in (positions or {NO_CONSUMER: 0}).items():
            count, oldest_ms = _backlog(connection, position)
            backlog.add_metric((name,), count)
            age.add_metric((name,), 0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000))
        yield backlog
        yield age


def _backlog(connection: sqlite3.Connection, position: int) -> tuple[int, int | None]:
    """Return the number of notifications after the id `position`, and when the first of them was received, in ms."""
    row = connection.execute(
        "SELECT id, received_at FROM notification WHERE id > ? ORDER BY id LIMIT 1", (position,)
    ).fetchone()
    if row is None:
        return 0, None
    first_id, received_ms = row
    (last_id,) = connection.execute("SELECT max(id) FROM notification").fetchone()
    return last_id - first_id + 1, received_ms


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gatherer_{name}", documentation, value=float(value))
