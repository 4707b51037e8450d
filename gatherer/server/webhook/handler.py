"""From one HTTP request to one notification on disk, and only then to the response.

Every POST takes the same steps: route → limits → authenticate → append → 200. If a step before the append fails,
the status of the response tells the provider whether to send the request again, and its body is generic. At an
endpoint that says so, a request that does not authenticate is quarantined instead of refused.
"""

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gatherer import providers
from gatherer.config import Endpoint, Server
from gatherer.inbox.quarantine import Quarantine, QuarantineFullError, QuarantineRow
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter, NotificationRow
from gatherer.server.http.message import (
    Exchange,
    PendingResponse,
    Request,
    RequestRejectedError,
    Response,
    error_response,
)
from gatherer.server.observer import Observer
from gatherer.server.webhook import credential_summary
from gatherer.server.webhook.authentication import Authentication
from gatherer.server.webhook.proxy_headers import Network, belongs, sender
from gatherer.server.webhook.relay import NotAuthenticError, Relay, UnavailableError

if TYPE_CHECKING:
    from gatherer.server.webhook.event_grid import EventGridRelay

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 10  # that a request waits for a host of its relay; SNS waits 15 s for the response
# What these answer may not have been read to its end, so that the connection ends with them.
_CLOSING: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.SERVICE_UNAVAILABLE,
}
_NOT_STORED: Final = error_response(HTTPStatus.SERVICE_UNAVAILABLE)


class _Route:
    """An endpoint, with what each of its requests needs."""

    def __init__(self, endpoint: Endpoint) -> None:
        provider = providers.get(endpoint.provider)
        acknowledgement = provider.acknowledgement
        self.endpoint = endpoint
        self.authentication = Authentication(endpoint)
        self.event_grid = _event_grid(endpoint)
        self.relay = _sns(endpoint) or self.event_grid
        self.signature_headers = provider.signature_headers
        content_type = acknowledgement.content_type
        self.acknowledgement = Response(
            body=acknowledgement.body, headers=[("Content-Type", content_type)] if content_type else []
        )


def _sns(endpoint: Endpoint) -> Relay | None:
    """Return what checks the messages of Amazon SNS; None where it is not in front of `endpoint`."""
    if endpoint.sns is None:
        return None
    from gatherer.server.webhook.sns import SNSRelay

    return SNSRelay(endpoint.sns)


def _event_grid(endpoint: Endpoint) -> "EventGridRelay | None":
    """Return what answers the handshakes of Azure Event Grid; None where it is not in front of `endpoint`."""
    if endpoint.event_grid is None:
        return None
    from gatherer.server.webhook.event_grid import EventGridRelay

    return EventGridRelay(endpoint.event_grid)


class WebhookHandler:
    """The request handler of `gatherer serve`."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        server: Server,
        writer: InboxWriter,
        *,
        quarantine: Quarantine | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Prepare the routes.

        Args:
            endpoints: with their secrets.
            server: its limits, and the proxies that it trusts.
            writer: appends the notifications to the inbox.
            quarantine: stores requests that do not authenticate, at endpoints that quarantine them.
            observer: is notified of each response.

        """
        self._routes = {endpoint.path: _Route(endpoint) for endpoint in endpoints}
        self.max_body_bytes = server.max_body_bytes
        self.trusted: tuple[Network, ...] = tuple(server.trusted_proxies)
        self.writer = writer
        self.quarantine = quarantine
        self.observer = observer or Observer()

    def handle(self, request: Request) -> Response | Exchange:
        """Return the response to `request`, or what takes its body."""
        started = time.perf_counter()
        name = "-"
        try:
            route, url_key = self._find(request.path)
            name, has_handshake = route.endpoint.name, route.authentication.has_handshake
            if request.method == "POST":
                return _Delivery(self, request, route, url_key, started)
            methods = {"GET": has_handshake, "OPTIONS": route.event_grid is not None, "POST": True}
            if not methods.get(request.method):
                allowed = ("Allow", ", ".join(method for method in methods if methods[method]))
                raise RequestRejectedError(HTTPStatus.METHOD_NOT_ALLOWED, f"wrong method at {name}", allowed)
            response = (
                _handshake(request, route.authentication, url_key)
                if request.method == "GET"
                else _preflight(request, route, url_key)
            )
        except RequestRejectedError as rejection:
            log.warning("%d to %s: %s", rejection.status, request.peer, rejection)
            response = error_response(
                rejection.status, *rejection.headers, close=rejection.status in _CLOSING
            )
        self.observer.answered(name, response.status, time.perf_counter() - started)
        return response

    def _find(self, path: str) -> tuple[_Route, str]:
        """Return the route that `path` belongs to, and the rest of `path`: the URL key.

        Raises:
            RequestRejectedError: there is no such endpoint.

        """
        route = self._routes.get(path)
        if route is not None:
            return route, ""
        parent, slash, key = path.rpartition("/")
        route = self._routes.get(parent)
        if route is None or route.endpoint.url_key is None:
            raise RequestRejectedError(HTTPStatus.NOT_FOUND, "no such endpoint")
        return route, slash + key


class _Delivery:
    """A POST to an endpoint, from its head to the response."""

    __slots__ = ("_failure", "_handler", "_remote", "_request", "_route", "_started", "_url_key")

    def __init__(
        self, handler: WebhookHandler, request: Request, route: _Route, url_key: str, started: float
    ) -> None:
        """Check the head of `request`, which began to be handled at `started`, in seconds of `time.perf_counter`.

        Raises:
            RequestRejectedError: it is refused.

        """
        self._handler, self._request, self._route = handler, request, route
        self._url_key, self._started = url_key, started
        headers, length = request.headers, request.content_length
        name, authentication = route.endpoint.name, route.authentication
        if length is None and headers.get("Transfer-Encoding") is None:
            raise RequestRejectedError(HTTPStatus.LENGTH_REQUIRED, f"neither a length nor chunks at {name}")
        if length is not None and length > handler.max_body_bytes:
            raise RequestRejectedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes announced at {name}"
            )
        if not (
            _all_are("identity", headers.get_all("Content-Encoding"))
            and _all_are("chunked", headers.get_all("Transfer-Encoding"))
        ):
            raise RequestRejectedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"compressed body at {name}")
        self._remote = request.peer
        if handler.trusted:
            self._remote = sender(request.peer, headers.get_all("X-Forwarded-For"), handler.trusted)
        self._failure: str | None = None
        if not (authentication.url(url_key) and authentication.headers(headers, self._remote)):
            self._fail(f"authentication failed at {name}")
            if self._quarantine is None:
                raise RequestRejectedError(HTTPStatus.UNAUTHORIZED, f"authentication failed at {name}")

    @property
    def _quarantine(self) -> Quarantine | None:
        quarantines = self._route.endpoint.on_failed_authentication == "quarantine"
        return self._handler.quarantine if quarantines else None

    def refusal(self) -> Response | None:
        """Refuse a body that could not be stored; the writer has logged why, once."""
        store = self._quarantine if self._failure else None
        reason = (
            self._handler.writer.refusal_reason(self._request.content_length or 0)
            if store is None
            else store.refusal_reason()
        )
        return self._answer(HTTPStatus.SERVICE_UNAVAILABLE) if reason else None

    def reject(self, status: HTTPStatus, reason: str) -> Response:
        """Answer to a POST without its whole body."""
        return self._answer(status, reason)

    def respond(self, body: bytes) -> Response | PendingResponse:
        """Authenticate `body`, and store it; the response is there when it is on disk."""
        request, endpoint = self._request, self._route.endpoint
        headers = request.headers
        if self._failure is None and self._route.relay is not None:
            answer = self._relayed(self._route.relay, body)
            if answer is not None:
                return answer
        if self._failure is None and not self._route.authentication.body(
            headers, body, _asked_url(request, self._handler.trusted)
        ):
            self._fail(f"signature missing or wrong at {endpoint.name}")
        if self._failure is not None and self._quarantine is None:
            return self._answer(HTTPStatus.UNAUTHORIZED, self._failure)
        row = NotificationRow(
            time.time_ns() // 1_000_000,
            endpoint.name,
            endpoint.provider,
            self._remote,
            _storable(headers.get("Content-Type")),
            _signature_headers(request, self._route.signature_headers),
            body,
        )
        if self._failure is not None and self._quarantine is not None:
            return asyncio.create_task(self._keep(row, self._failure, self._quarantine))
        return _Append(self, self._handler.writer.append(row))

    def acknowledge(self, error: BaseException | None) -> Response:
        """Return the response when the row is on disk, or for the `error` that prevented it."""
        answer = self._route.acknowledgement
        if error is not None:
            answer = _NOT_STORED
            if not isinstance(error, InboxUnavailableError):  # else the writer has logged why, once
                log.error("a request could not be handled", exc_info=error)
        self._observe(answer)
        return answer

    def _relayed(self, relay: Relay, body: bytes) -> Response | PendingResponse | None:
        """Return the response to a handshake or to what cannot be checked now; None if `body` is a notification."""
        try:
            answer = relay.check(self._request.headers, body)
        except NotAuthenticError as error:
            self._fail(f"{error} at {self._route.endpoint.name}")
            return None
        except UnavailableError as error:
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error} (at {self._route.endpoint.name})")
        if isinstance(answer, Response):
            self._observe(answer)
        if isinstance(answer, asyncio.Future):
            return asyncio.create_task(self._respond_after(answer, body))
        return answer

    async def _respond_after(self, fetching: asyncio.Future[Any], body: bytes) -> Response:
        """Return the response to the request with `body`, which can be checked when `fetching` is done."""
        await asyncio.wait([fetching], timeout=FETCH_SECONDS)
        if not fetching.done():
            reason = f"a host of the relay does not answer (at {self._route.endpoint.name})"
            return self._answer(HTTPStatus.SERVICE_UNAVAILABLE, reason)
        reply = self.respond(body)
        if isinstance(reply, Response):
            return reply
        arrival = asyncio.Event()
        reply.add_done_callback(lambda _: arrival.set())
        await arrival.wait()
        return reply.result()

    async def _keep(self, row: NotificationRow, failure: str, quarantine: Quarantine) -> Response:
        """Return the response when `row`, whose authentication failed, is in `quarantine`."""
        request = self._request
        forms = credential_summary.describe(
            request.headers.items(), request.target.partition("?")[2], self._url_key
        )
        try:
            await quarantine.add(QuarantineRow(*row, failure.partition(" at ")[0], json.dumps(forms)))
        except QuarantineFullError:
            return self._answer(HTTPStatus.UNAUTHORIZED, f"{failure}, and the quarantine is full")
        except InboxUnavailableError:  # the writer has logged why, once
            self._observe(_NOT_STORED)
            return _NOT_STORED
        log.warning("quarantined a request from %s: %s", request.peer, failure)
        self._observe(self._route.acknowledgement)
        return self._route.acknowledgement

    def _fail(self, failure: str) -> None:
        self._failure = failure
        self._handler.observer.authentication_failed(self._route.endpoint.name)

    def _answer(self, status: HTTPStatus, reason: str | None = None) -> Response:
        """Return a refusal, logged with its `reason`."""
        if reason is not None:
            log.warning("%d to %s: %s", status, self._request.peer, reason)
        response = error_response(status, close=status in _CLOSING)
        self._observe(response)
        return response

    def _observe(self, response: Response) -> None:
        seconds = time.perf_counter() - self._started
        self._handler.observer.answered(self._route.endpoint.name, response.status, seconds)


class _Append:
    """The response to a POST, which is there when the row of its notification is on disk."""

    __slots__ = ("_appended", "_delivery", "add_done_callback", "done")

    def __init__(self, delivery: _Delivery, appended: asyncio.Future[None]) -> None:
        self._delivery, self._appended = delivery, appended
        self.done, self.add_done_callback = appended.done, appended.add_done_callback

    def result(self) -> Response:
        return self._delivery.acknowledge(self._appended.exception())


def _handshake(request: Request, authentication: Authentication, rest: str) -> Response:
    """Return the response to the GET with which Meta checks a URL before it accepts it.

    Raises:
        RequestRejectedError: the URL key, the mode or the verify token is wrong.

    """
    query = request.query
    if not (authentication.url(rest) and authentication.handshake(query)):
        raise RequestRejectedError(
            HTTPStatus.UNAUTHORIZED, "handshake with a wrong URL key, mode or verify token"
        )
    challenge = query.get("hub.challenge", "").encode("utf-8", "replace")
    return Response(body=challenge, headers=[("Content-Type", "text/plain; charset=utf-8")])


def _all_are(coding: str, values: list[str]) -> bool:
    return not values or all(value.strip().lower() == coding for value in values)


def _preflight(request: Request, route: _Route, rest: str) -> Response:
    """Return the response to the OPTIONS request with which Event Grid checks a URL before it posts CloudEvents.

    Raises:
        RequestRejectedError: the URL key or the origin is wrong.

    """
    try:
        if route.event_grid is not None and route.authentication.url(rest):
            return route.event_grid.preflight(request.headers)
    except NotAuthenticError as error:
        raise RequestRejectedError(HTTPStatus.UNAUTHORIZED, str(error)) from None
    raise RequestRejectedError(HTTPStatus.UNAUTHORIZED, "handshake with a wrong URL key")


def _asked_url(request: Request, trusted: tuple[Network, ...]) -> str:
    """Return the URL that the client requested: as a trusted proxy reports it, else as received."""
    headers, scheme, host = request.headers, request.scheme, request.headers.get("Host") or ""
    if not trusted:
        return f"{scheme}://{host}{request.target}"
    proto, forwarded_host = headers.get("X-Forwarded-Proto"), headers.get("X-Forwarded-Host")
    if (proto is not None or forwarded_host is not None) and belongs(request.peer, trusted):
        scheme = (scheme if proto is None else proto).partition(",")[0].strip().lower()
        host = (host if forwarded_host is None else forwarded_host).partition(",")[0].strip()
    return f"{scheme}://{host}{request.target}"


def _signature_headers(request: Request, names: tuple[str, ...]) -> str | None:
    """Return the headers `names` of `request`, as a JSON object; None if it has none of them."""
    get = request.headers.get
    values = {name: _storable(value) for name in names if (value := get(name)) is not None}
    return msgspec.json.encode(values).decode() if values else None


def _storable(header: str | None) -> str | None:
    """Return a header value without the surrogates that stand for bytes which are not UTF-8."""
    if header is None or header.isascii():
        return header
    return header.encode("utf-8", "backslashreplace").decode()
