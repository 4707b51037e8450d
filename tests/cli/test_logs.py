"""Logs: one line per event, on standard error or in a file, limited in number and size."""

import importlib
import logging
import pkgutil
from pathlib import Path

import pytest

import gatherer.server
from gatherer.cli import logs
from gatherer.server.http.connection import Connection
from gatherer.server.http.listener import ListeningServer
from gatherer.server.webhook.handler import WebhookHandler
from tests.factories import configure, fill_inbox, receipts, run


def test_the_log_goes_to_the_log_file_instead_of_standard_error(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    result = run(tmp_path, "--log-file", "gatherer.log", "serve", "--no-such-option")
    assert result.returncode == 2
    result = run(tmp_path, "--log-level", "debug", "--log-file", "gatherer.log", "status")
    assert result.stderr == b""
    assert (tmp_path / "gatherer.log").exists()


def test_an_unwritable_log_file_is_one_error_line(tmp_path: Path) -> None:
    result = run(tmp_path, "--log-file", "nowhere/gatherer.log", "status")
    assert result.returncode == 3
    assert result.stderr.decode().splitlines() == [
        "Error: --log-file nowhere/gatherer.log cannot be written: No such file or directory"
    ]


@pytest.fixture
def _restored_logging() -> object:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_restored_logging")
def test_log_files_are_rotated_and_bounded_in_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 1000)
    logs.set_up("info", tmp_path / "gatherer.log")
    for number in range(200):
        logging.getLogger("gatherer").info("event %d of a busy night", number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["gatherer.log", *(f"gatherer.log.{i}" for i in range(1, 1 + logs.OLD_FILES))]
    assert all((tmp_path / name).stat().st_size <= 1000 for name in names)
    assert "event 199" in (tmp_path / "gatherer.log").read_text(encoding="utf-8")


@pytest.mark.usefixtures("_restored_logging")
def test_a_line_break_in_a_value_cannot_forge_a_log_line(tmp_path: Path) -> None:
    logs.set_up("info", tmp_path / "gatherer.log")
    logging.getLogger("gatherer").info("received %s", "x\n2026-11-21T12:00:00.000Z ERROR forged\u2028\x1b[2J")
    assert len((tmp_path / "gatherer.log").read_text(encoding="utf-8").splitlines()) == 1


def server_loggers() -> list[logging.Logger]:
    """Return the loggers of all modules that unauthenticated clients reach."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(gatherer.server.__path__, "gatherer.server.")
    ]
    return [module.log for module in modules if hasattr(module, "log")]


@pytest.mark.usefixtures("_restored_logging")
def test_lines_that_clients_cause_are_limited_in_every_module(tmp_path: Path) -> None:
    """Fails if a module is renamed or moved so that the limit no longer reaches its lines."""
    loggers = server_loggers()
    names = {logger.name for logger in loggers}
    assert {WebhookHandler.__module__, Connection.__module__, ListeningServer.__module__} <= names
    logs.set_up("info", tmp_path / "gatherer.log")
    for logger in loggers:
        for number in range(logs.LIMITED_LINES * 2):
            logger.warning(f"{logger.name} refused request %d,", number)
    text = (tmp_path / "gatherer.log").read_text(encoding="utf-8")
    counts = {name: text.count(f"{name} refused request") for name in names}
    assert counts == dict.fromkeys(names, logs.LIMITED_LINES)


@pytest.mark.usefixtures("_restored_logging")
def test_lines_of_a_run_are_not_limited(tmp_path: Path) -> None:
    logs.set_up("info", tmp_path / "gatherer.log")
    for number in range(logs.LIMITED_LINES * 2):
        logging.getLogger("gatherer.pipeline.gather").warning("event %d of a long run", number)
    text = (tmp_path / "gatherer.log").read_text(encoding="utf-8")
    assert text.count("of a long run") == logs.LIMITED_LINES * 2


def test_suppressed_lines_of_one_kind_are_counted() -> None:
    limit = logs.RateLimit(logs.LIMITED_LOGGER)
    logger = logging.getLogger(f"{logs.LIMITED_LOGGER}.test")

    def filtered(created: float) -> str | None:
        record = logger.makeRecord(logger.name, 30, "f", 1, "%d to %s", (401, "x"), None)
        record.created = created
        return record.getMessage() if limit.filter(record) else None

    assert sum(filtered(1000 + n / 1000) is not None for n in range(5000)) == logs.LIMITED_LINES
    assert filtered(1011) == f"401 to x (and {5000 - logs.LIMITED_LINES} more like it before)"
    assert filtered(1011.5) == "401 to x"
    assert filtered(900) is not None, "the clock may go back"
