"""Settings for all tests."""

import compileall
import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline per example: CI machines are slow and shared.
settings.register_profile("gatherer", deadline=None)
settings.load_profile("gatherer")

# Background jobs of a shell ignore SIGINT, and so would every program that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of single suites."""
    parser.addoption("--update-snapshots", action="store_true", help="rewrite the snapshots in tests/")
    parser.addoption("--seed", type=int, help="run the tests of tests/state_machine with this seed alone")


def pytest_configure(config: pytest.Config) -> None:
    """Compile gatherer once, as pip does, instead of in each process that the tests start.

    Where PYTHONDONTWRITEBYTECODE is set, as in many containers, no process would cache the result.
    """
    if not hasattr(config, "workerinput"):  # once, not in each process of the test run
        compileall.compile_dir(Path(__file__).parent.parent / "gatherer", quiet=2)


def pytest_sessionfinish() -> None:
    """Save the coverage that this process has measured: pytest-xdist kills its processes if they do not end at once."""
    if "coverage" in sys.modules and (measured := sys.modules["coverage"].Coverage.current()) is not None:
        measured.save()


@pytest.fixture(autouse=True)
def _clear_gatherer_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings for gatherer from the environment of the developer."""
    for name in [name for name in os.environ if name.startswith("GATHERER_")]:
        monkeypatch.delenv(name)
