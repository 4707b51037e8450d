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
from typing import Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gatherer import providers
from gatherer.config import Endpoint, Server
from gatherer.inbox.quarantine import Quarantine, QuarantineFullError, QuarantineRow
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter, NotificationRow
from gatherer.providers.base import Provider
from gatherer.server.observer import Observer
from gatherer.server.webhook import credential_summary
from gatherer.server.webhook.authentication import Authentication
from gatherer.server.webhook.body_reader import Bodies, BodyRejectedError
from gatherer.server.webhook.proxy_headers import Network, belongs, sender

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 5
_NOT_READ_TO_THE_END: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.LENGTH_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.SERVICE_UNAVAILABLE,
}
_ANSWER_HEADERS: Final = CIMultiDict({"Server": "gatherer", "X-Content-Type-Options": "nosniff"})


class RequestRejectedError(Exception):
    """A request that is rejected. `reason` is for the log, never for the client."""

    def __init__(self, status: HTTPStatus, reason: str = "", **headers: str) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)


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
        self._routes = {endpoint.path: (endpoint, Authentication(endpoint)) for endpoint in endpoints}
        self._max_body_bytes = server.max_body_bytes
        self._bodies = Bodies(
            max_bytes=server.max_body_bytes,
            timeout_seconds=server.body_timeout_seconds,
            max_arriving_bytes=server.max_arriving_bytes,
        )
        self._trusted: tuple[Network, ...] = tuple(server.trusted_proxies)
        self._writer = writer
        self._quarantine = quarantine
        self._observer = observer or Observer()
        self._in_flight = 0
        self._stopping = False

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Return the response to one request."""
        self._in_flight += 1
        started = time.perf_counter()
        name = "-"
        try:
            endpoint, authentication, rest = self._route(request)
            name = endpoint.name
            response = await self._handle(request, endpoint, authentication, rest)
        except RequestRejectedError as rejection:
            log.warning("%d to %s: %s", rejection.status, request.remote, rejection)
            response = _refusal(rejection)
        except asyncio.CancelledError:
            raise
        except ConnectionError as error:
            # aiohttp refers to the error from the request, and the frames of its traceback refer to the request: without
            # this, only the garbage collector would free both.
            error.__traceback__ = None
            return web.Response()  # not sent: the client has closed the connection
        except Exception:
            log.exception("a request could not be handled")
            response = _refusal(RequestRejectedError(HTTPStatus.SERVICE_UNAVAILABLE))
        finally:
            self._in_flight -= 1
        self._observer.answered(name, response.status, time.perf_counter() - started)
        if self._stopping:
            response.force_close()
        return response

    async def drain(self, seconds: float) -> None:
        """Finish the requests in flight and close their connections; return when all are done, or after `seconds`."""
        self._stopping = True
        end = time.monotonic() + seconds
        while self._in_flight and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def _handle(
        self, request: web.BaseRequest, endpoint: Endpoint, authentication: Authentication, rest: str
    ) -> web.Response:
        if request.method == "GET" and authentication.has_handshake:
            return _handshake(request, authentication, rest)
        if request.method != "POST":
            allowed = "GET, POST" if authentication.has_handshake else "POST"
            raise RequestRejectedError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"wrong method at {endpoint.name}", Allow=allowed
            )

        headers = request.headers
        length = request.content_length
        if length is None and "Transfer-Encoding" not in headers:
            raise RequestRejectedError(
                HTTPStatus.LENGTH_REQUIRED, f"neither a length nor chunks at {endpoint.name}"
            )
        if length is not None and length > self._max_body_bytes:
            raise RequestRejectedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{length} bytes announced at {endpoint.name}"
            )
        if any(
            coding.strip().lower() != "identity" for coding in headers.getall("Content-Encoding", ())
        ) or any(coding.strip().lower() != "chunked" for coding in headers.getall("Transfer-Encoding", ())):
            raise RequestRejectedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"compressed body at {endpoint.name}"
            )
        remote = sender(request.remote or "", headers.getall("X-Forwarded-For", ()), self._trusted)
        failed = None
        if not (authentication.url(rest) and authentication.headers(headers, remote)):
            failed = f"authentication failed at {endpoint.name}"
            self._observer.authentication_failed(endpoint.name)
        store = self._quarantine if endpoint.on_failed_authentication == "quarantine" else None
        if failed and store is None:
            raise RequestRejectedError(HTTPStatus.UNAUTHORIZED, failed)
        # A body that cannot be stored is not read, unless it has arrived with the headers. The writer has logged why.
        if not request.content.is_eof() and (
            store.refusal_reason() if failed and store else self._writer.refusal_reason(length or 0)
        ):
            return _refusal(RequestRejectedError(HTTPStatus.SERVICE_UNAVAILABLE))

        body = await self._read(request)
        if failed is None and not authentication.body(headers, body, _asked_url(request, self._trusted)):
            failed = f"signature missing or wrong at {endpoint.name}"
            self._observer.authentication_failed(endpoint.name)
            if store is None:
                raise RequestRejectedError(HTTPStatus.UNAUTHORIZED, failed)

        provider = providers.get(endpoint.provider)
        row = NotificationRow(
            time.time_ns() // 1_000_000,
            endpoint.name,
            endpoint.provider,
            remote,
            _storable(headers.get("Content-Type")),
            _signature_headers(request, provider),
            body,
        )
        try:
            if failed is None:
                await self._writer.append(row)
            elif store is not None:
                forms = credential_summary.describe(headers.items(), request.raw_path.partition("?")[2], rest)
                await store.add(QuarantineRow(*row, failed.partition(" at ")[0], json.dumps(forms)))
                log.warning("quarantined a request from %s: %s", request.remote, failed)
        except QuarantineFullError:
            raise RequestRejectedError(
                HTTPStatus.UNAUTHORIZED, f"{failed}, and the quarantine is full"
            ) from None
        except InboxUnavailableError:  # the writer has logged why
            return _refusal(RequestRejectedError(HTTPStatus.SERVICE_UNAVAILABLE), whole=True)
        return _acknowledgement(provider)

    def _route(self, request: web.BaseRequest) -> tuple[Endpoint, Authentication, str]:
        """Return the endpoint of the requested path, its authentication, and what follows its path: the URL key."""
        path = request.raw_path.partition("?")[0]
        route = self._routes.get(path)
        if route is not None:
            return *route, ""
        parent, slash, key = path.rpartition("/")
        route = self._routes.get(parent)
        if route is None or route[0].url_key is None:
            raise RequestRejectedError(HTTPStatus.NOT_FOUND, "no such endpoint")
        return *route, slash + key

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Return the body as received, within the limits of size and time."""
        try:
            return await self._bodies.read(request)
        except BodyRejectedError as problem:
            raise RequestRejectedError(problem.status, str(problem)) from None


def _handshake(request: web.BaseRequest, authentication: Authentication, rest: str) -> web.Response:
    """Return the response to the GET with which Meta checks a URL before it accepts it."""
    query = request.rel_url.query
    if not (authentication.url(rest) and authentication.handshake(query)):
        raise RequestRejectedError(
            HTTPStatus.UNAUTHORIZED, "handshake with a wrong URL key, mode or verify token"
        )
    challenge = query.get("hub.challenge", "").encode("utf-8", "replace")
    return web.Response(body=challenge, content_type="text/plain", charset="utf-8", headers=_ANSWER_HEADERS)


def _asked_url(request: web.BaseRequest, trusted: tuple[Network, ...]) -> str:
    """Return the URL that the client requested: as a trusted proxy reports it, else as received."""
    headers, scheme, host = request.headers, request.scheme, request.headers.get("Host", "")
    forwarded = "X-Forwarded-Proto" in headers or "X-Forwarded-Host" in headers
    if forwarded and belongs(request.remote or "", trusted):
        scheme = headers.get("X-Forwarded-Proto", scheme).partition(",")[0].strip().lower()
        host = headers.get("X-Forwarded-Host", host).partition(",")[0].strip()
    return f"{scheme}://{host}{request.raw_path}"


def _signature_headers(request: web.BaseRequest, provider: Provider) -> str | None:
    """Return the headers of `request` that are stored, as a JSON object; None if it has none of them."""
    headers = request.headers
    values = {name: _storable(headers[name]) for name in provider.signature_headers if name in headers}
    return msgspec.json.encode(values).decode() if values else None


def _acknowledgement(provider: Provider) -> web.Response:
    """Return the response to a request whose notification is on disk."""
    acknowledgement = provider.acknowledgement
    return web.Response(
        body=acknowledgement.body or None,
        content_type=acknowledgement.content_type,
        headers=_ANSWER_HEADERS,
    )


def _storable(header: str | None) -> str | None:
    """Return a header value without the surrogates that stand for bytes which are not UTF-8."""
    if header is None or header.isascii():
        return header
    return header.encode("utf-8", "backslashreplace").decode()


def _refusal(rejection: RequestRejectedError, *, whole: bool = False) -> web.Response:
    """Return the response to a rejected request.

    Unless the server has read the `whole` request, it closes the connection after some of these responses: it
    does not read the rest of a request that it has rejected.
    """
    headers = CIMultiDict(_ANSWER_HEADERS, **rejection.headers)
    response = web.Response(status=rejection.status, text=f"{rejection.status.phrase}\n", headers=headers)
    if rejection.status in _NOT_READ_TO_THE_END and not whole:
        response.force_close()
    return response
