"""A client that sends requests like a provider: signed, several at a time, and repeated after a 503."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from gatherer import __version__
from gatherer.model.errors import ConfigurationError, GathererError, TemporaryError
from gatherer.simulation import meta_payload
from gatherer.simulation.destination import Destination

TIMEOUT_SECONDS: Final = (5, 30)  # to connect, and for the response
ATTEMPTS: Final = 6
FIRST_WAIT_SECONDS: Final = 0.5  # doubled after every attempt, unless the server says how long to wait
LONGEST_WAIT_SECONDS: Final = 30.0
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


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
    connections: int = 4,
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
            with _session(destination) as session:
                while (body := take()) is not None:
                    status = _post(session, destination, body, delivery, lock, stop)
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


def _session(destination: Destination) -> requests.Session:
    session = requests.Session()
    session.headers.update({"User-Agent": f"gatherer-simulate/{__version__}", "Accept": "*/*"})
    # As bytes: requests would raise an error for text outside Latin-1.
    session.headers.update({name: value.encode() for name, value in destination.headers.items()})
    if urlsplit(destination.url).hostname in LOOPBACK:
        session.trust_env = False  # ignore proxy settings: the server is on this machine
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
    return session


def _post(
    session: requests.Session,
    destination: Destination,
    body: bytes,
    delivery: Delivery,
    lock: threading.Lock,
    stop: threading.Event,
) -> int:
    """Post `body` until there is a final response, and return its status."""
    headers = {"Content-Type": "application/json"}
    if destination.app_secret is not None:
        headers["X-Hub-Signature-256"] = meta_payload.signature(body, destination.app_secret)
    wait = FIRST_WAIT_SECONDS
    for attempt in range(ATTEMPTS):
        if attempt:
            with lock:
                delivery.retried += 1
        began = time.perf_counter()
        try:
            answer = session.post(
                destination.url, data=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
        except requests.exceptions.SSLError as error:
            raise DeliveryRefusedError(
                f"TLS with {destination.shown} failed: {_cause(error)} "
                "(REQUESTS_CA_BUNDLE names a file with your own authority)"
            ) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError) as error:
            raise ConfigurationError(f"requests to this URL are not possible: {error}") from None
        except requests.exceptions.RequestException as error:
            # If the server has answered before, it may be restarting.
            if not delivery.latencies or attempt == ATTEMPTS - 1:
                raise TemporaryError(f"{destination.shown} cannot be reached: {_cause(error)}") from None
            if stop.wait(wait):
                raise _StoppedError from None
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            continue
        with lock:
            delivery.latencies.append(time.perf_counter() - began)
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            _check(answer, destination)
            return answer.status_code
        retry_after = answer.headers.get("Retry-After", "")
        if stop.wait(min(float(retry_after), LONGEST_WAIT_SECONDS) if retry_after.isdigit() else wait):
            raise _StoppedError
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)
    raise TemporaryError(f"{destination.shown} kept answering 503: it cannot accept requests at present")


def _check(answer: requests.Response, destination: Destination) -> None:
    """Raise an error for a status that the next request would get as well."""
    status = answer.status_code
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


def _cause(error: BaseException) -> str:
    """Return the innermost cause of a nested error of requests, as one line."""
    while True:
        inner = error.__context__ or next((a for a in error.args if isinstance(a, BaseException)), None)
        reason = getattr(error, "reason", None)
        inner = reason if isinstance(reason, BaseException) else inner
        if inner is None or inner is error:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
