"""Logs: one line per event, in a file where nobody keeps standard error."""

import logging
from pathlib import Path

import pytest

from gatherer.cli import logs
from tests.factories import configure, fill_inbox, receipts, run


def test_a_log_file_takes_what_standard_error_would(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    ended = run(tmp_path, "--log-file", "gatherer.log", "serve", "--port-that-is-none")
    assert ended.returncode == 2
    ended = run(tmp_path, "--log-level", "debug", "--log-file", "gatherer.log", "status")
    assert ended.stderr == b""
    assert (tmp_path / "gatherer.log").exists()


def test_a_log_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    ended = run(tmp_path, "--log-file", "nowhere/gatherer.log", "status")
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines() == [
        "Error: --log-file nowhere/gatherer.log cannot be written: No such file or directory"
    ]


@pytest.fixture
def _as_before() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_as_before")
def test_a_log_file_is_rotated_and_a_bounded_number_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    logs.set_up("info", tmp_path / "gatherer.log")
    for number in range(200):
        logging.getLogger("gatherer").info("event %d of a busy night", number)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["gatherer.log", *(f"gatherer.log.{i}" for i in range(1, 1 + logs.FILES_KEPT))]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in kept)
    assert "event 199" in (tmp_path / "gatherer.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_as_before")
def test_no_input_can_forge_a_line(tmp_path: Path) -> None:
    logs.set_up("info", tmp_path / "gatherer.log")
    logging.getLogger("gatherer").info("said %s", "x\n2026-11-21T12:00:00.000Z ERROR forged\u2028\x1b[2J")
    assert len((tmp_path / "gatherer.log").read_text(encoding="utf-8").splitlines()) == 1
