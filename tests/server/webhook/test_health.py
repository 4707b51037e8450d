"""Health and metrics: what a load balancer and Prometheus receive."""

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox import consumers
from gatherer.inbox.reader import LocalInbox
from tests import fault_injection
from tests.certificates import Authority
from tests.factories import call
from tests.server.pull.pull_server import run_pull_server
from tests.server.webhook.admin import METRICS, admin_url, get, metrics
from tests.server_process import (
    ENDPOINT,
    ServerProcess,
    configure,
    read_response,
    run_failing_server,
    run_server,
)
from tests.waiting import wait_until

QUARANTINE = ENDPOINT + 'on_failed_authentication = "quarantine"\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with run_server(tmp_path, QUARANTINE, settings=METRICS) as running:
        yield running


def test_every_listener_reports_health_and_only_the_admin_listener_metrics(server):
    public, admin = f"http://127.0.0.1:{server.port}", admin_url(server)
    for url in (public, admin):
        assert get(f"{url}/healthz") == get(f"{url}/readyz") == (200, "ok\n")
    assert get(f"{admin}/metrics")[0] == 200
    assert get(f"{public}/metrics")[0] == 404
    assert get(f"{admin}/")[0] == 404
    for method in ("POST", "PUT"):
        request = f"{method} /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        assert server.exchange(request).status in (404, 405)


def test_an_inbox_that_cannot_commit_is_alive_but_not_ready(tmp_path, server):
    if not fault_injection.LINUX:
        pytest.skip("LOUD: an open file can only be moved on Linux")
    (tmp_path / "inbox.db").rename(tmp_path / "elsewhere.db")
    assert server.post(b"x").status == 503
    public = f"http://127.0.0.1:{server.port}"
    assert get(f"{public}/readyz") == (503, "Service Unavailable\n")
    assert get(f"{public}/healthz") == (200, "ok\n")
    assert metrics(server)["gatherer_ready"] == 0
    (tmp_path / "elsewhere.db").rename(tmp_path / "inbox.db")
    wait_until(lambda: get(f"{public}/readyz") == (200, "ok\n"))
    assert metrics(server)["gatherer_ready"] == 1


def test_the_metrics_count_requests_commits_and_backlog(tmp_path, server):
    for n in range(10):
        assert server.post(b"good %d" % n).status == 200
    assert server.post(b"bad", X_Hub_Signature_256=None).status == 200
    assert server.post(b"x", "/nowhere").status == 404
    assert server.exchange(b"no HTTP at all\r\n\r\n").status == 400
    with server.connect() as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(40))
        )
        assert read_response(connection).status == 431
    values = metrics(server)
    assert values["gatherer_backlog_notifications,none"] == 10, "an alert can fire if gather was never set up"
    assert values["gatherer_backlog_age_seconds,none"] > 0
    with closing(LocalInbox(server.inbox)) as inbox:
        consumers.acknowledge(server.inbox, "reports", inbox.identity, 4)
        consumers.acknowledge(server.inbox, "archive", inbox.identity, 10)
    values = metrics(server)
    assert values["gatherer_requests_total,meta,200"] == 11
    assert values["gatherer_requests_total,-,404"] == 1
    assert values["gatherer_requests_total,-,400"] == values["gatherer_requests_total,-,431"] == 1
    assert "gatherer_backlog_notifications,none" not in values
    assert values["gatherer_authentication_failures_total,meta"] == 1
    assert values["gatherer_acknowledgement_seconds_count"] == 11
    assert values["gatherer_commit_notifications_sum"] == 10
    assert 1 <= values["gatherer_commit_notifications_count"] <= 10
    assert (values["gatherer_queue_notifications"], values["gatherer_queue_bytes"]) == (0, 0)
    assert values["gatherer_quarantine_requests"] == 1
    assert values["gatherer_inbox_bytes"] == server.inbox.stat().st_size
    assert values["gatherer_inbox_wal_bytes"] == (tmp_path / "inbox.db-wal").stat().st_size
    assert values["gatherer_disk_free_bytes"] > 0
    assert values["gatherer_backlog_notifications,reports"] == 6
    assert 0 < values["gatherer_backlog_age_seconds,reports"] < 100
    assert (
        values["gatherer_backlog_notifications,archive"]
        == values["gatherer_backlog_age_seconds,archive"]
        == 0
    )


def test_metrics_are_off_by_default(tmp_path):
    with run_server(tmp_path) as server:
        assert "metrics" not in server.log()
        assert get(f"http://127.0.0.1:{server.port}/readyz") == (200, "ok\n")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", ""])
def test_metrics_are_limited_to_loopback_addresses(tmp_path, host):
    configure(tmp_path, settings=f'[admin]\nhost = "{host}"\nport = 0\n')
    result = call(tmp_path, "serve")
    assert result.returncode == 2
    assert b"loopback" in result.stderr
    assert b"Traceback" not in result.stderr


def test_an_occupied_metrics_port_is_reported(tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        code, log = run_failing_server(tmp_path, settings=f"[admin]\nport = {port}\n")
    assert (code, log.count("\n")) == (2, 1)
    assert str(port) in log


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_an_endpoint_cannot_use_the_paths_of_health(tmp_path, path):
    configure(tmp_path, ENDPOINT.replace("/webhook/meta", path))
    result = call(tmp_path, "serve")
    assert (result.returncode, b"choose another one" in result.stderr) == (2, True)


def test_the_pull_listener_reports_health(tmp_path):
    import requests

    with run_pull_server(tmp_path) as pull_server:
        for path in ("healthz", "readyz"):
            answer = requests.get(f"{pull_server.url}/{path}", verify=pull_server.ca, timeout=10)
            assert (answer.status_code, answer.text) == (200, "ok\n")


def test_the_metrics_contain_the_expiry_of_the_certificate(tmp_path):
    pair = Authority(tmp_path / "pki").issue(days=30)
    (tmp_path / "serve").mkdir()
    settings = "[admin]\nport = 0\n"
    with run_server(tmp_path / "serve", server=pair, settings=settings) as server:
        expires_at = metrics(server)["gatherer_certificate_expiry_timestamp_seconds"]
    assert 29 * 86400 < expires_at - time.time() < 31 * 86400
