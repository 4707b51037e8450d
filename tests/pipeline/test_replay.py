"""Replay: recovery that an operator can repeat, and that corrects rows of a faulty decoder."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.factories import (
    all_rows,
    call,
    configure,
    envelope,
    fill_inbox,
    inbox_files,
    receipts,
    rows,
    status,
    text,
    value,
)

BODIES = [
    receipts("wamid.A"),
    receipts("wamid.B"),
    envelope(value(statuses=[status("wamid.A", biz_opaque_callback_data="spring")])),
    envelope(value(messages=[text("wamid.R", "yes")])),
    b"junk",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an inbox of five gathered notifications."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", BODIES)
    assert call(tmp_path, "gather").returncode == 0
    return tmp_path


def replay(folder: Path, *arguments: str) -> dict[str, object]:
    result = call(folder, "replay", "--json", *arguments)
    assert result.returncode == 0, result.stderr.decode()
    summary: dict[str, object] = json.loads(result.stdout)
    return summary


def tamper(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "responses.db")) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (["--all"], 5),
        (["--id", "2", "--id", "4"], 2),
        (["--from-id", "2"], 4),
        (["--to-id", "2"], 2),
        (["--from-id", "2", "--to-id", "3"], 2),
        (["--since", "2026-09-21T14:13:23Z"], 2),
        (["--until", "2026-09-21T16:13:21+02:00"], 1),
        (["--since", "2026-09-21", "--until", "2026-09-22"], 5),
        (["--endpoint", "apteco"], 5),
        (["--rejected"], 1),
        (["--id", "99"], 0),
        (["--to-id", "9223372036854775807"], 5),
    ],
)
def test_replay_of_selected_notifications_does_not_change_correct_rows(
    folder: Path, choice: list[str], read: int
) -> None:
    before = all_rows(folder / "responses.db")
    assert replay(folder, *choice)["read"] == read
    assert all_rows(folder / "responses.db") == before


def test_replay_restores_missing_rows(folder: Path) -> None:
    before = all_rows(folder / "responses.db")
    tamper(folder, "DELETE FROM response WHERE kind = 'replied'")
    assert replay(folder, "--all")["inserted"] == {"replied": 1}
    assert all_rows(folder / "responses.db") == before


def test_replay_does_not_move_the_position(folder: Path) -> None:
    fill_inbox(folder / "inbox.db", [receipts("wamid.C")])
    replay(folder, "--all")
    assert json.loads(call(folder, "gather", "--json").stdout)["read"] == 1


def test_rebuild_corrects_rows_of_a_faulty_decoder(folder: Path) -> None:
    """A wrong value that is smaller than the right one survives every merge, and a wrong key stays forever."""
    before = all_rows(folder / "responses.db")
    tamper(folder, "UPDATE response SET reply_text = '' WHERE kind = 'replied'")
    tamper(folder, "UPDATE response SET key = x'00', message_id = 'wrong' WHERE message_id = 'wamid.B'")
    replay(folder, "--all")
    assert all_rows(folder / "responses.db") != before
    summary = replay(folder, "--all", "--rebuild")
    assert summary["removed"] == 5  # four responses, including the wrong one, and a rejection
    assert all_rows(folder / "responses.db") == before


def test_rebuild_preserves_values_from_other_notifications(folder: Path) -> None:
    """Notification 1 created the row, notification 3 added its reference: rebuilding 1 alone must not lose it."""
    before = all_rows(folder / "responses.db")
    replay(folder, "--id", "1", "--rebuild")
    assert all_rows(folder / "responses.db") == before
    (row,) = [row for row in rows(folder / "responses.db") if row["message_id"] == "wamid.A"]
    assert row["client_reference"] == "spring"


def test_rebuild_from_one_inbox_keeps_what_another_one_told(tmp_path: Path) -> None:
    inboxes = "".join(f"[[inbox]]\nname = '{name}'\npath = '{name}.db'\n" for name in "ab")
    configure(tmp_path, inboxes)
    fill_inbox(tmp_path / "a.db", [BODIES[0], BODIES[1]])
    fill_inbox(tmp_path / "b.db", [BODIES[2]])
    assert call(tmp_path, "gather").returncode == 0
    before = all_rows(tmp_path / "responses.db")
    assert {row["client_reference"] for row in before["response"]} == {None, "spring"}
    summary = replay(tmp_path, "--all", "--rebuild", "--inbox", "a")
    assert (summary["removed"], summary["merged"]) == (2, 0)
    assert all_rows(tmp_path / "responses.db") == before
    for path in tmp_path.glob("b.db*"):
        path.rename(tmp_path / f"moved-{path.name}")
    result = call(tmp_path, "replay", "--all", "--rebuild", "--inbox", "a")
    assert result.returncode == 0
    assert b"purged, erased or out of reach: 1" in result.stdout
    assert b"the inbox b contributed" in result.stderr
    assert all_rows(tmp_path / "responses.db") == before


def test_rebuild_of_rejected_notifications_preserves_the_rejections(folder: Path) -> None:
    before = all_rows(folder / "responses.db")
    summary = replay(folder, "--rejected", "--rebuild")
    assert (summary["read"], summary["removed"], summary["rejected"]) == (1, 1, 1)
    assert all_rows(folder / "responses.db") == before


def test_replay_with_another_provider_resolves_rejections(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")], provider="unknown")
    call(tmp_path, "gather")
    assert [row["reason_class"] for row in rows(tmp_path / "responses.db", "rejected")] == [
        "unknown_provider"
    ]
    summary = replay(tmp_path, "--rejected", "--provider", "meta")
    assert (summary["inserted"], summary["resolved"]) == ({"sent": 1}, 1)
    (row,) = rows(tmp_path / "responses.db", "rejected")
    assert row["resolved_at"]
    assert replay(tmp_path, "--rejected")["read"] == 0


def test_rejected_notifications_can_be_replayed_without_the_inbox(folder: Path) -> None:
    for file in inbox_files(folder):
        file.unlink()
    assert replay(folder, "--rejected")["read"] == 1


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    tamper(folder, "DELETE FROM response")
    assert replay(folder, "--all", "--dry-run")["inserted"] == {"sent": 2, "replied": 1}
    assert replay(folder, "--all", "--rebuild", "--dry-run")["inserted"] == {"sent": 2, "replied": 1}
    assert rows(folder / "responses.db") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], b"choose what to replay"),
        (["--rejected", "--id", "1"], b"cannot be combined"),
        (["--all", "--rejected"], b"cannot be combined"),
        (["--since", "yesterday"], b"invalid time"),
        (["--id", "0"], b"--id"),
        (["--since", "0001-01-01T00:00+14:00"], b"invalid time"),
        (["--until", "9999-12-31T23:59-14:00"], b"invalid time"),
        (["--all", "--provider", "pigeon"], b"no provider 'pigeon'"),
    ],
)
def test_invalid_options_are_usage_errors(folder: Path, arguments: list[str], words: bytes) -> None:
    result = call(folder, "replay", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert b"Traceback" not in result.stderr
