"""Overload, a stalled disk and a full disk: 503 with Retry-After in time, and recovery without a restart."""

import json
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from tests import fault_injection
from tests.factories import receipts, run
from tests.factories import rows as target_rows
from tests.server.webhook.admin import METRICS, metrics
from tests.server_process import Load, Response, ServerProcess, check_integrity, run_server
from tests.waiting import BUSY_SECONDS, wait_until


def post_all(server: ServerProcess, bodies: list[bytes]) -> list[tuple[Response, float]]:
    """Send all `bodies` at the same time; return the responses and the seconds of each."""
    answers: list[tuple[Response, float]] = [None] * len(bodies)  # type: ignore[list-item]

    def post(number: int) -> None:
        started = time.monotonic()
        answers[number] = (server.post(bodies[number]), time.monotonic() - started)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def refusals(answers: list[tuple[Response, float]]) -> list[float]:
    """Return the seconds of each response; check that all are a 503 after which the provider retries."""
    assert {answer.status for answer, _ in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer, _ in answers)
    return [seconds for _, seconds in answers]


@fault_injection.needs("strace")
@pytest.mark.parametrize(
    ("limit", "size"),
    [
        ("max_queue_rows = 10", 100),
        pytest.param("max_queue_bytes = 105000", 10_000, marks=pytest.mark.nightly),
    ],
)
def test_requests_beyond_the_queue_limit_get_503_at_once(tmp_path, limit, size):
    with run_server(tmp_path, settings=f"{limit}\ncommit_timeout_seconds = 60.0\n{METRICS}") as server:
        assert server.post(b"before").status == 200
        with fault_injection.inject_fault(
            server.process, fault_injection.SYNCS, "delay_enter=1000s", tmp_path / "inbox.db-wal"
        ):
            first = [b"first %d " % n + b"x" * size for n in range(10)]
            answers: list[tuple[Response, float]] = []
            waiting = threading.Thread(target=lambda: answers.extend(post_all(server, first)))
            waiting.start()
            wait_until(lambda: metrics(server)["gatherer_queue_notifications"] == len(first), server.log)
            beyond = post_all(server, [b"beyond %d " % n + b"x" * size for n in range(30)])
            assert max(refusals(beyond)) < BUSY_SECONDS
            assert not answers, "the queued requests still wait"
        waiting.join(30)
        assert {answer.status for answer, _ in answers} == {200}
        assert server.post(b"after").status == 200
        assert set(server.bodies()) == {b"before", *first, b"after"}
        assert server.log().count("the inbox is overloaded") == 1
        assert "the queue of the inbox is short again" in server.log()


def _stall_disk(folder, seconds: float, timeout: float) -> None:
    """Stall the disk under load for `seconds` while `gather` runs, and check the outcome of every request."""
    settings = f"commit_timeout_seconds = {timeout}"
    command = [sys.executable, "-m", "gatherer", "gather", "--every", "1s"]
    with (
        run_server(folder, settings=settings) as server,
        subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as gather,
    ):
        with Load(server.port, clients=8) as load:
            load.wait_for(100)
            with fault_injection.inject_fault(
                server.process, fault_injection.SYNCS, "delay_enter=1000s", folder / "inbox.db-wal"
            ):
                wait_until(lambda: "the inbox is stalled" in server.log(), server.log)
                load.slowest = 0.0  # from here on, requests are rejected at once
                odd = [receipts(f"wamid.{n}") for n in range(20)]
                assert max(refusals(post_all(server, odd))) < BUSY_SECONDS
                time.sleep(max(0.0, seconds - timeout - 1))
                assert load.slowest < timeout + BUSY_SECONDS, (
                    "the response arrives before the timeout of the provider"
                )
                acknowledged = len(load.acknowledged)
                assert server.exchange(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").status == 503
                assert server.exchange(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
            load.wait_for(acknowledged + 100)  # without a restart
        assert {status for _, status in load.refused} == {503}
        assert [server.post(body).status for body in odd * 2] == [200] * 40  # the provider retries
        gather.terminate()
        gather.wait(30)
        stored = server.bodies()
        assert set(load.acknowledged) <= set(stored)
        assert set(stored) <= {
            *load.acknowledged,
            *(body for body, _ in load.refused),
            *odd,
            *load.unanswered,
        }
        assert check_integrity(server.inbox) == "ok"
        assert "the inbox is stalled: the disk has not answered for" in server.log()
        assert "the inbox has recovered, after" in server.log()
        assert "Traceback" not in server.log()
        assert run(folder, "gather").returncode == 0
        message_ids = [row["message_id"] for row in target_rows(folder / "responses.db")]
        assert sorted(message_ids) == sorted(f"wamid.{n}" for n in range(20)), (
            "each message once, despite redelivery"
        )


@fault_injection.needs("strace")
def test_a_stalled_disk_gives_503_in_time_until_it_recovers(tmp_path):
    _stall_disk(tmp_path, 3, 1.0)


@fault_injection.needs("strace")
@pytest.mark.nightly
def test_a_disk_stalled_for_a_minute_gives_503_in_time_until_it_recovers(tmp_path):
    _stall_disk(tmp_path, 60, 4.0)


@fault_injection.needs("strace")
@pytest.mark.nightly
def test_a_body_stored_after_its_503_gives_one_row_with_its_redelivery(tmp_path):
    body = receipts("wamid.LATE")
    with run_server(tmp_path, settings="commit_timeout_seconds = 0.5") as server:
        with fault_injection.inject_fault(
            server.process, fault_injection.SYNCS, "delay_enter=1000s", tmp_path / "inbox.db-wal"
        ):
            (answer, seconds), *_ = post_all(server, [body])
            assert (answer.status, seconds < BUSY_SECONDS) == (503, True)
        wait_until(lambda: server.post(body).status == 200)
        assert server.bodies() == [body, body]
    assert run(tmp_path, "gather").returncode == 0
    assert [row["message_id"] for row in target_rows(tmp_path / "responses.db")] == ["wamid.LATE"]


def test_min_free_bytes_is_respected_and_reported(tmp_path):
    with fault_injection.small_disk(tmp_path / "disk", "6m") as disk:
        settings = "min_free_bytes = 2000000"
        with run_server(tmp_path, settings=settings, inbox=disk / "inbox.db") as server:
            accepted = 0
            while (answer := server.post(b"%d" % accepted + b"x" * 100_000)).status == 200:
                accepted += 1
                assert accepted < 100
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert accepted > 5
            state = json.loads(run(tmp_path, "status", "--json").stdout)["inbox"]
            assert state["disk_free_bytes"] > 1_500_000, "the disk is not full yet"
            assert server.exchange(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").status == 503
            (disk / "ballast").write_bytes(b"x" * 600_000)  # other files on the disk count as well
            state = json.loads(run(tmp_path, "status", "--json").stdout)["inbox"]
            assert "min_free_bytes" in state["refusing_because"]
            assert server.log().count("not enough space for the inbox: the disk has") == 1
            assert server.post(b"small").status == 503
            subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
            wait_until(lambda: server.post(b"after").status == 200, message=server.log)
            assert "there is enough space for the inbox again" in server.log()
            assert json.loads(run(tmp_path, "status", "--json").stdout)["inbox"]["refusing_because"] is None
            assert len(server.bodies()) == accepted + 1
            assert check_integrity(server.inbox) == "ok"


def test_gathered_notifications_are_purged_before_requests_are_rejected(tmp_path):
    """`max_inbox_bytes` overrides `keep_days` for gathered notifications, never for others."""
    with run_server(tmp_path, settings="max_inbox_bytes = 1000000") as server:
        for number in range(10):
            assert server.post(b"%d" % number + b"x" * 50_000).status == 200
        assert run(tmp_path, "gather").returncode == 0
        for number in range(10, 22):
            assert server.post(b"%d" % number + b"x" * 50_000).status == 200, server.log()
        assert "purged 10 notifications (1 to 10)" in server.log()
        while server.post(b"y" * 50_000).status == 200:
            pass
        assert server.rows("id")[0] == (11,), "notifications that were not gathered stay"
        assert check_integrity(server.inbox) == "ok"


def test_requests_beyond_max_inbox_bytes_get_503(tmp_path):
    with run_server(tmp_path, settings="max_inbox_bytes = 1000000") as server:
        accepted = 0
        while server.post(b"%d" % accepted + b"x" * 50_000).status == 200:
            accepted += 1
        assert 10 < accepted < 21
        assert "the inbox holds" in server.log()
        assert "max_inbox_bytes = 1000000" in server.log()
        state = json.loads(run(tmp_path, "status", "--json").stdout)["inbox"]
        assert state["held_bytes"] <= 1_000_000
        with closing(LocalInbox(server.inbox)) as inbox:
            assert len(inbox.read(0, Bounds())) == accepted
