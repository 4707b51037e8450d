"""A reason why the inbox takes nothing in: logged when it begins, while it lasts, and when it ends."""

import logging
import threading
import time
from typing import Final

log = logging.getLogger(__name__)

REPEAT_SECONDS: Final = 60


class Outage:
    """One kind of outage. `reason` says why the inbox takes nothing in at present; None: there is no outage."""

    def __init__(self, begins: str, ends: str) -> None:
        """Log `begins`, in which %s stands for the reason, when the outage begins, and `ends` when it ends."""
        self.reason: str | None = None
        self._begins = begins
        self._ends = ends
        self._since = self._logged_at = 0.0
        self._lock = threading.Lock()  # the event loop and the writer thread both begin and end an outage

    def begin(self, reason: str) -> str:
        """Set the reason and return it. It is logged again every minute while the outage lasts."""
        with self._lock:
            now = time.monotonic()
            if self.reason is None:
                self._since = now
            if self.reason is None or now - self._logged_at >= REPEAT_SECONDS:
                self._logged_at = now
                log.error(self._begins, reason)
            self.reason = reason
        return reason

    def end(self) -> None:
        """Clear the reason, and log how long the outage lasted. Does nothing if there is none."""
        if self.reason is None:
            return
        with self._lock:
            if self.reason is not None:
                self.reason = None
                log.warning("%s, after %.1f s", self._ends, time.monotonic() - self._since)
