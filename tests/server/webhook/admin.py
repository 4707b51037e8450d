"""The admin listener of a running server: its health and its metrics."""

import re
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.server_process import ServerProcess
from tests.waiting import wait_until

METRICS = "[admin]\nport = 0\n"


def admin_url(server: ServerProcess) -> str:
    wait_until(lambda: "metrics at " in server.log())
    match = re.search(r"metrics at (http://127\.0\.0\.1:\d+)/metrics", server.log())
    assert match is not None
    return match[1]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(server: ServerProcess) -> dict[str, float]:
    _, text = get(f"{admin_url(server)}/metrics")
    return {
        ",".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
