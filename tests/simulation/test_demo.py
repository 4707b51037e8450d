"""`gatherer demo`: the path from request to row, without a configuration, with proofs that can fail."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gatherer.app.demo import Demo, DemoError
from gatherer.files.lock import exclusive
from tests.factories import call, rows, run
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


def test_demo_shows_every_step_and_removes_its_files(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    result = run(tmp_path, "demo", "--count", "120", **variables)
    output = result.stdout.decode()
    assert result.returncode == 0, output
    for words in (
        "gatherer serve", "gatherer gather", "sent", "delivered", "read", "failed", "reacted", "replied", "131026",
        "rejected", "a second run changes nothing", "posting the whole campaign again changes nothing",
        "gatherer init",
    ):  # fmt: skip
        assert words in output
    assert output.count("yes  ") == 5
    assert " NO " not in output
    assert b"Traceback" not in result.stderr
    assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def test_the_figures_of_the_demo_match_the_tables(tmp_path: Path) -> None:
    result = run(tmp_path, "demo", "--count", "80", "--directory", "demo", "--json")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    responses = rows(tmp_path / "demo" / "responses.db")
    for kind, number in figures["kinds"].items():
        assert number == sum(row["kind"] == kind for row in responses)
    assert sum(figures["kinds"].values()) == len(responses) == figures["tests"]
    assert sum(number for *_, number in figures["failures"]) == figures["kinds"]["failed"]
    assert all(figures["proofs"].values())


def test_the_directory_of_the_demo_is_a_working_installation(tmp_path: Path) -> None:
    assert run(tmp_path, "demo", "--count", "20", "--directory", "demo").returncode == 0
    configured = ("--config", "demo/gatherer.toml")
    state = json.loads(call(tmp_path, *configured, "status", "--json").stdout)
    assert state["inbox"]["backlog"] == 0
    second_run = json.loads(call(tmp_path, *configured, "gather", "--json").stdout)
    assert second_run["read"] == 0
    assert call(tmp_path, *configured, "config", "check").returncode == 0


def test_the_figures_change_with_any_changed_row(tmp_path: Path) -> None:
    """The digest covers every column of every row, so a proof fails if a second run changes a row."""
    demo = Demo(tmp_path / "demo", count=20, seed=1)
    with demo.server() as address:
        demo.post(address, lambda _done, _total: None)
        demo.gather(lambda _done, _total: None)
    before = demo.figures()
    assert demo.figures() == before
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(demo.configuration.target.path)) as connection, connection:
        connection.execute("UPDATE response SET changed_at = changed_at || '0' WHERE id = 1")
    assert demo.figures().digest != before.digest
    assert demo.figures().kinds == before.kinds


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows, Ctrl-C reaches all processes of the console")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_server_and_removes_its_files(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gatherer", "demo", "--count", "5000"],
        cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until(lambda: list(tmp_path.glob("*/inbox.db")))
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert b"Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_the_server_stops_when_the_demo_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gatherer", "demo", "--count", "5000", "--directory", "shown"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    holder = tmp_path / "shown" / "inbox.db.lock.holder"
    try:
        wait_until(holder.exists)
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not holder.exists())  # serve removes the file when it releases the inbox


def _server_pid(demo: Demo) -> int:
    """Return the id of the server process of `demo`, which is running."""
    holder: dict[str, int] = json.loads((demo.folder / "inbox.db.lock.holder").read_text(encoding="utf-8"))
    return holder["pid"]


def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo", count=5, seed=1)
    (tmp_path / "demo" / "inbox.db").mkdir()
    with pytest.raises(DemoError, match=r"the server did not start: Error: .*inbox\.db is a folder"):
        with demo.server():
            pass


def test_a_server_that_starts_too_slowly_is_reported_and_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatherer.app.demo.START_SECONDS", 0.0)
    demo = Demo(tmp_path / "demo", count=5, seed=1)
    with pytest.raises(DemoError, match="the server did not start within 0 s"):
        with demo.server():
            pass
    assert not (tmp_path / "demo" / "inbox.db.lock.holder").exists()


def test_a_server_that_is_killed_during_the_demo_is_reported(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo", count=5, seed=1)
    with pytest.raises(
        DemoError, match=r"the server ended with exit code .*; .*serve\.log says: listening at"
    ):
        with demo.server():
            os.kill(_server_pid(demo), signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="LOUD: needs SIGSTOP, to pause the server")
def test_a_server_that_does_not_stop_is_killed_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatherer.app.demo.STOP_SECONDS", 0.1)
    demo = Demo(tmp_path / "demo", count=5, seed=1)
    pids: list[int] = []

    def pause_server() -> None:
        pids.append(_server_pid(demo))
        os.kill(pids[0], signal.SIGSTOP)

    with pytest.raises(DemoError, match="did not stop when its input ended, and was killed"):
        with demo.server():
            pause_server()
    assert not psutil.pid_exists(pids[0])


def test_a_run_of_another_process_during_the_demo_is_reported(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "demo", count=5, seed=1)
    with exclusive(demo.configuration.target.lock):
        with pytest.raises(DemoError, match="another run is in progress"):
            demo.gather(lambda _done, _total: None)


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--count", "0"),
        ("demo", "--count", "many"),
        ("demo", "--seed", "-1"),
        ("demo", "--directory", "occupied"),
        ("demo", "--directory", "occupied/file"),
        pytest.param(
            ("demo", "--directory", "x" * 300),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="exit 3 there"),
        ),
        ("--config", "x.toml", "demo"),
        ("demo", "surplus"),
    ],
)
def test_invalid_input_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "file").write_text("mine", encoding="utf-8")
    result = call(tmp_path, *arguments)
    output = result.stderr.decode()
    assert result.returncode == 2, output
    assert "Traceback" not in output
    assert "Error: " in output
    assert [path.name for path in (tmp_path / "occupied").iterdir()] == ["file"]
