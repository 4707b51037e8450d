"""docs/operation.rst has each metric, and each limit with its default."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.core import Metric

from gatherer.config import Inbox, Server
from gatherer.inbox.writer import InboxWriter
from gatherer.server.metrics import Metrics, State
from tests.docs.pages import DOCS

TEXT: Final = (DOCS / "operation.rst").read_text(encoding="utf-8")
# Settings with a number that are not limits.
NO_LIMITS: Final = {"port", "keep_days", "keep_days_at_most"}


def published(path: Path) -> Iterator[Metric]:
    """Yield the metrics of gatherer, without those of the process."""
    metrics = Metrics()
    writer = InboxWriter(path)
    try:
        yield from metrics.registry.collect()
        yield from State(writer, None, certificate_expires_at=lambda: 0.0).collect()
    finally:
        writer.close()


def test_each_metric_is_documented_and_each_documented_metric_exists(tmp_path: Path) -> None:
    names = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in published(tmp_path / "inbox.db")
        if metric.name.startswith("gatherer_")
    }
    of_the_quarantine = {"gatherer_quarantine_requests", "gatherer_quarantine_bytes"}
    assert set(re.findall(r"^   \* - ``(gatherer_\w+)``$", TEXT, re.MULTILINE)) == names | of_the_quarantine
    assert len(names) > 10


@pytest.mark.parametrize("section", [Server, Inbox])
def test_each_limit_is_documented_with_its_default(section: type[Server] | type[Inbox]) -> None:
    rows = dict(re.findall(r"^   \* - ``(\w+)``\n     - (\d+)$", TEXT, re.MULTILINE))
    limits = {
        name: field.default
        for name, field in section.model_fields.items()
        if type(field.default) in (int, float) and name not in NO_LIMITS
    }
    assert limits
    assert {name: rows.get(name) for name in limits} == {
        name: f"{value:g}" if type(value) is float else str(value) for name, value in limits.items()
    }
