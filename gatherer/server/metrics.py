"""The metrics for Prometheus: counted as requests are answered, or read when Prometheus requests them."""

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
NOBODY: Final = (
    "nobody"  # the consumer while there is none: an alert has to fire where gather was never set up
)
_LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_GROUPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics(Observer):
    """The counters of one process."""

    def __init__(self) -> None:
        """Start all counters at zero."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # nothing on Windows
        self._requests = Counter(
            "gatherer_requests", "Requests answered.", ("endpoint", "status"), registry=self.registry
        )
        self._latency = Histogram(
            "gatherer_acknowledgement_seconds",
            "From the headers of a post to its 200, when it is on disk.",
            registry=self.registry,
            buckets=_LATENCIES,
        )
        self._failures = Counter(
            "gatherer_authentication_failures",
            "Posts that did not authenticate.",
            ("endpoint",),
            registry=self.registry,
        )
        self._groups = Histogram(
            "gatherer_commit_notifications",
            "Notifications in one commit.",
            registry=self.registry,
            buckets=_GROUPS,
        )
        self._counters: dict[tuple[str, int], Counter] = {}  # looking them up by labels is slow

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        counter = self._counters.get((endpoint, status))
        if counter is None:
            counter = self._counters[endpoint, status] = self._requests.labels(endpoint, str(status))
        counter.inc()
        if status == 200:
            self._latency.observe(seconds)

    def authentication_failed(self, endpoint: str) -> None:
        """Count a failure."""
        self._failures.labels(endpoint).inc()

    def committed(self, rows: int) -> None:
        """Count a commit."""
        self._groups.observe(rows)

    def handler(self) -> Handler:
        """Return the handler of `GET /metrics`."""

        def answer(request: Request) -> Reply:
            if request.target != PATH or request.method != "GET":
                return not_found(request)
            return asyncio.get_running_loop().create_task(self._collected())

        return answer

    async def _collected(self) -> Response:
        # In a thread: it looks at files, which webhooks are not to wait for.
        body = await asyncio.to_thread(generate_latest, self.registry)
        return Response(body=body, headers=[("Content-Type", CONTENT_TYPE_LATEST)])


class State(Collector):
    """The figures that are read on request: queue, files, disk, backlog, certificate."""

    def __init__(
        self,
        writer: InboxWriter,
        quarantine: Quarantine | None,
        *,
        certificate_expires_at: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Read `writer` and `quarantine`; `certificate_expires_at` returns seconds since 1970, None without TLS."""
        self._writer = writer
        self._quarantine = quarantine
        self._certificate_expires_at = certificate_expires_at

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; those that cannot be read are left out."""
        rows, held = self._writer.waiting
        yield _gauge("ready", "Whether notifications are taken in.", self._writer.refusal_reason() is None)
        yield _gauge("queue_notifications", "Notifications that wait for the disk.", rows)
        yield _gauge("queue_bytes", "Bytes of the notifications that wait for the disk.", held)
        if self._quarantine is not None:
            kept, size = self._quarantine.held
            yield _gauge("quarantine_posts", "Posts in quarantine.", kept)
            yield _gauge("quarantine_bytes", "Bytes of the posts in quarantine.", size)
        expires_at = self._certificate_expires_at()
        if expires_at is not None:
            yield _gauge("certificate_expiry_timestamp_seconds", "When it expires.", expires_at)
        with contextlib.suppress(Exception):  # a file that cannot be read costs its own figures only
            yield from _inbox(self._writer.path)


def _inbox(path: Path) -> Iterator[Metric]:
    """Yield the figures of the inbox at `path`, and of its consumers."""
    with contextlib.closing(sqlite_file.open_readable(path, busy_seconds=1)) as connection:
        usage = disk_space.usage(connection, path)
        yield _gauge("inbox_bytes", "The file of the inbox.", path.stat().st_size)
        yield _gauge("inbox_held_bytes", "Of that, what is in use.", usage.held)
        yield _gauge("inbox_wal_bytes", "The write-ahead log of the inbox.", usage.log)
        yield _gauge("disk_free_bytes", "Free on the disk of the inbox.", usage.free)
        backlog = GaugeMetricFamily(
            "gatherer_backlog_notifications",
            "Notifications that a consumer does not have yet.",
            labels=("consumer",),
        )
        age = GaugeMetricFamily(
            "gatherer_backlog_age_seconds",
            "Age of the oldest of those; 0 if there is none.",
            labels=("consumer",),
        )
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        reached = {
            consumer.name: consumer.notification_id if consumer.inbox_id == identity else 0
            for consumer in consumers.read_all(path)
        }
        for name, number in (reached or {NOBODY: 0}).items():
            count, oldest = _waiting(connection, number)
            backlog.add_metric((name,), count)
            age.add_metric((name,), 0 if oldest is None else max(0.0, time.time() - oldest / 1000))
        yield backlog
        yield age


def _waiting(connection: sqlite3.Connection, reached: int) -> tuple[int, int | None]:
    """Return how many notifications come after `reached`, and when the first of them was received."""
    oldest = connection.execute(
        "SELECT id, received_at FROM notification WHERE id > ? ORDER BY id LIMIT 1", (reached,)
    ).fetchone()
    if oldest is None:
        return 0, None
    (last,) = connection.execute("SELECT max(id) FROM notification").fetchone()
    return last - oldest[0] + 1, oldest[1]


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"gatherer_{name}", documentation, value=float(value))
