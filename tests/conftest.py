"""What holds for all tests."""

import os
import signal

import pytest
from hypothesis import settings

# No deadline per example: the machines of a continuous integration are slow and shared.
settings.register_profile("gatherer", deadline=None)
settings.load_profile("gatherer")

# A shell's background jobs ignore Ctrl-C, and so would every program that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's shell has set for gatherer is no part of a test."""
    for name in [name for name in os.environ if name.startswith("GATHERER_")]:
        monkeypatch.delenv(name)
