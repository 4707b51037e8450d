"""Replay: manual recovery that can be repeated, and that mends what a decoder once got wrong."""

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

POSTS = [
    receipts("wamid.A"),
    receipts("wamid.B"),
    envelope(value(statuses=[status("wamid.A", biz_opaque_callback_data="spring")])),
    envelope(value(messages=[text("wamid.R", "yes")])),
    b"junk",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an inbox of five notifications that have been gathered."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", POSTS)
    assert call(tmp_path, "gather").returncode == 0
    return tmp_path


def replay(folder: Path, *arguments: str) -> dict[str, object]:
    ended = call(folder, "replay", "--json", *arguments)
    assert ended.returncode == 0, ended.stderr.decode()
    summary: dict[str, object] = json.loads(ended.stdout)
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
        (["--endpoint", "nobody"], 0),
        (["--rejected"], 1),
        (["--id", "99"], 0),
        (["--id", "9223372036854775808"], 0),
        (["--from-id", "9223372036854775808"], 0),
        (["--to-id", "9223372036854775808"], 5),
    ],
)
def test_notifications_are_chosen_and_change_nothing_that_is_right(
    folder: Path, choice: list[str], read: int
) -> None:
    before = all_rows(folder / "responses.db")
    assert replay(folder, *choice)["read"] == read
    assert all_rows(folder / "responses.db") == before


def test_replay_brings_back_rows_that_the_target_lost(folder: Path) -> None:
    before = all_rows(folder / "responses.db")
    tamper(folder, "DELETE FROM response WHERE kind = 'replied'")
    assert replay(folder, "--all")["inserted"] == {"replied": 1}
    assert all_rows(folder / "responses.db") == before


def test_the_position_stays_where_it_is(folder: Path) -> None:
    fill_inbox(folder / "inbox.db", [receipts("wamid.C")])
    replay(folder, "--all")
    assert json.loads(call(folder, "gather", "--json").stdout)["read"] == 1


def test_rebuild_mends_rows_that_a_decoder_got_wrong(folder: Path) -> None:
    """A wrong value smaller than the right one would survive any merge, and a wrong key would stay for ever."""
    before = all_rows(folder / "responses.db")
    tamper(folder, "UPDATE response SET reply_text = '' WHERE kind = 'replied'")
    tamper(folder, "UPDATE response SET key = x'00', message_id = 'wrong' WHERE message_id = 'wamid.B'")
    replay(folder, "--all")
    assert all_rows(folder / "responses.db") != before
    summary = replay(folder, "--all", "--rebuild")
    assert summary["removed"] == 5  # four responses with the wrong one, and a rejection
    assert all_rows(folder / "responses.db") == before


def test_rebuild_keeps_what_other_notifications_said(folder: Path) -> None:
    """Notification 1 brought the row first, 3 filled its reference: rebuilding 1 alone must not lose that."""
    before = all_rows(folder / "responses.db")
    replay(folder, "--id", "1", "--rebuild")
    assert all_rows(folder / "responses.db") == before
    (row,) = [row for row in rows(folder / "responses.db") if row["message_id"] == "wamid.A"]
    assert row["client_reference"] == "spring"


def test_rebuild_of_rejected_notifications_loses_none(folder: Path) -> None:
    before = all_rows(folder / "responses.db")
    summary = replay(folder, "--rejected", "--rebuild")
    assert (summary["read"], summary["removed"], summary["rejected"]) == (1, 1, 1)
    assert all_rows(folder / "responses.db") == before


def test_another_provider_resolves_what_was_rejected(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")], provider="nobody")
    call(tmp_path, "gather")
    assert [row["reason_class"] for row in rows(tmp_path / "responses.db", "rejected")] == [
        "unknown_provider"
    ]
    summary = replay(tmp_path, "--rejected", "--provider", "meta")
    assert (summary["inserted"], summary["resolved"]) == ({"sent": 1}, 1)
    (row,) = rows(tmp_path / "responses.db", "rejected")
    assert row["resolved_at"]
    assert replay(tmp_path, "--rejected")["read"] == 0


def test_rejected_notifications_are_replayed_even_when_the_inbox_is_gone(folder: Path) -> None:
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
        (["--since", "yesterday"], b"not a time"),
        (["--id", "0"], b"--id"),
        (["--since", "0001-01-01T00:00+14:00"], b"not a time"),
        (["--until", "9999-12-31T23:59-14:00"], b"not a time"),
        (["--all", "--provider", "pigeon"], b"no provider 'pigeon'"),
    ],
)
def test_wrong_options_get_one_clear_line(folder: Path, arguments: list[str], words: bytes) -> None:
    ended = call(folder, "replay", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert b"Traceback" not in ended.stderr
