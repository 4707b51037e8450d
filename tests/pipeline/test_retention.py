"""`[target] keep_days` through the real commands: what is too old goes at the end of a run, and stays away."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.factories import CONFIGURATION, configure, envelope, fill_inbox, rows, run, status, text, value

DAY = 24 * 60 * 60


def limits(folder: Path, keep_days: str) -> None:
    configure(folder, CONFIGURATION + f"[target]\nkeep_days = {{ {keep_days} }}\n")


def command(folder: Path, *arguments: str) -> Any:
    ended = run(folder, *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def replies(folder: Path) -> dict[str, str | None]:
    return {
        row["message_id"]: row["reply_text"]
        for row in rows(folder / "responses.db")
        if row["kind"] == "replied"
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an inbox of answers and receipts of several ages."""
    now = int(time.time())
    posts = [
        envelope(value(messages=[text("wamid.old", "old words", timestamp=str(now - 10 * DAY))])),
        envelope(value(messages=[text("wamid.new", "new words", timestamp=str(now - 2 * DAY))])),
        envelope(value(statuses=[status("wamid.A", "sent", now - 100 * DAY)])),
        envelope(value(statuses=[status("wamid.B", "sent", now - 10 * DAY)])),
    ]
    fill_inbox(tmp_path / "inbox.db", posts)
    return tmp_path


def test_what_is_too_old_goes_and_no_replay_brings_it_back(folder: Path) -> None:
    limits(folder, "text = 5, rows = 50")
    first = command(folder, "gather")
    assert first["retention"] == {"blanked": 1, "deleted": 1}
    assert replies(folder) == {"wamid.old": None, "wamid.new": "new words"}
    kept = rows(folder / "responses.db")
    assert {row["message_id"] for row in kept} == {"wamid.old", "wamid.new", "wamid.B"}
    assert "retention" not in command(folder, "gather"), "nothing has become too old since"
    again = command(folder, "replay", "--all")
    # The row is decoded once more, and goes once more; the text does not even come back.
    assert (again["inserted"], again["filled"], again["retention"]) == (
        {"sent": 1}, 0, {"blanked": 0, "deleted": 1},
    )  # fmt: skip
    assert rows(folder / "responses.db") == kept


def test_it_goes_with_the_next_run_although_nothing_is_new(folder: Path) -> None:
    limits(folder, "")
    assert "retention" not in command(folder, "gather")
    before = rows(folder / "responses.db")
    limits(folder, "text = 1, rows = 50")
    would = command(folder, "gather", "--dry-run")
    assert (would["read"], would["retention"]) == (0, {"blanked": 2, "deleted": 1})
    told = run(folder, "gather", "--dry-run").stdout
    assert b"would no longer keep: the text of 2 answers, 1 rows" in told
    assert rows(folder / "responses.db") == before
    told = run(folder, "gather", "--limit", "1").stdout
    assert b"no longer kept: the text of 2 answers, 1 rows" in told
    assert replies(folder) == {"wamid.old": None, "wamid.new": None}
    assert b"no longer kept" not in run(folder, "gather").stdout


def test_a_replay_also_retires_what_it_did_not_touch(folder: Path) -> None:
    limits(folder, "")
    command(folder, "gather")
    limits(folder, "text = 5")
    told = run(folder, "replay", "--rejected").stdout
    assert b"replayed 0 notifications" in told
    assert b"no longer kept: the text of 1 answers\n" in told.replace(b"\r\n", b"\n")
    assert replies(folder) == {"wamid.old": None, "wamid.new": "new words"}
