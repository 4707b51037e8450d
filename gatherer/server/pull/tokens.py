"""The tokens of the pull listener, and a counter of failed authentications per address."""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Final

ALLOWED_FAILURES: Final = 10  # per address and window: each gets a 401 and is logged, further ones get a 429
WINDOW_SECONDS: Final = 60
MAX_ADDRESSES: Final = 4096  # bounds the memory


class Tokens:
    """The accepted tokens; several, so that a new one can replace an old one without an interruption."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def accept(self, authorization: str | None) -> bool:
        """Return whether the value of the header `Authorization` has one of the tokens."""
        scheme, _, token = (authorization or "").partition(" ")
        token_digest = _digest(token.strip())
        # All are compared, as digests of equal length, so that the time reveals nothing about a token.
        matches = [hmac.compare_digest(token_digest, digest) for digest in self._digests]
        return any(matches) and scheme.lower() == "bearer"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class FailureCounter:
    """Counts failed authentications per address. A client with a token is never refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}  # address: start of its window, failures in it

    def add(self, address: str) -> int:
        """Count a failure of `address`; return its number of failures in the current window, this one included."""
        now, key = self._clock(), _network(address)
        started, count = self._windows.pop(key, (now, 0))
        if now - started >= WINDOW_SECONDS:
            started, count = now, 0
        # `pop` above moves the key to the end, so that the dictionary is in the order of the latest failure.
        self._windows[key] = (started, count + 1)
        if len(self._windows) > MAX_ADDRESSES:
            del self._windows[next(iter(self._windows))]
        return count + 1


def _network(address: str) -> str:
    """Return the key under which failures of `address` are counted: for IPv6 its /64, which one host usually has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
