"""Waits for conditions. Tests never wait for a fixed time: a busy machine takes any time for anything."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from gatherer.model import timestamps

SECONDS = 60.0  # after which a condition is not expected any more, on the slowest machine
BUSY_SECONDS = 10.0  # that a busy machine may add to a time limit of the server


def wait_until(condition: Callable[[], object], message: object = "") -> None:
    """Return when `condition()` is true.

    Raises:
        AssertionError: it is not true in time. The text is `message`, or what `message()` returns.

    """
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, message() if callable(message) else message
        time.sleep(0.02)


def wait_for_later_time() -> None:
    """Return when the clock shows a later millisecond, which is how exactly times of writing are stored."""
    start = timestamps.now()
    wait_until(lambda: timestamps.now() - start >= timedelta(milliseconds=2))


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition()` is true; the event loop runs meanwhile.

    Raises:
        TimeoutError: it is not true in time.

    """
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
