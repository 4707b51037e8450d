"""Measure reading an inbox over TLS, beside reading the local file, and its effect on the latency of webhooks.

The same notifications go into a new embedded target, from the file and from a `gatherer serve` at 127.0.0.1, one
after the other, each run in its own process; the ratio is local seconds / pulled seconds. On a machine with
other load, the ratio in CPU seconds is steadier. Then webhooks are sent at a fixed rate, alternately alone and
while another process reads the whole inbox repeatedly at full speed. That process has the lowest priority,
because in production it runs on another machine. The p99 of a round varies by a factor of ten with other load,
so the figures are medians of all rounds and their ratio. Memory is the peak of each process.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import trustme
from gather import BEGAN, fill
from ingest_load import PATH, SECRET
from memory import peak_bytes

from gatherer.inbox.base import Bounds, Inbox
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.remote.client import Address
from gatherer.inbox.remote.inbox import RemoteInbox
from gatherer.pipeline.gather import gather_inbox
from gatherer.targets.sqlite.target import SQLiteTarget

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TOKEN = "token-of-the-benchmark"
CONFIGURATION = f"""
[server]
port = 0
[pull]
port = 0
tokens = ["{TOKEN}"]
tls_certificate = "certificate.pem"
tls_key = "key.pem"
[[endpoint]]
name = "bench"
provider = "meta"
path = "{PATH}"
app_secrets = ["{SECRET}"]
"""
CONNECTIONS = 64
ROUNDS = 9


def run(count: int = 500_000, *, rate: float = 500, seconds: float = 3) -> dict[str, Any]:
    """Return the figures for `count` notifications of one status each; webhooks at `rate` for `seconds`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder / "inbox.db", count, BEGAN)
        local = _worker("run", str(folder / "inbox.db"), str(folder / "local.db"))
        with _serving(folder) as (server, port, url):
            before = server.memory_info().rss
            idle = sum(server.cpu_times()[:2])
            pulled = _worker("run", url, str(folder / "pulled.db"), str(folder / "ca.pem"))
            served = sum(server.cpu_times()[:2]) - idle
            peak = peak_bytes(server)
            quiet, busy = [], []
            for _ in range(ROUNDS):
                quiet.append(_webhooks(port, rate, seconds))
                with _draining(url, folder):
                    busy.append(_webhooks(port, rate, seconds))
    alone, beside = (statistics.median(result["p99_ms"] for result in rounds) for rounds in (quiet, busy))
    return {
        "notifications": count,
        "local_per_second": round(count / local["seconds"]),
        "pulled_per_second": round(count / pulled["seconds"]),
        "ratio_to_local": round(local["seconds"] / pulled["seconds"], 3),
        "ratio_to_local_in_cpu_seconds": round(local["cpu_seconds"] / pulled["cpu_seconds"], 3),
        "local_cpu_seconds": round(local["cpu_seconds"], 2),
        "pulled_cpu_seconds": round(pulled["cpu_seconds"], 2),
        "serve_cpu_seconds": round(served, 2),
        "local_peak_memory_mb": round(local["peak_mb"]),
        "pulled_peak_memory_mb": round(pulled["peak_mb"]),
        "serve_memory_before_mb": round(before / 2**20),
        "serve_peak_memory_mb": round(peak / 2**20),
        "webhooks_per_second": rate,
        "webhooks_not_200": sum(result["not_200"] for result in (*quiet, *busy)),
        "webhooks_p99_ms": round(alone, 2),
        "webhooks_p99_during_drain_ms": round(beside, 2),
        "webhooks_p99_ratio": round(beside / alone, 2),
        "webhooks_p99_ms_of_each_round": [
            [result["p99_ms"] for result in results] for results in (quiet, busy)
        ],
    }


def _worker(*arguments: str) -> dict[str, Any]:
    """Run this script in another process and return its figures."""
    command = [sys.executable, __file__, "--worker", *arguments]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[psutil.Process, int, str]]:
    """Run `gatherer serve` in `folder`; yield its process, its port and the URL of its pull listener."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "certificate.pem", append=True)
    (folder / "gatherer.toml").write_text(CONFIGURATION, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    log = folder / "serve.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "gatherer", "serve"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        announced = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        offered = None
        for _ in range(100):
            offered = offered or re.search(r"(https://127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8"))
            time.sleep(0 if offered else 0.05)
        if announced is None or offered is None:
            raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8')}")
        yield psutil.Process(process.pid), int(announced[1]), offered[1]
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def _webhooks(port: int, rate: float, seconds: float) -> dict[str, Any]:
    options = [f"--port={port}", f"--connections={CONNECTIONS}", f"--seconds={seconds}", f"--rate={rate}"]
    command = [sys.executable, str(HERE / "ingest_load.py"), *options]
    result: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result


@contextmanager
def _draining(url: str, folder: Path) -> Iterator[None]:
    """Read the whole inbox repeatedly for the duration of the block."""
    command = [sys.executable, __file__, "--worker", "drain", url, "", str(folder / "ca.pem")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield
        if process.poll() is not None:
            raise RuntimeError("the drain ended before the webhooks did")
    finally:
        process.kill()
        process.wait(30)


def work(kind: str, source: str, target_path: str, ca: str = "") -> None:
    """Perform a run or read repeatedly, as the worker process, and print the figures."""
    inbox: Inbox = (
        RemoteInbox("bench", Address(url=source, token=TOKEN, ca=Path(ca)))
        if ca
        else LocalInbox(Path(source))
    )
    with closing(inbox):
        if kind == "drain" and hasattr(os, "nice"):
            os.nice(19)
        while kind == "drain":
            after, bounds = 0, Bounds()
            inbox.last_id()
            while batch := inbox.read(after, bounds):
                after = batch[-1].id
        with closing(SQLiteTarget(Path(target_path))) as target:
            cpu_clock = time.process_time()
            seconds = gather_inbox(inbox, target).seconds
    figures = {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_clock,
        "peak_mb": peak_bytes() / 2**20,
    }
    print(json.dumps(figures))


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench pull", description=__doc__)
    parser.add_argument("--count", type=int, default=500_000, help="notifications in the inbox")
    parser.add_argument("--rate", type=float, default=500, help="webhooks a second")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of webhooks in each round")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(*arguments.worker)
    else:
        print(json.dumps(run(arguments.count, rate=arguments.rate, seconds=arguments.seconds), indent=2))


if __name__ == "__main__":
    main()
