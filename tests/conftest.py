"""What holds for all tests."""

import compileall
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline per example: the machines of a continuous integration are slow and shared.
settings.register_profile("gatherer", deadline=None)
settings.load_profile("gatherer")

# A shell's background jobs ignore Ctrl-C, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the snapshots of rendered SQL anew."""
    parser.addoption("--update-snapshots", action="store_true", help="write the snapshots in tests/ anew")


def pytest_configure(config: pytest.Config) -> None:
    """Have gatherer compiled once, as an installed one is, and not by each of the many processes that are started.

    They do not do it themselves where PYTHONDONTWRITEBYTECODE is set, as in many containers.
    """
    if not hasattr(config, "workerinput"):  # once, not in each process of the test run
        compileall.compile_dir(Path(__file__).parent.parent / "gatherer", quiet=2)


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's shell has set for gatherer is no part of a test."""
    for name in [name for name in os.environ if name.startswith("GATHERER_")]:
        monkeypatch.delenv(name)
