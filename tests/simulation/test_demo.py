"""`gatherer demo`: the whole path, without any configuration, and honest about what it finds."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gatherer.app.demo import Demo
from tests.factories import call, rows, run
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


def test_it_shows_the_whole_path_and_leaves_nothing_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    variables = {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    result = run(tmp_path, "demo", "--count", "120", **variables)
    said = result.stdout.decode()
    assert result.returncode == 0, said
    for words in (
        "gatherer serve", "gatherer gather", "sent", "delivered", "read", "failed", "reacted", "replied", "131026",
        "rejected", "a second run changes nothing", "posting the whole campaign again changes nothing",
        "gatherer init",
    ):  # fmt: skip
        assert words in said
    assert said.count("yes  ") == 5
    assert " NO " not in said
    assert b"Traceback" not in result.stderr
    assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def test_its_figures_are_what_the_tables_say(tmp_path: Path) -> None:
    result = run(tmp_path, "demo", "--count", "80", "--directory", "kept", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    responses = rows(tmp_path / "kept" / "responses.db")
    for kind, number in told["kinds"].items():
        assert number == sum(row["kind"] == kind for row in responses)
    assert sum(told["kinds"].values()) == len(responses) == told["tests"]
    assert sum(number for *_, number in told["failures"]) == told["kinds"]["failed"]
    assert all(told["proofs"].values())


def test_what_it_leaves_in_a_folder_is_a_working_set_up(tmp_path: Path) -> None:
    assert run(tmp_path, "demo", "--count", "20", "--directory", "kept").returncode == 0
    configured = ("--config", "kept/gatherer.toml")
    state = json.loads(call(tmp_path, *configured, "status", "--json").stdout)
    assert state["inbox"]["backlog"] == 0
    again = json.loads(call(tmp_path, *configured, "gather", "--json").stdout)
    assert again["read"] == 0
    assert call(tmp_path, *configured, "config", "check").returncode == 0


def test_a_proof_that_fails_is_told_and_is_an_error(tmp_path: Path) -> None:
    """Rows that change between the runs are noticed: the digest covers every column of every row."""
    demo = Demo(tmp_path / "kept", count=20, seed=1)
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


@pytest.mark.skipif(
    sys.platform == "win32", reason="a test cannot press Ctrl-C there without pressing it for all"
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_interrupted_it_stops_the_server_and_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
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


def test_when_killed_its_server_stops_too(tmp_path: Path) -> None:
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
    wait_until(lambda: not holder.exists())  # serve takes it away when it lets go of the inbox


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--count", "0"),
        ("demo", "--count", "many"),
        ("demo", "--seed", "-1"),
        ("demo", "--directory", "occupied"),
        ("demo", "--directory", "occupied/file"),
        ("--config", "x.toml", "demo"),
        ("demo", "surplus"),
    ],
)
def test_wrong_input_ends_with_a_clear_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "file").write_text("mine", encoding="utf-8")
    result = call(tmp_path, *arguments)
    said = result.stderr.decode()
    assert result.returncode == 2, said
    assert "Traceback" not in said
    assert "Error: " in said
    assert [path.name for path in (tmp_path / "occupied").iterdir()] == ["file"]
