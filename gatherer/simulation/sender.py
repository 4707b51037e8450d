"""Posting bodies to a receiver as a provider does: signed, several at a time, again after a 503."""

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

TIMEOUT_SECONDS: Final = (5, 30)  # to connect, to answer
ATTEMPTS: Final = 6
FIRST_WAIT_SECONDS: Final = 0.5  # doubled after every attempt, unless the server says how long to wait
LONGEST_WAIT_SECONDS: Final = 30.0
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class DeliveryRefusedError(GathererError):
    """The server answers, and will answer the same the next time."""


class _StoppedError(Exception):
    """Another connection has met with the end of it all."""


@dataclass(kw_only=True)
class Delivery:
    """How the posting went."""

    statuses: Counter[int] = field(default_factory=Counter)  # final answers by HTTP status
    retried: int = 0  # attempts beyond the first
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # seconds of every answered attempt

    @property
    def posts(self) -> int:
        """How many bodies got a final answer."""
        return self.statuses.total()

    def percentile(self, share: float) -> float:
        """Return the latency in seconds that `share` (0…1) of the answers did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def figures(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "posts": self.posts,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "retried": self.retried,
            "seconds": round(self.seconds, 3),
            "posts_per_second": round(self.posts / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(self.percentile(0.5) * 1000, 2),
            "p99_ms": round(self.percentile(0.99) * 1000, 2),
        }

    def check(self) -> None:
        """Raise :class:`DeliveryRefusedError` unless everything was answered with 200, as a provider expects it."""
        refused = {status: number for status, number in self.statuses.items() if status != HTTPStatus.OK}
        if refused:
            listed = ", ".join(f"{number} with {status}" for status, number in sorted(refused.items()))
            raise DeliveryRefusedError(f"not everything was taken in: {listed}")


def post_all(
    bodies: Iterable[bytes],
    destination: Destination,
    *,
    rate: float | None = None,
    connections: int = 4,
    progress: Callable[[int], None] = lambda posted: None,
) -> Delivery:
    """Post `bodies` in their order, and return how it went.

    Args:
        bodies: what to post, byte for byte.
        destination: where to.
        rate: posts per second at most; None is as fast as the answers come.
        connections: how many posts are under way at the same time.
        progress: called after every final answer with how many there are.

    Raises:
        ConfigurationError: there is nothing to post to at this URL.
        DeliveryRefusedError: the server refuses the authentication, or every post of this kind.
        TemporaryError: the server cannot be reached, or kept asking to come back later.

    """
    delivery = Delivery()
    queue = _paced(bodies, rate)
    turn, lock, stop = threading.Lock(), threading.Lock(), threading.Event()
    started = time.perf_counter()

    def take() -> bytes | None:
        with turn:
            return None if stop.is_set() else next(queue, None)

    def work() -> None:
        try:
            with _session(destination) as session:
                while (body := take()) is not None:
                    status = _post(session, destination, body, delivery, lock, stop)
                    with lock:
                        delivery.statuses[status] += 1
                        progress(delivery.posts)
        except _StoppedError:
            return
        except BaseException:
            stop.set()  # the others finish what they have begun, and take no more
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
    """Yield `bodies`, the n-th not before n / `rate` seconds are over."""
    started = time.perf_counter()
    for number, body in enumerate(bodies):
        if rate is not None:
            time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        yield body


def _session(destination: Destination) -> requests.Session:
    session = requests.Session()
    session.headers.update({"User-Agent": f"gatherer-simulate/{__version__}", "Accept": "*/*"})
    # As bytes: what is no Latin-1 travels as UTF-8 instead of ending in an error of the library's.
    session.headers.update({name: value.encode() for name, value in destination.headers.items()})
    if urlsplit(destination.url).hostname in LOOPBACK:
        session.trust_env = False  # no proxy between this machine and itself
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
    """Post `body` until there is a final answer, and return its status."""
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
            raise ConfigurationError(f"nothing can be posted there: {error}") from None
        except requests.exceptions.RequestException as error:
            # A server that never answered is not there. One that did may be restarting.
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
        asked = answer.headers.get("Retry-After", "")
        if stop.wait(min(float(asked), LONGEST_WAIT_SECONDS) if asked.isdigit() else wait):
            raise _StoppedError
        wait = min(wait * 2, LONGEST_WAIT_SECONDS)
    raise TemporaryError(f"{destination.shown} kept answering 503: it cannot take anything in just now")


def _check(answer: requests.Response, destination: Destination) -> None:
    """Raise what a status means that will not change with the next post."""
    status = answer.status_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise DeliveryRefusedError(
            f"{destination.shown} answered {status}: the authentication is not the one that it expects "
            "(app secret, URL key, token or password)"
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        raise ConfigurationError(f"{destination.shown} answered {status}: no webhook is received at this URL")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise ConfigurationError(
            f"{destination.shown} answered {status}, a redirection, which providers do not follow"
        )


def _cause(error: BaseException) -> str:
    """Return the innermost reason of one of requests' nested errors, in one line."""
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
