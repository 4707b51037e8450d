"""Every response and every opt-out reaches the program behind the files, whatever happens on the way.

Real processes: `gatherer serve`, `gatherer gather` with `[[after_run]]`, and a stand-in for the response gatherer.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import fault_injection
from tests.factories import envelope, fill_inbox, run, status, text, value
from tests.server_process import (
    ENDPOINT,
    PATH,
    ROOT,
    ServerProcess,
    configure,
    run_server,
    signature,
    start_server,
)
from tests.targets import engines
from tests.waiting import BUSY_SECONDS, wait_until

HERE = Path(__file__).parent
INTERVAL_SECONDS = 2
WORDS = ("Stop.", "STOPP!", "désabonner", "Baja", "Cancellami")


def steps(folder: Path) -> str:
    """Return the TOML of the steps: both files, then the stand-in."""
    command = [
        sys.executable,
        str(HERE / "response_gatherer.py"),
        str(folder / "handover"),
        str(folder / "loaded.db"),
    ]
    return f"""
[[after_run]]
name = "opt-out-file"
export = {{ format = "opt-outs", output = 'handover/opt-outs_%Y%m%d_%H%M%S_%f.csv' }}
[[after_run]]
name = "ferg-file"
export = {{ format = "ferg", output = 'handover/whatsapp_%Y%m%d_%H%M%S_%f.txt', date_format = "UnixTimeStamp" }}
[[after_run]]
name = "ferg"
command = {json.dumps(command)}
"""


def phone(number: int) -> str:
    return f"4477{number:08}"


def request_bodies(numbers: Iterable[int]) -> Iterator[bytes]:
    """Yield the bodies of requests: of each message the receipts and a reply; each third reply is an opt-out."""
    for number in numbers:
        message_id, person = f"wamid.M{number}", {"recipient_id": phone(number)}
        yield envelope(value(statuses=[status(message_id, word, **person) for word in ("sent", "delivered")]))
        words = WORDS[number // 3 % len(WORDS)] if number % 3 == 0 else f"reply {number}"
        # Each second opt-out quotes no message.
        context = {} if number % 6 == 0 else {"context": {"id": message_id}}
        yield envelope(
            value(messages=[text(f"wamid.R{number}", words, **{"from": phone(number)}, **context)])
        )


def expected(numbers: Iterable[int]) -> set[tuple[str, str]]:
    """Return what must arrive about these messages: pairs of type and message or person."""
    facts: set[tuple[str, str]] = set()
    for number in numbers:
        facts |= {
            ("Sent", f"wamid.M{number}"),
            ("Delivered", f"wamid.M{number}"),
            ("Replied", f"wamid.M{number}"),
        }
        if number % 3 == 0:
            facts |= {("OptOut", f"wamid.M{number}"), ("opted_out", f"+{phone(number)}")}
    return facts


def map_messages(folder: Path, numbers: Iterable[int], database: engines.Database | None = None) -> None:
    """Fill message_map of the file, or of `database`, as the sending program does."""
    if database is not None:
        for number in numbers:
            database.query(
                "INSERT INTO $(schema).message_map (message_id, campaign, communication_key, phone, sent_at)"
                " VALUES (?, 'spring', 'CK-1', ?, '2026-09-21 14:00:00.000')",
                f"wamid.M{number}",
                f"+{phone(number)}",
            )
        return
    with closing(sqlite3.connect(folder / "responses.db", timeout=30)) as connection, connection:
        connection.executemany(
            "INSERT INTO message_map (message_id, campaign, communication_key, phone, sent_at)"
            " VALUES (?, 'spring', 'CK-1', ?, '2026-09-21 14:00:00.000')",
            [(f"wamid.M{number}", f"+{phone(number)}") for number in numbers],
        )


def loaded(folder: Path) -> list[tuple[str, str]]:
    """Return what has arrived, each as often as it has."""
    if not (folder / "loaded.db").exists():
        return []
    with closing(sqlite3.connect(folder / "loaded.db", timeout=30)) as connection:
        try:
            rows = [json.loads(row) for (row,) in connection.execute("SELECT row FROM loaded")]
        except sqlite3.OperationalError:  # the table is not there yet
            return []
    return [
        (row["MessageType"], row["MessageId"])
        if "MessageType" in row
        else ("opted_out" if row["opted_out"] == "1" else "opted_in", row["phone"])
        for row in rows
    ]


def prepare(folder: Path, target: str = "") -> None:
    """Make the folder for the files, and the target, so that message_map can be filled."""
    (folder / "handover").mkdir()
    configure(folder, settings=steps(folder) + target)
    fill_inbox(folder / "inbox.db", [])
    ended = run(folder, "gather")
    assert ended.returncode == 0, ended.stderr


@contextmanager
def schedule(folder: Path, seconds: int = INTERVAL_SECONDS) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `gather` at an interval of `seconds` for the duration of the block, and yield its process."""
    command = [sys.executable, "-m", "gatherer", "gather", "--every", f"{seconds}s"]
    with (folder / "gather.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)
    assert b"Traceback" not in (folder / "gather.log").read_bytes()


def post(server: ServerProcess, bodies: Iterable[bytes], acknowledged: dict[bytes, float]) -> None:
    """Post `bodies` over one connection, and note when each was acknowledged."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for body in bodies:
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature(body)}
        connection.request("POST", PATH, body, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        acknowledged[body] = time.time()
    connection.close()


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_every_response_and_every_opt_out_arrives(tmp_path: Path, engine: str) -> None:
    database, target = None, ""
    if engine == "sqlserver":
        database = engines.SQLServerDatabase(tmp_path)
        target = engines.SQLServerDatabase.settings()
    prepare(tmp_path, target)
    numbers = range(30)
    map_messages(tmp_path, numbers[:15], database)
    with run_server(tmp_path, ENDPOINT, settings=steps(tmp_path) + target) as server, schedule(tmp_path):
        acknowledged: dict[bytes, float] = {}
        post(server, request_bodies(numbers), acknowledged)
        opt_outs = {fact for fact in expected(numbers) if fact[0] == "opted_out"}
        wait_until(lambda: opt_outs | expected(numbers[:15]) <= set(loaded(tmp_path)), "not all has arrived")
        assert set(loaded(tmp_path)) == opt_outs | expected(numbers[:15]), "what is not mapped is held back"
        map_messages(tmp_path, numbers[15:], database)
        wait_until(
            lambda: expected(numbers) <= set(loaded(tmp_path)), "what was mapped later has not arrived"
        )
    assert sorted(loaded(tmp_path)) == sorted(expected(numbers)), "each once"
    assert list((tmp_path / "handover").iterdir()) == []


def run_and_kill(folder: Path, number: int) -> bool:
    """Run `gather`, and kill it at the operation `number`; return whether it had so many."""
    counter = folder / f"operations-{number}"
    path = os.pathsep.join([str(HERE / "killing"), str(ROOT)])
    environment = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "KILL_AT": str(number)}
    run(folder, "gather", **environment, KILL_COUNT=str(counter))
    return counter.stat().st_size >= number


def check_next_run(folder: Path, numbers: Iterable[int], message: str) -> None:
    """Gather again after a kill, and check that all has arrived: what was in a file twice, twice."""
    # The stand-in, which runs on its own, may not have ended yet.
    wait_until(lambda: run(folder, "gather").returncode == 0, "no run succeeds any more")
    arrived = loaded(folder)
    assert set(arrived) == expected(numbers), message
    assert max(Counter(arrived).values()) <= 2, f"{message}: once for the kill"
    assert [path for path in (folder / "handover").iterdir() if path.suffix != ".part"] == [], message


def check_after_a_kill(folder: Path, number: int) -> bool:
    """Kill a run at the operation `number`, let the next run end, and check what arrived. False: it was not killed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    prepare(folder)
    numbers = range(6)
    map_messages(folder, numbers)
    fill_inbox(folder / "inbox.db", request_bodies(numbers), endpoint="meta")
    killed = run_and_kill(folder, number)
    check_next_run(folder, numbers, f"killed at operation {number}")
    return killed


@pytest.mark.parametrize("number", [3, 12, 20])
def test_nothing_is_missing_after_a_run_was_killed(tmp_path: Path, number: int) -> None:
    assert check_after_a_kill(tmp_path / "run", number)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_nothing_is_missing_after_a_run_was_killed_at_any_operation(tmp_path: Path) -> None:
    number = 1
    while check_after_a_kill(tmp_path / "run", number):
        number += 1
    assert number > 20, "a run has more operations"


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@fault_injection.needs("strace")
def test_nothing_is_missing_after_any_process_of_a_run_was_killed_in_any_write(tmp_path: Path) -> None:
    """Killed is the first process of a run that reaches so many writes: `gather`, an export, or the stand-in."""
    folder, trace, number = tmp_path / "run", tmp_path / "strace.txt", 0
    calls = "write,pwrite64,pwritev,ftruncate,fsync,fdatasync,rename,link,unlink"
    killed = True
    while killed:
        number += 1
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        prepare(folder)
        map_messages(folder, range(6))
        fill_inbox(folder / "inbox.db", request_bodies(range(6)), endpoint="meta")
        command = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={calls}"]
        command += ["-e", f"inject={calls}:signal=KILL:when={number}"]
        command += [sys.executable, "-m", "gatherer", "gather"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120, check=False)
        killed = "killed by SIGKILL" in trace.read_text(encoding="utf-8", errors="replace")
        check_next_run(folder, range(6), f"killed at write {number}")
    assert number > 30, "a run has more writes"


class SendingProvider(threading.Thread):
    """Posts bodies one after the other, and each again until a server acknowledges it, as a provider does."""

    def __init__(self, bodies: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self.port = 0  # where the server listens at present
        self.acknowledged = 0
        self.refused = 0
        self._bodies = list(bodies)

    def run(self) -> None:
        """Post all."""
        for body in self._bodies:
            while not self._is_accepted(body):
                self.refused += 1
                time.sleep(0.05)
            self.acknowledged += 1
            time.sleep(0.01)

    def _is_accepted(self, body: bytes) -> bool:
        try:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
                headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signature(body)}
                connection.request("POST", PATH, body, headers)
                return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def kill_with_children(process: "subprocess.Popen[bytes]") -> None:
    """Kill `process` and all that it has started, as a power failure does."""
    tree = psutil.Process(process.pid)
    for member in [tree, *tree.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(60)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_nothing_is_missing_after_all_processes_were_killed_again_and_again(tmp_path: Path) -> None:
    """The server, the schedule, the exports and the stand-in, at times that are left to chance."""
    prepare(tmp_path)
    chance, numbers, kills = random.Random(18), range(1200), 0
    map_messages(tmp_path, numbers)
    provider = SendingProvider(request_bodies(numbers))
    provider.start()
    while provider.acknowledged < 2 * len(numbers) and kills < 20:
        with (
            run_server(tmp_path, ENDPOINT, settings=steps(tmp_path)) as server,
            schedule(tmp_path) as process,
        ):
            provider.port = server.port
            time.sleep(chance.uniform(1, 5))  # for how long they run, nothing is expected of it
            kill_with_children(process)
            server.kill()
            kills += 1
    with run_server(tmp_path, ENDPOINT, settings=steps(tmp_path)) as server, schedule(tmp_path):
        provider.port = server.port
        provider.join(300)
        assert provider.acknowledged == 2 * len(numbers)
        wait_until(lambda: expected(numbers) <= set(loaded(tmp_path)), "not all has arrived")
    assert set(loaded(tmp_path)) == expected(numbers)
    assert kills >= 5
    assert provider.refused, "no request met a killed server"


def ballast(disk: Path) -> Path:
    """Fill `disk`, and return the file that fills it."""
    path = disk / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


@fault_injection.needs()
@pytest.mark.parametrize("number", [None, pytest.param(16, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("full", ["handover", "."])
def test_nothing_is_missing_after_a_restart_with_a_full_disk(
    tmp_path: Path, full: str, number: int | None
) -> None:
    """Full is the folder of the files, or the disk with the target and the cursors as well."""
    with fault_injection.small_disk(tmp_path / "disk", "40m") as disk:
        folder = disk if full == "." else tmp_path / "run"
        folder.mkdir(exist_ok=True)
        prepare(folder)
        if full == "handover":
            (folder / "handover").rmdir()
            (folder / "handover").symlink_to(disk, target_is_directory=True)
        numbers = range(6)
        map_messages(folder, numbers)
        fill_inbox(folder / "inbox.db", request_bodies(numbers), endpoint="meta")
        if number is not None:
            assert run_and_kill(folder, number)
        filler = ballast(disk)
        assert run(folder, "gather").returncode in (1, 75)
        filler.unlink()
        ended = run(folder, "gather")
        assert ended.returncode == 0, ended.stderr
        assert set(loaded(folder)) == expected(numbers)


@fault_injection.needs()
def test_nothing_is_missing_after_all_was_killed_and_restarted_on_a_full_disk(tmp_path: Path) -> None:
    """Inbox, target, cursors and files are on it. The server refuses what it cannot store, and the provider repeats it."""
    bodies, acknowledged = list(request_bodies(range(6))), dict[bytes, float]()
    with fault_injection.small_disk(tmp_path / "disk", "40m") as disk:
        prepare(disk)
        map_messages(disk, range(6))
        settings = "min_free_bytes = 0\n" + steps(disk)  # the default is larger than this disk
        with run_server(disk, ENDPOINT, settings=settings) as server:
            post(server, bodies[:4], acknowledged)
            assert run(disk, "gather").returncode == 0
            post(server, bodies[4:8], acknowledged)
            filler = ballast(disk)
            assert {server.post(body).status for body in bodies[8:]} == {503}
            assert run(disk, "gather").returncode in (1, 75)
            server.kill()
        process = start_server(disk, ENDPOINT, settings=settings)
        process.communicate(timeout=60)
        assert process.returncode == 75, "it does not start, and a service manager tries again"
        assert run(disk, "gather").returncode in (1, 75)
        filler.unlink()
        with run_server(disk, ENDPOINT, settings=settings) as server:
            post(server, bodies[8:], acknowledged)
            ended = run(disk, "gather")
        assert ended.returncode == 0, ended.stderr
        assert sorted(loaded(disk)) == sorted(expected(range(6))), "each once"


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_response_is_in_a_file_soon_after_its_200(tmp_path: Path, record_property: Any) -> None:
    """At most one interval of the schedule and 10 seconds, at 500 requests a second."""
    prepare(tmp_path)
    rate, seconds, clients, interval = 500, 40, 10, 15
    numbers = range(rate * seconds // 2)  # two requests for each message
    map_messages(tmp_path, numbers)
    acknowledged: dict[bytes, float] = {}
    bodies = {body: number for number in numbers for body in request_bodies([number])}
    with run_server(tmp_path, ENDPOINT, settings=steps(tmp_path)) as server, schedule(tmp_path, interval):
        started = time.time()

        def paced(client: int) -> Iterator[bytes]:
            for i, body in enumerate(list(bodies)[client::clients]):
                time.sleep(max(0.0, started + i * clients / rate - time.time()))
                yield body

        threads = [
            threading.Thread(target=post, args=(server, paced(client), acknowledged))
            for client in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        posted_rate = len(acknowledged) / (max(acknowledged.values()) - started)
        wait_until(lambda: expected(numbers) <= set(loaded(tmp_path)), "not all has arrived")
    with closing(sqlite3.connect(tmp_path / "loaded.db")) as connection:
        arrived: dict[tuple[str, str], float] = {}
        for written_at, row in connection.execute(
            "SELECT written_at, row FROM loaded ORDER BY written_at DESC"
        ):
            values = json.loads(row)
            if "MessageType" in values:
                arrived[values["MessageType"], values["MessageId"]] = written_at
    delays = [
        arrived["Sent" if b'"statuses"' in body else "Replied", f"wamid.M{number}"] - acknowledged[body]
        for body, number in bodies.items()
    ]
    record_property("requests_per_second", round(posted_rate))
    record_property("longest_delay_seconds", round(max(delays), 2))
    sys.stdout.write(f"{posted_rate:.0f} requests/s; from the 200 to the file: at most {max(delays):.1f} s\n")
    assert max(delays) <= interval + 10 + BUSY_SECONDS
