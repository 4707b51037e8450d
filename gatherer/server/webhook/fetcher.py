"""Fetches what a check needs from the configured hosts of a relay: in a thread, once, and from no other host."""

import asyncio
import re
import time
from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

import requests
import urllib3

from gatherer import __version__
from gatherer.server.webhook.relay import NotAuthenticError, UnavailableError

T = TypeVar("T")

TIMEOUT_SECONDS: Final = (3, 5)  # to connect, and without a byte from the host
RETRY_SECONDS: Final = 2  # after a failure, before the same URL is requested again
MAX_BYTES: Final = 65_536  # of a response
MAX_REQUESTS: Final = 4  # at a time: a client can invent URLs
MAX_REMEMBERED: Final = 64  # responses, and failures
# Nothing that two parsers could understand differently: no user, no port, no backslash.
_URL: Final = re.compile(r"https://([a-z0-9.-]+)/[A-Za-z0-9._~%&=:+/?-]*", re.ASCII)


class Fetcher:
    """Requests URLs of a few hosts, and remembers the responses. For one event loop."""

    def __init__(self, hosts: Collection[str]) -> None:
        """Request URLs of `hosts` only, with HTTPS."""
        self._hosts = frozenset(hosts)
        self._responses: dict[str, Any] = {}
        self._failures: dict[
            str, tuple[float, str]
        ] = {}  # by URL: when, in seconds of `time.monotonic`, and why
        self._requests: dict[str, asyncio.Future[Any]] = {}

    def fetch(self, url: str, load: Callable[[bytes], T]) -> T | asyncio.Future[T]:
        """Return what `load` makes of the response of `url`; if it is not there yet, a future that is done then.

        Args:
            url: requested with GET. A redirect is not followed.
            load: called in a thread. It raises ValueError if the response is of no use.

        Raises:
            NotAuthenticError: `url` is of another host, or not of HTTPS.
            UnavailableError: the last request of it failed, or too many others are waiting.

        """
        if url in self._responses:
            return self._responses[url]  # type: ignore[no-any-return]
        match = _URL.fullmatch(url)
        if match is None or match[1] not in self._hosts:
            raise NotAuthenticError("a URL of a host that is not configured")
        if url in self._requests:
            return self._requests[url]
        failed_at, reason = self._failures.get(url, (0.0, ""))
        if reason and time.monotonic() - failed_at < RETRY_SECONDS:
            raise UnavailableError(reason)
        if len(self._requests) >= MAX_REQUESTS:
            raise UnavailableError(f"{len(self._requests)} other requests to {match[1]} are waiting")
        request = asyncio.get_running_loop().run_in_executor(None, partial(_get, url, match[1], load))
        self._requests[url] = request
        request.add_done_callback(partial(self._remember, url))
        return request

    def _remember(self, url: str, request: asyncio.Future[Any]) -> None:
        del self._requests[url]
        self._failures.pop(url, None)
        if request.cancelled():
            return
        error = request.exception()
        if error is None:
            _put(self._responses, url, request.result())
        else:
            reason = str(error) if isinstance(error, UnavailableError) else type(error).__name__
            _put(self._failures, url, (time.monotonic(), reason))


def _put(remembered: dict[str, Any], url: str, value: object) -> None:
    """Remember `value`, in place of the oldest one if there are too many."""
    if len(remembered) >= MAX_REMEMBERED:
        del remembered[next(iter(remembered))]
    remembered[url] = value


def _get(url: str, host: str, load: Callable[[bytes], T]) -> T:
    """Return what `load` makes of the response of `url`.

    Raises:
        UnavailableError: there is no such response. The text does not repeat the URL, which may hold a secret.

    """
    try:
        with requests.get(
            url,
            headers={"User-Agent": f"gatherer/{__version__}"},
            timeout=TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as response:
            content = response.raw.read(MAX_BYTES + 1, decode_content=True)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise UnavailableError(f"{host} cannot be reached: {_cause(error)}") from error
    if response.status_code != HTTPStatus.OK:
        raise UnavailableError(f"{host} answered with status {response.status_code}")
    if len(content) > MAX_BYTES:
        raise UnavailableError(f"{host} answered with more than {MAX_BYTES} bytes")
    try:
        return load(content)
    except ValueError as error:
        raise UnavailableError(f"{host} answered with something else: {error}") from error


def _cause(error: BaseException) -> str:
    """Return the words of the first exception that led to `error`: those of the last one repeat the URL."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
