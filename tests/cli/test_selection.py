"""The options that select notifications: a selection that can match nothing is refused, not performed without effect."""

from pathlib import Path

import pytest

from tests.factories import CONFIGURATION, all_rows, call, configure, fill_inbox, receipts

COMMANDS = ("inbox list", "inbox export", "replay")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an inbox that was gathered: one notification of each of two endpoints."""
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.B")], endpoint="removed")
    assert call(tmp_path, "gather").returncode == 0
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--endpoint typo", "there is no endpoint 'typo', nor any notification from one; there are: apteco"),
        ("--endpoint \udcff", "there is no endpoint"),
        ("--from-id 5 --to-id 2", "--from-id 5 is above --to-id 2"),
        ("--since 2026-11-20 --until 2026-11-19", "is not later than --since 2026-11-20"),
        ("--since 2026-11-20 --until 2026-11-20T01:00+01:00", "is not later than --since 2026-11-20"),
        ("--id 9223372036854775808", "9223372036854775808 is too large"),
    ],
)
def test_a_selection_that_can_match_nothing_is_a_usage_error(
    folder: Path, command: str, options: str, message: str
) -> None:
    before = all_rows(folder / "responses.db")
    result = call(folder, *command.split(), *options.split(" "))
    assert (result.returncode, result.stdout) == (2, b"")
    error = result.stderr.decode().splitlines()[-1]
    assert error.startswith("Error: ")
    assert message in error
    assert all_rows(folder / "responses.db") == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "options", ["--from-id 2 --to-id 2", "--since 2026-09-21T14:13:20Z --until 2026-09-21T14:13:21Z"]
)
def test_the_smallest_ranges_are_accepted(folder: Path, command: str, options: str) -> None:
    assert call(folder, *command.split(), *options.split()).returncode == 0


def test_an_endpoint_that_was_removed_from_the_configuration_can_still_be_selected(folder: Path) -> None:
    assert b"wamid.B" in call(folder, "inbox", "export", "--endpoint", "removed").stdout
    assert b"replayed 1 notifications" in call(folder, "replay", "--endpoint", "removed").stdout


def test_an_endpoint_that_has_received_nothing_yet_can_be_selected(folder: Path) -> None:
    quiet = '[[endpoint]]\nname = "quiet"\nprovider = "meta"\npath = "/quiet"\nunauthenticated = true\n'
    configure(folder, CONFIGURATION + quiet)
    for command in COMMANDS:
        assert call(folder, *command.split(), "--endpoint", "quiet").returncode == 0


@pytest.mark.parametrize("option", ["--id=1", "--endpoint=apteco", "--since=2026-11-20"])
def test_replay_of_all_notifications_cannot_be_restricted(folder: Path, option: str) -> None:
    result = call(folder, "replay", "--all", option)
    assert result.returncode == 2
    assert b"--all cannot be combined" in result.stderr


def test_export_of_an_empty_period_is_a_usage_error(folder: Path) -> None:
    result = call(folder, "export", "--since", "2026-11-20", "--until", "2026-11-19", "--output", "x.csv")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"is not later than --since" in result.stderr
    assert not (folder / "x.csv").exists()
