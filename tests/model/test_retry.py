"""Retry policy: the waits between attempts, and the end of the attempts."""

import pytest

from gatherer.model.retry import RetryPolicy

POLICY = RetryPolicy(attempts=4, first_wait_seconds=1, longest_wait_seconds=5, deadline_seconds=60)


@pytest.mark.parametrize(("attempt", "shortest", "longest"), [(1, 1, 2), (2, 2, 4), (3, 2.5, 5)])
def test_waits_double_up_to_longest_wait_seconds(attempt: int, shortest: float, longest: float) -> None:
    waits = [POLICY.wait_seconds(attempt) for _ in range(200)]
    assert all(wait is not None and shortest <= wait <= longest for wait in waits)
    assert len(set(waits)) > 1, "jitter separates clients that failed at the same time"


def test_there_is_no_wait_after_the_last_attempt() -> None:
    assert POLICY.wait_seconds(4) is None


def test_no_attempt_begins_after_the_deadline() -> None:
    assert POLICY.wait_seconds(1, elapsed=57) is not None
    assert POLICY.wait_seconds(1, elapsed=59.5) is None
    unlimited = RetryPolicy(attempts=2, first_wait_seconds=1, longest_wait_seconds=5)
    assert unlimited.wait_seconds(1, elapsed=10_000) is not None


def test_a_wait_requested_by_the_server_is_limited_to_longest_wait_seconds() -> None:
    wait = POLICY.wait_seconds(1, requested=4)
    assert wait == 4
    assert POLICY.wait_seconds(1, requested=3600) == 5
