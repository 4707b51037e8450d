"""Measure a run: responses per second into the embedded target, beside a lower bound (the floor) for the same work.

The floor decodes the same JSON with bare msgspec and inserts the finished rows with a bare `executemany`
into the same table, with the same indexes, pragmas and batch size. Both process the same notifications, one
after the other. On a machine with other load, the ratio in CPU seconds is steadier. Memory is the peak of a
separate process that performs the run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from memory import peak_bytes

from gatherer.inbox import sqlite_file
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.model.records import Response
from gatherer.pipeline.decode import decode_batch
from gatherer.pipeline.gather import gather_inbox
from gatherer.targets.sqlite.apply import Written, as_row
from gatherer.targets.sqlite.schema import connect
from gatherer.targets.sqlite.target import SQLiteTarget
from gatherer.targets.sqlite.upsert import upsert

BODY = (
    '{"object":"whatsapp_business_account","entry":[{"id":"900000000000001","changes":[{"field":"messages",'
    '"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550002222",'
    '"phone_number_id":"100000000000001"},"contacts":[{"wa_id":"1555%(person)07d",'
    '"user_id":"US.1%(person)019d"}],"statuses":[{"id":"wamid.HBgLMTU1NTAwMDExMTEVAgARGBI%(message)016X==",'
    '"status":"%(status)s","timestamp":"%(time)d","recipient_id":"1555%(person)07d",'
    '"recipient_user_id":"US.1%(person)019d","biz_opaque_callback_data":"campaign-7",'
    '"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"marketing"}}]}}]}]}'
)
STATUSES = ("sent", "delivered", "read")
BEGAN = 1_790_000_000_000


def fill(path: Path, count: int, received_from: int) -> None:
    """Write an inbox of `count` different notifications of one status each; times in ms since 1970."""
    sqlite_file.create_private(path)
    connection = sqlite_file.open_writable(path)
    start = BEGAN // 1000 - count // 100

    def rows() -> Iterator[tuple[object, ...]]:
        for i in range(count):
            message = (i // 3) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF  # ids look random, as real ids do
            values = {
                "person": i // 3 % 10_000_000,
                "message": message,
                "status": STATUSES[i % 3],
                "time": start + i // 100,
            }
            body = (BODY % values).encode()
            yield received_from + i // 3, "bench", "meta", "127.0.0.1", "application/json", None, body

    connection.execute("PRAGMA wal_autocheckpoint = 100000")
    connection.execute("BEGIN")
    connection.executemany(sqlite_file.INBOX.insert(1), rows())
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def time_run(inbox_path: Path, target_path: Path) -> float:
    """Return the seconds of a run."""
    with closing(LocalInbox(inbox_path)) as inbox, closing(SQLiteTarget(target_path)) as target:
        return gather_inbox(inbox, target).seconds


def run_floor(inbox_path: Path, target_path: Path) -> tuple[float, float]:
    """Return the elapsed seconds and the CPU seconds of bare JSON decoding and bare inserts of the same rows."""
    insert = upsert(Response).partition("ON CONFLICT")[0]
    seconds, cpu_seconds, after = 0.0, 0.0, 0
    with closing(LocalInbox(inbox_path)) as inbox, closing(connect(target_path)) as connection:
        while notifications := inbox.read(after, Bounds()):
            after = notifications[-1].id
            rows = [
                as_row(record, Written("now", 1))
                for record in decode_batch(notifications, frozenset()).records
            ]
            clock, cpu_clock = time.perf_counter(), time.process_time()
            for notification in notifications:
                msgspec.json.decode(notification.body)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert, rows)
            connection.execute("COMMIT")
            seconds += time.perf_counter() - clock
            cpu_seconds += time.process_time() - cpu_clock
    return seconds, cpu_seconds


def run(count: int = 500_000) -> dict[str, object]:
    """Return the figures for `count` notifications of one status each."""
    with tempfile.TemporaryDirectory() as folder:
        inbox, again = Path(folder, "inbox.db"), Path(folder, "again.db")
        fill(inbox, count, BEGAN)
        command = [sys.executable, __file__, "--run-only", str(inbox), str(Path(folder, "first.db"))]
        first = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        floor, floor_cpu = run_floor(inbox, Path(folder, "floor.db"))
        inbox.rename(Path(folder, "done.db"))
        fill(again, count, BEGAN + 3_600_000)  # the same notifications an hour later: only duplicates
        command[3] = str(again)
        duplicates = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        "notifications": count,
        "first_run_per_second": round(count / first["seconds"]),
        "floor_per_second": round(count / floor),
        "ratio_to_floor": round(floor / first["seconds"], 3),
        "ratio_to_floor_in_cpu_seconds": round(floor_cpu / first["cpu_seconds"], 3),
        "first_run_per_cpu_second": round(count / first["cpu_seconds"]),
        "duplicates_per_cpu_second": round(count / duplicates["cpu_seconds"]),
        "duplicates_per_second": round(count / duplicates["seconds"]),
        "peak_memory_mb": round(first["peak_mb"]),
        "peak_memory_duplicates_mb": round(duplicates["peak_mb"]),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench gather", description=__doc__)
    parser.add_argument("--count", type=int, default=500_000, help="notifications in the inbox")
    parser.add_argument("--run-only", nargs=2, metavar=("INBOX", "TARGET"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_only:
        cpu_clock = time.process_time()
        seconds = time_run(*map(Path, arguments.run_only))
        cpu_seconds = time.process_time() - cpu_clock
        peak = peak_bytes() / 2**20
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}))
    else:
        print(json.dumps(run(arguments.count), indent=2))


if __name__ == "__main__":
    main()
