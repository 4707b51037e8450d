"""How often, and how long, something that failed for the moment is tried again. The caller waits; nothing here does."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """A limited number of attempts, with waits that double and have a random part."""

    attempts: int  # at most, the first one included
    first_wait_seconds: float  # to twice as long; doubles with each attempt
    longest_wait_seconds: float
    deadline_seconds: float | None = None  # since the first attempt; no attempt begins later; None: no limit

    def wait_seconds(self, attempt: int, *, elapsed: float = 0.0, requested: float = 0.0) -> float | None:
        """Return how many seconds to wait after attempt number `attempt` (the first is 1) failed; None: give up.

        Args:
            attempt: number of the attempt that failed.
            elapsed: seconds since the first attempt began.
            requested: seconds that the other side asks for, as in `Retry-After`. Not followed past the longest wait.

        """
        if attempt >= self.attempts:
            return None
        limit = min(self.first_wait_seconds * 2**attempt, self.longest_wait_seconds)
        # Random, so that two clients that failed at the same moment do not collide again.
        wait = max(min(requested, self.longest_wait_seconds), random.uniform(limit / 2, limit))  # noqa: S311
        if self.deadline_seconds is not None and elapsed + wait > self.deadline_seconds:
            return None
        return wait
