"""What keeps the inbox from taking anything in, said in the log when it begins, while it lasts, and when it ends."""

import logging
import threading
import time
from typing import Final

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 60


class Outage:
    """One kind of obstacle: `reason` says what is in the way at present, None that nothing is."""

    def __init__(self, begins: str, ends: str) -> None:
        """Log `begins`, with the reason filled in for {}, and `ends`."""
        self.reason: str | None = None
        self._begins = begins
        self._ends = ends
        self._since = self._said = 0.0
        self._lock = threading.Lock()  # both the event loop and the writer thread see what is in the way

    def begin(self, reason: str) -> str:
        """Note that `reason` is in the way, and return it; repeated in the log while it lasts."""
        with self._lock:
            now = time.monotonic()
            if self.reason is None:
                self._since = now
            if self.reason is None or now - self._said >= REPEAT_SECONDS:
                self._said = now
                log.error(self._begins, reason)
            self.reason = reason
        return reason

    def end(self) -> None:
        """Note that nothing is in the way any more."""
        if self.reason is None:
            return
        with self._lock:
            if self.reason is not None:
                self.reason = None
                log.warning("%s, after %.1f s", self._ends, time.monotonic() - self._since)
