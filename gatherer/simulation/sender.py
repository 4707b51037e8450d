"""A client that sends requests like a provider: signed, several at a time, and repeated after a 503."""

import http.client
import select
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gatherer import __version__
from gatherer.model.errors import ConfigurationError, GathererError, TemporaryError
from gatherer.simulation import meta_payload
from gatherer.simulation.destination import Destination

CONNECTIONS: Final = 32  # fewer would wait for the disk of the server most of the time
CONNECT_SECONDS: Final = 5.0
RESPONSE_SECONDS: Final = 30.0
ATTEMPTS: Final = 6
FIRST_WAIT_SECONDS: Final = 0.5  # doubled after every attempt, unless the server says how long to wait
LONGEST_WAIT_SECONDS: Final = 30.0
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS: Final = {
    "User-Agent": f"gatherer-simulate/{__version__}",
    "Accept": "*/*",
    "Content-Type": "application/json",
}
_UNQUOTED: Final = "!#$%&'()*+,/:;=?@[]~"  # in the path of a URL; other characters are percent-encoded


class DeliveryRefusedError(GathererError):
    """The server refuses the requests, and will refuse them again."""


class _StoppedError(Exception):
    """A thread stops because another thread has failed."""


@dataclass(kw_only=True)
class Delivery:
    """The responses of the server, and their latencies."""

    statuses: Counter[int] = field(default_factory=Counter)  # final responses by HTTP status
    retried: int = 0  # attempts beyond the first
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds of each attempt that got a response

    @property
    def requests(self) -> int:
        """The number of bodies with a final response."""
        return self.statuses.total()

    def percentile(self, share: float) -> float:
        """Return the latency in seconds that a `share` (0…1) of the responses did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def figures(self) -> dict[str, Any]:
        """Return the figures as values that JSON can carry."""
        return {
            "requests": self.requests,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "retried": self.retried,
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.requests / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(self.percentile(0.5) * 1000, 2),
            "p99_ms": round(self.percentile(0.99) * 1000, 2),
        }

    def check(self) -> None:
        """Raise :class:`DeliveryRefusedError` unless every response was 200, as a provider expects."""
        refusals = {status: number for status, number in self.statuses.items() if status != HTTPStatus.OK}
        if refusals:
            counts = ", ".join(f"{number} with {status}" for status, number in sorted(refusals.items()))
            raise DeliveryRefusedError(f"the server did not accept every request: {counts}")


def post_bodies(
    bodies: Iterable[bytes],
    destination: Destination,
    *,
    rate: float | None = None,
    connections: int = CONNECTIONS,
    progress: Callable[[int], None] = lambda posted: None,
) -> Delivery:
    """Post `bodies` in their order, and return the figures of the responses.

    Args:
        bodies: of the requests, sent byte for byte.
        destination: the URL and the credentials.
        rate: requests per second at most; None: as fast as the server responds.
        connections: the number of requests in flight at the same time.
        progress: called after each final response with the number of responses.

    Raises:
        ConfigurationError: no webhook is received at this URL.
        DeliveryRefusedError: the server refuses the authentication or the certificate.
        TemporaryError: the server cannot be reached, or kept answering 503.

    """
    delivery = Delivery()
    queue = _paced(bodies, rate)
    queue_lock, lock, stop = threading.Lock(), threading.Lock(), threading.Event()
    started = time.perf_counter()

    def take() -> bytes | None:
        with queue_lock:
            return None if stop.is_set() else next(queue, None)

    def work() -> None:
        try:
            with closing(_Connection(destination)) as connection:
                while (body := take()) is not None:
                    status = _post(connection, destination, body, delivery, lock, stop)
                    with lock:
                        delivery.statuses[status] += 1
                        progress(delivery.requests)
        except _StoppedError:
            return
        except BaseException:
            stop.set()  # the other threads finish their request and take no further body
            raise

    with ThreadPoolExecutor(connections, thread_name_prefix="simulate") as pool:
        workers = [pool.submit(work) for _ in range(connections)]
        try:
            for worker in workers:
                worker.result()
        finally:
            stop.set()
    delivery.seconds = time.perf_counter() - started
    return delivery


def _paced(bodies: Iterable[bytes], rate: float | None) -> Iterator[bytes]:
    """Yield `bodies`, number n not before n / `rate` seconds have passed."""
    started = time.perf_counter()
    for number, body in enumerate(bodies):
        if rate is not None:
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        yield body


class _Answer(NamedTuple):
    """The response to one request."""

    status: int
    retry_after: str  # the header; '' if there is none


class _Connection:
    """A connection to a server. The next request after the server closed it opens it again.

    It is http.client and not requests, which needs several times as much of the processor for a request as the
    server under test.
    """

    def __init__(self, destination: Destination) -> None:
        """Prepare a connection, through the proxy that the environment names for a server on another machine.

        Raises:
            ValueError: the URL is not valid.

        """
        parts = urlsplit(destination.url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        proxy = None if host in LOOPBACK or proxy_bypass(host) else getproxies().get(parts.scheme)
        first = urlsplit(proxy if "://" in proxy else f"//{proxy}") if proxy else parts
        self._connection = (
            http.client.HTTPSConnection(first.hostname or "", first.port or port, timeout=CONNECT_SECONDS)
            if parts.scheme == "https"
            else http.client.HTTPConnection(first.hostname or "", first.port or port, timeout=CONNECT_SECONDS)
        )
        if proxy:
            self._connection.set_tunnel(host, port)
        self._path = quote(parts._replace(scheme="", netloc="", fragment="").geturl() or "/", _UNQUOTED)
        given = {name.lower() for name in destination.headers}
        self._headers: dict[str, str | bytes] = {
            name: value for name, value in _HEADERS.items() if name.lower() not in given
        }
        # As bytes: http.client raises an error for text outside Latin-1.
        self._headers |= {name: value.encode() for name, value in destination.headers.items()}

    def post(self, body: bytes, signature: dict[str, str | bytes]) -> _Answer:
        """Post `body` with the header of its `signature`, and return the response.

        Raises:
            OSError: the server cannot be reached.
            http.client.HTTPException: the response is not valid.
            ValueError: the URL or a header is not valid.

        """
        connection = self._connection
        try:
            if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
                connection.close()  # the server closed it, as servers do with idle connections
            if connection.sock is None:
                self._connect()
            connection.request("POST", self._path, body, self._headers | signature)
            response = connection.getresponse()
            response.read()
        except BaseException:
            connection.close()
            raise
        return _Answer(response.status, response.headers.get("Retry-After", ""))

    def _connect(self) -> None:
        self._connection.connect()
        self._connection.sock.settimeout(RESPONSE_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _post(
    connection: _Connection,
    destination: Destination,
    body: bytes,
    delivery: Delivery,
    lock: threading.Lock,
    stop: threading.Event,
) -> int:
    """Post `body` until there is a final response, and return its status."""
    signature: dict[str, str | bytes] = {}
    if destination.app_secret is not None:
        signature["X-Hub-Signature-256"] = meta_payload.signature(body, destination.app_secret)
    wait = FIRST_WAIT_SECONDS
    for attempt in range(ATTEMPTS):
        if attempt:
            with lock:
                delivery.retried += 1
        began = time.perf_counter()
        try:
            answer = connection.post(body, signature)
        except ssl.SSLError as error:
            raise DeliveryRefusedError(
                f"TLS with {destination.shown} failed: {_cause(error)} "
                "(SSL_CERT_FILE names a file with your own authority)"
            ) from None
        except (http.client.InvalidURL, ValueError) as error:
            raise ConfigurationError(f"requests to this URL are not possible: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            # If the server has answered before, it may be restarting.
            if not delivery.latencies or attempt == ATTEMPTS - 1:
                raise TemporaryError(f"{destination.shown} cannot be reached: {_cause(error)}") from None
            if stop.wait(wait):
                raise _StoppedError from None
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            continue
        with lock:
            delivery.latencies.append(time.perf_counter() - began)
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            _check(answer.status, destination)
            return answer.status
        seconds = float(answer.retry_after) if answer.retry_after.isdigit() else wait
        if stop.wait(min(seconds, LONGEST_WAIT_SECONDS)):
            raise _StoppedError
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)
    raise TemporaryError(f"{destination.shown} kept answering 503: it cannot accept requests at present")


def _check(status: int, destination: Destination) -> None:
    """Raise an error for a status that the next request would get as well."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise DeliveryRefusedError(
            f"{destination.shown} answered {status}: it expects another authentication "
            "(app secret, URL key, token or password)"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        raise ConfigurationError(f"{destination.shown} answered {status}: no webhook is received at this URL")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise ConfigurationError(
            f"{destination.shown} answered {status}, a redirection, which providers do not follow"
        )


def _cause(error: Exception) -> str:
    """Return the cause of `error` as one line."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or " ".join(str(error).split()) or type(error).__name__
