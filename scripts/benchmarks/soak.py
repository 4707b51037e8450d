"""Run a steady load for minutes: signed requests, 5 % repeated, 5 % invalid, and a `gather` every 10 seconds.

Prints latency percentiles, the memory of the server, and the numbers of lost and duplicate records. Exits with 1
if p99 is above 50 ms, memory grew by more than 5 % after the first minute, or a record is missing, duplicate or
unexpected.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from ingest import CONFIGURATION, HERE, ROOT, running

GATHER_SECONDS = 10
P99_MS = 50
GROWTH = 0.05
if sys.platform == "win32":
    LOW_PRIORITY = psutil.BELOW_NORMAL_PRIORITY_CLASS
else:
    LOW_PRIORITY = 10


def run(*, minutes: float, rate: float, folder: Path | None = None) -> dict[str, Any]:
    """Keep the load up for `minutes` at `rate` requests a second and return the figures."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        own = Path(name)
        (own / "gatherer.toml").touch(mode=0o600)
        (own / "gatherer.toml").write_text(CONFIGURATION, encoding="utf-8")
        with running("durable", own) as (process, port):
            memory = Memory(process.pid)
            options = [f"--port={port}", f"--rate={rate}", f"--seconds={minutes * 60}"]
            options.append(f"--acknowledged={own / 'acknowledged'}")
            command = [sys.executable, str(HERE / "soak_load.py"), *options]
            with memory, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
                runs = list(_gathers(own, load))
                assert load.stdout is not None
                figures: dict[str, Any] = json.loads(load.stdout.read())
            if load.returncode:
                raise RuntimeError("the clients failed")
            runs.append(_gather(own))
        records = _compare(own)
    figures["memory"] = memory.figures(minutes * 60)
    figures["gather"] = {"runs": len(runs), "slowest_seconds": round(max(runs), 2)}
    figures["records"] = records
    figures["failed"] = _failures(figures)
    return {
        "cpus": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "minutes": minutes,
        "rate": rate,
    } | figures


class Memory:
    """Sample the memory of a process once a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._samples: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(1):
            self._samples.append((time.monotonic() - self._began, self._process.memory_info().rss))

    def figures(self, seconds: float) -> dict[str, float]:
        """Return the memory after the first minute (of shorter runs: the first quarter) and at the end, in MB."""
        first = min(60.0, seconds / 4)
        window = max(3.0, min(10.0, seconds / 10))
        early = [rss for at, rss in self._samples if first <= at <= first + window]
        late = [rss for at, rss in self._samples if seconds - window <= at <= seconds]
        before, after = (sum(part) / max(1, len(part)) / 1_000_000 for part in (early, late))
        growth = round(after / before - 1, 4) if before else 0.0
        return {"after_first_minute_mb": round(before, 1), "at_the_end_mb": round(after, 1), "growth": growth}


def _gathers(folder: Path, load: "subprocess.Popen[str]") -> Any:
    """Run `gather` every few seconds while `load` runs; yield the seconds of each run."""
    due = time.monotonic()
    while load.poll() is None:
        if time.monotonic() >= due:
            due += GATHER_SECONDS
            yield _gather(folder)
        time.sleep(0.1)


def _gather(folder: Path) -> float:
    started = time.monotonic()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    command = [sys.executable, "-m", "gatherer", "--log-level", "error", "gather", "--json"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as gather:
        # The same low priority as in config/linux/gatherer-gather.service and in the Task Scheduler.
        psutil.Process(gather.pid).nice(LOW_PRIORITY)
    if gather.returncode:
        raise RuntimeError("a run failed")
    return time.monotonic() - started


def _compare(folder: Path) -> dict[str, int]:
    """Return how many of the acknowledged requests are missing from the target, and how many rows are there too often."""
    numbers = array("q")
    numbers.frombytes((folder / "acknowledged").read_bytes())
    acknowledged = set(numbers)
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        rows = [row[0] for row in connection.execute("SELECT message_id FROM response")]
    stored = {int(message_id[-16:], 16) for message_id in rows}
    return {
        "acknowledged": len(numbers),
        "different": len(acknowledged),
        "lost": len(acknowledged - stored),
        "doubled": len(rows) - len(stored),
        "surplus": len(stored - acknowledged),
    }


def _failures(figures: dict[str, Any]) -> list[str]:
    """Return the requirements that the run did not meet."""
    records = figures["records"]
    failed = [name for name in ("lost", "doubled", "surplus") if records[name]]
    failed += [answer for answer in figures["answers"] if "instead" in answer]
    if figures["p99_ms"] > P99_MS:
        failed.append(f"p99 above {P99_MS} ms")
    if figures["memory"]["growth"] > GROWTH:
        failed.append(f"memory grew by more than {GROWTH:.0%}")
    if figures["unanswered"] or figures["lost_connections"]:
        failed.append("not everything was answered")
    return failed


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="duration of the load (default: 10)")
    parser.add_argument("--rate", type=float, default=2000.0, help="requests a second (default: 2000)")
    parser.add_argument(
        "--folder", type=Path, help="a folder on the disk to measure (default: that for temporary files)"
    )
    options = parser.parse_args()
    figures = run(minutes=options.minutes, rate=options.rate, folder=options.folder)
    print(json.dumps(figures, indent=2))
    sys.exit(1 if figures["failed"] else 0)


if __name__ == "__main__":
    main()
