"""Measure receiving: durable acknowledgements per second and their latency, beside

(a) `without_storing`: the same server without an inbox, which measures HTTP and the signature;
(b) `naive_wsgi`: waitress with a commit per request, as a hand-written receiver, with `synchronous=FULL` like
ours; and `naive_wsgi_kept_open`, the same with open database connections: the upper bound of this design;
(c) with --baseline, `baseline`: the server of another commit.

Each server is measured with 64 and 256 connections at full speed; then ours at a fixed rate. The speed of a
shared machine varies by a factor of two: the servers alternate in short rounds, and the figures are medians.
"""

import argparse
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
from ingest_load import PATH, SECRET

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONFIGURATION = f"""
[server]
port = 0
[[endpoint]]
name = "bench"
provider = "meta"
path = "{PATH}"
app_secrets = ["{SECRET}"]
"""
SERVERS = ("durable", "without_storing", "naive_wsgi", "naive_wsgi_kept_open")
BASELINE = "baseline"
CONNECTIONS = (64, 256)
ROUNDS = 7
RATE = 3300  # requests a second: 1 000 messages a second, with three receipts each and some answers


def run(
    *,
    seconds: float = 3.0,
    rounds: int = ROUNDS,
    folder: Path | None = None,
    baseline: Path | None = None,
) -> dict[str, Any]:
    """Measure each server in each of the `rounds`; return the medians and their ratios.

    Args:
        seconds: for each of the nine measurements of a round, after a warm-up.
        rounds: number of rounds.
        folder: a folder on the disk to measure; by default the folder for temporary files.
        baseline: a checkout of another commit to measure as well.

    """
    servers = (*SERVERS, BASELINE) if baseline else SERVERS
    figures: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "rounds": rounds,
        "seconds": seconds,
    }
    warm_up = min(1.0, seconds / 4)
    for connections in CONNECTIONS:
        measured: dict[str, list[dict[str, Any]]] = {server: [] for server in servers}
        for _ in range(rounds):
            for server, results in measured.items():
                root = baseline if baseline and server == BASELINE else ROOT
                load = {"connections": connections, "seconds": seconds, "warm_up": warm_up}
                results.append(_measure(server, folder, root, **load))
        medians = {server: _medians(results) for server, results in measured.items()}
        ratios = {
            f"of_{server}": round(medians["durable"]["per_second"] / max(1, medians[server]["per_second"]), 2)
            for server in servers[1:]
        }
        figures[f"{connections}_connections"] = medians | {"durable_per_second": ratios}
    at_rate = [
        _measure("durable", folder, ROOT, connections=64, seconds=seconds, warm_up=warm_up, rate=RATE)
        for _ in range(rounds)
    ]
    figures[f"at_{RATE}_per_second"] = _medians(at_rate) | {
        "each_p99_ms": [result["p99_ms"] for result in at_rate]
    }
    return figures


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure, but the sum of the figures that must be zero in every round."""
    figures = {name: statistics.median(result[name] for result in rounds) for name in rounds[0]}
    for name in ("not_200", "lost_connections"):
        figures[name] = sum(result[name] for result in rounds)
    return figures | {"each_per_second": [result["per_second"] for result in rounds]}


def _measure(server: str, folder: Path | None, root: Path, **load: float) -> dict[str, Any]:
    """Run the load against a new `server` of the checkout `root` and return the figures of the clients."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        (own / "gatherer.toml").touch(mode=0o600)
        (own / "gatherer.toml").write_text(CONFIGURATION, encoding="utf-8")
        with running(server, own, root) as (process, port):
            options = [f"--{key.replace('_', '-')}={value}" for key, value in load.items()]
            command = [sys.executable, str(HERE / "ingest_load.py"), f"--port={port}", *options]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            figures: dict[str, Any] = json.loads(output)
            times = psutil.Process(process.pid).cpu_times()
            figures["server_cpu_seconds"] = round(times.user + times.system, 2)
        if server in ("durable", BASELINE):
            with closing(sqlite3.connect(own / "inbox.db")) as connection:
                stored = connection.execute("SELECT count(*) FROM notification").fetchone()[0]
            if stored < figures["acknowledged"]:
                raise AssertionError(f"{figures['acknowledged']} acknowledged, {stored} stored")
    return figures


@contextmanager
def running(server: str, folder: Path, root: Path = ROOT) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run `server` of the checkout `root` in `folder`; yield its process and its port."""
    command = (
        ["-m", "gatherer", "--log-level", "error", "serve"]
        if server in ("durable", BASELINE)
        else [str(HERE / "ingest_servers.py"), server]
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        announced = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        if announced is None:
            raise RuntimeError(f"{server} did not start")
        yield process, int(announced[1])
    finally:
        process.terminate()
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench ingest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement (default: 3)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"number of rounds (default: {ROUNDS})")
    parser.add_argument(
        "--folder", type=Path, help="a folder on the disk to measure (default: that for temporary files)"
    )
    parser.add_argument("--baseline", type=Path, help="a checkout of another commit, to compare with")
    options = parser.parse_args()
    figures = run(
        seconds=options.seconds,
        rounds=options.rounds,
        folder=options.folder,
        baseline=options.baseline and options.baseline.resolve(),
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
