"""`gatherer schema` and `gatherer target` with an embedded target: what they create, check and refuse."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.factories import call, configure


def test_apply_creates_the_tables_once_and_check_tells_whether_they_are_there(tmp_path: Path) -> None:
    configure(tmp_path)
    before = call(tmp_path, "schema", "check")
    assert before.returncode == 3
    assert b"the tables do not exist yet; the next run creates them" in before.stderr
    assert not (tmp_path / "responses.db").exists()
    assert call(tmp_path, "schema", "apply").stdout == b"applied: tables, views\n"
    assert call(tmp_path, "schema", "apply").stdout == b"the tables are up to date\n"
    after = call(tmp_path, "schema", "check")
    assert after.returncode == 0
    assert b"the tables have version 1, as needed" in after.stdout
    checked = json.loads(call(tmp_path, "schema", "check", "--json").stdout)
    assert (checked["version"], checked["needed"], checked["problem"]) == (1, 1, None)
    assert call(tmp_path, "target", "check").returncode == 0


def test_the_printed_script_creates_the_same_tables_and_views(tmp_path: Path) -> None:
    configure(tmp_path)
    script = call(tmp_path, "schema", "print").stdout.decode()
    call(tmp_path, "schema", "apply")
    query = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE '%sqlite_%' ORDER BY name"
    with (
        closing(sqlite3.connect(":memory:")) as printed,
        closing(sqlite3.connect(tmp_path / "responses.db")) as made,
    ):
        printed.executescript(script)
        assert printed.execute(query).fetchall() == made.execute(query).fetchall()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("ALTER TABLE response DROP COLUMN client_reference", "response.client_reference is missing"),
        (
            "ALTER TABLE response RENAME COLUMN reply_text TO x; ALTER TABLE response ADD COLUMN reply_text REAL",
            "response.reply_text is REAL instead of TEXT",
        ),
    ],
)
def test_check_names_a_column_that_differs(tmp_path: Path, statement: str, problem: str) -> None:
    configure(tmp_path)
    call(tmp_path, "schema", "apply")
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection, connection:
        views = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
        for (name,) in views:
            connection.execute(f"DROP VIEW {name}")
        connection.executescript(statement)
    for command in ("schema", "target"):
        checked = call(tmp_path, command, "check")
        assert checked.returncode == 3
        assert problem in checked.stderr.decode()
    assert problem in json.loads(call(tmp_path, "schema", "check", "--json").stdout)["problem"]
    assert any(
        problem in line for line in json.loads(call(tmp_path, "target", "check", "--json").stdout)["problems"]
    )


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_target_is_reported_and_not_changed(tmp_path: Path, content: bytes) -> None:
    configure(tmp_path)
    (tmp_path / "responses.db").write_bytes(content)
    for command in ("target check", "schema check", "schema apply"):
        checked = call(tmp_path, *command.split())
        assert checked.returncode == 3
        assert "responses.db" in checked.stderr.decode()
        assert checked.stderr.count(b"\n") == 1
    assert (tmp_path / "responses.db").read_bytes() == content


@pytest.mark.parametrize("command", ["apply", "check"])
def test_a_login_for_a_file_is_refused(tmp_path: Path, command: str) -> None:
    configure(tmp_path)
    result = call(tmp_path, "schema", command, "--connection-env", "DDL", DDL="Server=s")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"--connection-env is for SQL Server: the target is the file" in result.stderr
    assert not (tmp_path / "responses.db").exists()


def test_a_file_cannot_be_removed_by_a_script(tmp_path: Path) -> None:
    configure(tmp_path)
    result = call(tmp_path, "schema", "print", "--remove")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"responses.db" in result.stderr
