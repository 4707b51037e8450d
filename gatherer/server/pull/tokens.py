"""Who may pull: holders of a token. And who has failed to show one how often."""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Callable, Sequence
from typing import Final

ALLOWED_FAILURES: Final = 10  # of one address in one window: answered with 401 and logged one by one
WINDOW_SECONDS: Final = 60
REMEMBERED: Final = 4096  # addresses: the memory for them is bounded


class Tokens:
    """The tokens that are accepted; several, so that one can be exchanged for another."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def accept(self, authorization: str | None) -> bool:
        """Tell whether the header `Authorization` carries one of the tokens, in the same time whichever it is."""
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        # All are compared, and digests of equal length: time says nothing about a token.
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return any(matches) and scheme.lower() == "bearer"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Failures:
    """How often each address has failed lately. Only failures count: who has a token is never refused."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}  # address: begin of its window, failures in it

    def add(self, address: str) -> int:
        """Count a failure of `address`, and return how many it has had in its window, with this one."""
        now, key = self._clock(), _network(address)
        began, count = self._windows.pop(key, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._windows[key] = (began, count + 1)  # as the latest: the dictionary is in that order
        if len(self._windows) > REMEMBERED:
            del self._windows[next(iter(self._windows))]
        return count + 1


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6, a whole /64, which is what a single host has at hand."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
