"""`[[after_run]]`: what a run does with new rows."""

import json
import logging
import os
import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from gatherer.app import after_run
from tests.factories import CONFIGURATION, call, configure, envelope, fill_inbox, receipts, run, text, value
from tests.targets.engines import SERVER, SQLServerDatabase, needs_server
from tests.waiting import BUSY_SECONDS, wait_until

COUNT = "import sys; open(sys.argv[1], 'a').write('x')"  # appends one x to a file


def step(name: str, **keys: Any) -> str:
    """Return the TOML of a step."""
    lines = [
        f"{key} = {literal if isinstance(literal, str) else json.dumps(literal)}"
        for key, literal in keys.items()
    ]
    return "\n".join(["[[after_run]]", f'name = "{name}"', *lines, ""])


def python(program: str, *arguments: str) -> str:
    """Return a command that runs `program`, as TOML."""
    return json.dumps([sys.executable, "-c", program, *arguments])


def with_steps(folder: Path, *steps: str) -> None:
    configure(folder, CONFIGURATION + "".join(steps))


def deliver(folder: Path, *message_ids: str) -> None:
    fill_inbox(folder / "inbox.db", [receipts(message_id) for message_id in message_ids])


def recorded(folder: Path) -> list[tuple[str, int, str | None]]:
    """Return name, exit code and last line of each step in `gather_run`."""
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return connection.execute(
            "SELECT step, exit_code, last_line FROM gather_run WHERE step IS NOT NULL ORDER BY id"
        ).fetchall()


def taken(folder: Path, *arguments: str) -> dict[str, int]:
    """Run `gather`, and return the exit codes of the steps that it took."""
    ended = call(folder, "gather", "--json", *arguments)
    return {result["name"]: result["exit_code"] for result in json.loads(ended.stdout).get("after_run", [])}


def test_steps_are_taken_in_order_and_only_after_new_rows_unless_always(tmp_path: Path) -> None:
    note = "import sys; open('order', 'a').write(sys.argv[1])"
    with_steps(
        tmp_path,
        step("first", command=python(note, "1")),
        step("second", command=python(note, "2"), always=True),
        step("third", command=python(note, "3")),
    )
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"first": 0, "second": 0, "third": 0}
    assert taken(tmp_path) == {"second": 0}
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    assert taken(tmp_path) == {"second": 0}, "a redelivery that changes nothing is nothing new"
    deliver(tmp_path, "wamid.B")
    assert taken(tmp_path, "--dry-run") == {}
    assert taken(tmp_path) == {"first": 0, "second": 0, "third": 0}
    assert (tmp_path / "order").read_text() == "1232" + "2" + "123"


def test_a_step_that_fails_stops_no_other_and_is_taken_again_until_it_succeeds(tmp_path: Path) -> None:
    program = "import pathlib, sys; print('one'); print('database  error'); sys.exit(0 if pathlib.Path('up').exists() else 3)"
    with_steps(
        tmp_path, step("load", command=python(program)), step("count", command=python(COUNT, "counted"))
    )
    deliver(tmp_path, "wamid.A")
    ended = call(tmp_path, "gather")
    assert ended.returncode == 1
    assert re.search(rb"ERROR .*step load: exit code 3: database  error", ended.stderr), ended.stderr
    assert call(tmp_path, "export").stdout.count(b"wamid.A") == 1, "the rows are untouched"
    assert taken(tmp_path) == {"load": 3, "count": 0}, "nothing is new, but the step has not succeeded yet"
    state = json.loads(call(tmp_path, "status", "--json").stdout)
    assert state["after_run"]["load"]["exit_code"] == 3
    assert state["last_run"]["exit_code"] == 0
    (tmp_path / "up").touch()
    assert call(tmp_path, "gather").returncode == 0
    assert taken(tmp_path) == {}
    assert recorded(tmp_path) == [
        ("load", 3, "database  error"),
        ("count", 0, None),
        ("load", 3, "database  error"),
        ("count", 0, None),
        ("load", 0, "database  error"),
        ("count", 0, None),
    ]
    assert b"after run" in call(tmp_path, "status").stdout


def test_a_run_takes_the_steps_that_a_killed_run_did_not_take(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal; pathlib.Path('up').exists() or os.kill(os.getppid(), signal.SIGTERM)"
    )
    with_steps(
        tmp_path, step("kill", command=python(program)), step("count", command=python(COUNT, "counted"))
    )
    deliver(tmp_path, "wamid.A")
    assert run(tmp_path, "gather").returncode != 0
    assert not (tmp_path / "counted").exists()
    (tmp_path / "up").touch()
    assert taken(tmp_path) == {"kill": 0, "count": 0}
    assert (tmp_path / "counted").read_text() == "x"


def test_a_step_is_ended_after_its_time_with_its_children(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    program = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        "open('child', 'w').write(str(p.pid)); p.wait()"
    )
    with_steps(
        tmp_path, step("slow", command=python(program), timeout_seconds=3), step("next", command=python(""))
    )
    deliver(tmp_path, "wamid.A")
    started = time.monotonic()
    assert taken(tmp_path) == {"slow": after_run.TIMED_OUT, "next": 0}
    assert time.monotonic() - started < 60 + BUSY_SECONDS
    number = int((tmp_path / "child").read_text())

    def is_gone() -> bool:
        return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE

    wait_until(is_gone, "the child of the step still runs")


def test_a_child_that_a_step_leaves_behind_does_not_hold_the_run(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE); "
        "print(p.pid)"
    )
    with_steps(tmp_path, step("starts", command=python(program)))
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"starts": 0}


def test_a_program_that_does_not_exist_is_a_failure_of_its_step_alone(tmp_path: Path) -> None:
    with_steps(tmp_path, step("typo", command='["no-such-program"]'), step("next", command=python("")))
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"typo": after_run.NOT_STARTED, "next": 0}
    assert "no-such-program cannot be started" in str(recorded(tmp_path)[0][2])


@pytest.mark.skipif(os.name == "nt", reason="a signal is an exit code of POSIX")
def test_a_step_that_a_signal_ends_has_failed(tmp_path: Path) -> None:
    with_steps(tmp_path, step("killed", command=python("import os; os.kill(os.getpid(), 9)")))
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"killed": -9}


def test_the_last_line_is_short_and_without_control_characters(tmp_path: Path) -> None:
    program = (
        r"import sys; sys.stdout.buffer.write(b'x' * 9000 + b'\n\x1b[31mred\xff\t' + b'y' * 900 + b'\n \n')"
    )
    with_steps(tmp_path, step("odd", command=python(program)))
    deliver(tmp_path, "wamid.A")
    taken(tmp_path)
    line = recorded(tmp_path)[0][2]
    assert line is not None
    assert (line[:9], len(line), line.isprintable()) == (" [31mred�", 500, True)


def test_exports_hand_each_row_on_once_and_an_opt_out_as_well(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with_steps(
        tmp_path,
        step(
            "responses",
            export="{ output = 'out/r_%Y%m%d_%H%M%S_%f.csv', kind = ['sent'], delimiter = ';', bom = true }",
        ),
        step("opt-outs", export="{ output = 'out/o_%Y%m%d_%H%M%S_%f.csv', format = 'opt-outs' }"),
    )
    deliver(tmp_path, "wamid.A")
    fill_inbox(tmp_path / "inbox.db", [envelope(value(messages=[text("wamid.S", "Stop.")]))])
    assert taken(tmp_path) == {"responses": 0, "opt-outs": 0}
    assert taken(tmp_path) == {}
    deliver(tmp_path, "wamid.B")
    assert taken(tmp_path) == {"responses": 0, "opt-outs": 0}
    names = sorted(path.name[0] for path in (tmp_path / "out").iterdir())
    assert names == ["o", "r", "r"], "no file without rows"
    for path, message_id in zip(sorted((tmp_path / "out").glob("r_*")), ("wamid.A", "wamid.B"), strict=True):
        content = path.read_text(encoding="utf-8")
        assert (content[:9], content.count("wamid."), content.count(message_id)) == (
            "\ufeffprovider"[:9],
            1,
            1,
        )
    assert recorded(tmp_path)[-1][2] == "0 rows; held back: nothing"
    assert "1 rows; held back: nothing" in str(recorded(tmp_path)[0][2])


def test_a_missing_folder_fails_the_export_until_it_is_there(tmp_path: Path) -> None:
    with_steps(tmp_path, step("responses", export="{ output = 'out/r.csv' }"))
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"responses": 3}
    (tmp_path / "out").mkdir()
    assert taken(tmp_path) == {"responses": 0}
    assert "wamid.A" in (tmp_path / "out" / "r.csv").read_text(encoding="utf-8")


def test_a_row_of_the_map_is_something_new(tmp_path: Path) -> None:
    with_steps(tmp_path, step("ferg", export="{ output = 'whatsapp_%Y%m%d_%H%M%S_%f.txt', format = 'ferg' }"))
    deliver(tmp_path, "wamid.A")
    assert taken(tmp_path) == {"ferg": 0}
    assert list(tmp_path.glob("whatsapp_*")) == []
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection, connection:
        connection.execute("INSERT INTO message_map (message_id, campaign) VALUES ('wamid.A', 'spring')")
    assert taken(tmp_path) == {"ferg": 0}
    (path,) = tmp_path.glob("whatsapp_*")
    assert '"Sent"' in path.read_text(encoding="utf-8")


def test_a_schedule_goes_on_after_a_step_that_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_steps(tmp_path, step("load", command=python("raise SystemExit(4)"), always=True))
    deliver(tmp_path, "wamid.A")
    with caplog.at_level(logging.ERROR):
        assert [call(tmp_path, "gather").returncode for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (step("sql", sql='"EXEC dbo.load_responses"'), 'needs a [target] with kind = "sqlserver"'),
        (step("none"), "exactly one of command, sql and export"),
        (step("two", sql='"SELECT 1"', command='["x"]'), "exactly one of command, sql and export"),
        (step("a b", command='["x"]'), "name"),
        (step("x", command='["x"]') * 2, "same name"),
        (step("x", command="[]"), "command"),
        (step("x", command='["C:\\temp.exe"]'), "command"),
        (step("x", command='["x"]', timeout_seconds=0), "timeout_seconds"),
        (step("x", export="{ format = 'csv' }"), "output"),
        (step("x", export="{ output = 'x', format = 'xml' }"), "format"),
        (step("x", export="{ output = 'x', kind = ['sennt'] }"), "kind"),
        (step("x", export="{ output = 'x', colour = 'red' }"), "colour"),
    ],
)
def test_a_wrong_step_is_reported_with_its_key(tmp_path: Path, steps: str, problem: str) -> None:
    with_steps(tmp_path, steps)
    ended = call(tmp_path, "config", "check")
    assert ended.returncode == 2
    assert "after_run" in ended.stderr.decode()
    assert problem in ended.stderr.decode()


@pytest.mark.parametrize(
    ("export", "problem"),
    [
        ("{ output = 'out/r.csv' }", "there is no folder"),
        ("{ output = 'r.csv' }", "has no time, as in %Y%m%d_%H%M%S"),
        ("{ output = 'r_%S.csv', time_zone = 'Berlin' }", "there is no time zone 'Berlin'"),
        ("{ output = 'r_%S.csv', delimiter = ';;' }", "write one character"),
        ("{ output = 'r_%S.txt', format = 'ferg', bom = true }", "cannot be combined with --format ferg"),
        ("{ output = 'r_%S.csv', format = 'opt-outs', kind = ['read'] }", "cannot be combined"),
    ],
)
def test_config_check_warns_of_an_export_that_will_fail(tmp_path: Path, export: str, problem: str) -> None:
    with_steps(tmp_path, step("responses", export=export))
    ended = call(tmp_path, "config", "check")
    assert ended.returncode == 0, "on the machine that receives, the folder may be missing"
    assert re.search(f"Warning: after_run responses: .*{re.escape(problem)}", ended.stderr.decode())


@pytest.mark.sqlserver
@needs_server
def test_a_statement_runs_in_sql_server_and_its_error_fails_the_step(tmp_path: Path) -> None:
    database = SQLServerDatabase(tmp_path)
    schema = database.schema
    insert = f"INSERT INTO {schema}.message_map (message_id, campaign) VALUES ('wamid.Z', N'ü')"
    configure(
        tmp_path,
        CONFIGURATION
        + f'[target]\nkind = "sqlserver"\nconnection = {json.dumps(SERVER)}\nschema = "{schema}"\nstate = "state"\n'
        + step("insert", sql=json.dumps(insert, ensure_ascii=False))
        + step("error", sql="\"SELECT 1; RAISERROR(N'not today', 16, 1)\"")
        + step("slow", sql="\"WAITFOR DELAY '00:05:00'\"", timeout_seconds=2),
    )
    deliver(tmp_path, "wamid.A")
    assert call(tmp_path, "gather").returncode == 1
    assert [row["campaign"] for row in database.query("SELECT campaign FROM $(schema).message_map")] == ["ü"]
    results = {
        row["step"]: (row["exit_code"], row["last_line"])
        for row in database.query("SELECT * FROM $(schema).gather_run WHERE step IS NOT NULL")
    }
    assert results["insert"] == (0, None)
    assert results["error"][0] == 3
    assert "not today" in results["error"][1]
    assert results["slow"][0] != 0
