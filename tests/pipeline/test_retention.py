"""`[target] keep_days` through the real commands: a run removes expired text and rows for good."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.factories import CONFIGURATION, configure, envelope, fill_inbox, rows, run, status, text, value

DAY = 24 * 60 * 60


def configure_retention(folder: Path, keep_days: str) -> None:
    configure(folder, CONFIGURATION + f"[target]\nkeep_days = {{ {keep_days} }}\n")


def command(folder: Path, *arguments: str) -> Any:
    result = run(folder, *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


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
    bodies = [
        envelope(value(messages=[text("wamid.old", "old words", timestamp=str(now - 10 * DAY))])),
        envelope(value(messages=[text("wamid.new", "new words", timestamp=str(now - 2 * DAY))])),
        envelope(value(statuses=[status("wamid.A", "sent", now - 100 * DAY)])),
        envelope(value(statuses=[status("wamid.B", "sent", now - 10 * DAY)])),
    ]
    fill_inbox(tmp_path / "inbox.db", bodies, received_at=now * 1000)
    return tmp_path


def test_replay_does_not_restore_expired_text_and_rows(folder: Path) -> None:
    configure_retention(folder, "text = 5, rows = 50")
    first = command(folder, "gather")
    assert first["retention"] == {"blanked": 1, "deleted": 1}
    assert replies(folder) == {"wamid.old": None, "wamid.new": "new words"}
    remaining = rows(folder / "responses.db")
    assert {row["message_id"] for row in remaining} == {"wamid.old", "wamid.new", "wamid.B"}
    assert "retention" not in command(folder, "gather"), "no row has expired since"
    replayed = command(folder, "replay", "--all")
    # The row is inserted and deleted again; the text is not restored.
    assert (replayed["inserted"], replayed["filled"], replayed["retention"]) == (
        {"sent": 1}, 0, {"blanked": 0, "deleted": 1},
    )  # fmt: skip
    assert rows(folder / "responses.db") == remaining


def test_a_run_without_new_notifications_removes_expired_text_and_rows(folder: Path) -> None:
    configure_retention(folder, "")
    assert "retention" not in command(folder, "gather")
    before = rows(folder / "responses.db")
    configure_retention(folder, "text = 1, rows = 50")
    dry_run = command(folder, "gather", "--dry-run")
    assert (dry_run["read"], dry_run["retention"]) == (0, {"blanked": 2, "deleted": 1})
    output = run(folder, "gather", "--dry-run").stdout
    assert b"would no longer keep: the text of 2 answers, 1 rows" in output
    assert rows(folder / "responses.db") == before
    output = run(folder, "gather", "--limit", "1").stdout
    assert b"no longer kept: the text of 2 answers, 1 rows" in output
    assert replies(folder) == {"wamid.old": None, "wamid.new": None}
    assert b"no longer kept" not in run(folder, "gather").stdout


def test_a_replay_also_removes_expired_text_of_other_notifications(folder: Path) -> None:
    configure_retention(folder, "")
    command(folder, "gather")
    configure_retention(folder, "text = 5")
    output = run(folder, "replay", "--rejected").stdout
    assert b"replayed 0 notifications" in output
    assert b"no longer kept: the text of 1 answers\n" in output.replace(b"\r\n", b"\n")
    assert replies(folder) == {"wamid.old": None, "wamid.new": "new words"}
