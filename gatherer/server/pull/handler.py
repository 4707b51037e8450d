"""Handles the requests to the pull listener. `docs/reference/pull-protocol.rst` describes the protocol."""

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from gatherer.inbox.actions import REDACT, Action
from gatherer.inbox.base import Bounds, Selection
from gatherer.inbox.queue import InboxUnavailableError
from gatherer.inbox.remote import protocol
from gatherer.model.errors import GathererError
from gatherer.server.http.connection import ConnectionLimits
from gatherer.server.http.message import (
    RETRY_AFTER_SECONDS,
    Exchange,
    Reply,
    Request,
    RequestRejectedError,
    Response,
    text_response,
)
from gatherer.server.pull.request import check_body, read_number, read_selection
from gatherer.server.pull.source import InboxMismatchError, Part, Source
from gatherer.server.pull.tokens import ALLOWED_FAILURES, WINDOW_SECONDS, FailureCounter, Tokens

log = logging.getLogger(__name__)

MAX_RESPONSE: Final = Bounds(
    rows=100_000, bytes=64_000_000
)  # of one response, even if the client requests more
MAX_STREAMS: Final = 8  # at the same time
PAUSE_FACTOR: Final = 3  # pause after a frame, in CPU times of the frame: at most a quarter of one core
LONGEST_PAUSE_SECONDS: Final = 0.5  # between two frames
BODY_BYTES: Final = 4096  # of an acknowledgement
ERASURE_BYTES: Final = 64_000_000  # of one erasure request; gatherer sends less
LIMITS: Final = ConnectionLimits(max_body_bytes=ERASURE_BYTES, max_arriving_bytes=2 * ERASURE_BYTES)
_ERASURE: Final = f"/v{protocol.VERSION}/erasure"
# Caches must not store personal data, and proxies must not compress the frames, which are compressed already.
_CACHE_CONTROL: Final = ("Cache-Control", "no-store, no-transform")


class PullHandler:
    """The request handler of the pull listener."""

    def __init__(
        self,
        source: Source,
        tokens: Tokens,
        *,
        actions: Mapping[str, Action],
        admins: Tokens | None = None,
        address: Callable[[Request], str] = lambda request: request.peer,
    ) -> None:
        """Serve the inbox `source` to clients that have one of `tokens`.

        Args:
            source: the inbox.
            tokens: of the clients that may read.
            actions: of the writer of the inbox, by name; clients can request `REDACT`.
            admins: tokens of the clients that may request an action.
            address: returns the address of the client of a request.

        """
        self._source = source
        self._tokens = tokens
        self._admins = admins or Tokens([])
        self._actions = actions
        self._address = address
        self._failures = FailureCounter()
        self._streams = 0

    def handle(self, request: Request) -> Reply | Exchange:
        """Return the response to `request`, or the exchange that receives its body."""
        try:
            self._authenticate(request)
            return self._route(request)
        except RequestRejectedError as rejection:
            return _error_response(rejection)

    def answer(self, work: Awaitable[Response]) -> asyncio.Task[Response]:
        """Return a task for the response that `work` returns, or for the error response to its exception."""

        async def finish() -> Response:
            try:
                return await work
            except RequestRejectedError as rejection:
                return _error_response(rejection)
            except InboxMismatchError:
                return _error_response(
                    RequestRejectedError(HTTPStatus.CONFLICT, "another inbox has replaced the requested one")
                )
            except GathererError as error:
                log.error("pull: the inbox cannot be read: %s", error)
                return _error_response(_unavailable("the inbox cannot be read at present"))
            except Exception:
                log.exception("pull: a request could not be handled")
                return _error_response(_unavailable("a defect in gatherer; its log says more"))

        return asyncio.get_running_loop().create_task(finish())

    def _authenticate(self, request: Request) -> None:
        accepted = self._admins if request.path.rstrip("/") == _ERASURE else self._tokens
        if accepted.accept(request.headers.get("Authorization")):
            return
        address = self._address(request)
        failures = self._failures.add(address)
        if failures <= ALLOWED_FAILURES:
            log.warning("pull: 401 to %s: no token, or a wrong one", address)
            raise RequestRejectedError(
                HTTPStatus.UNAUTHORIZED, "no token, or a wrong one", ("WWW-Authenticate", "Bearer")
            )
        if failures == ALLOWED_FAILURES + 1:
            log.warning("pull: 429 to %s: too many wrong tokens; not logged again for a minute", address)
        raise RequestRejectedError(
            HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens", ("Retry-After", str(WINDOW_SECONDS))
        )

    def _route(self, request: Request) -> Reply | Exchange:
        path = request.path.rstrip("/")
        routes = {
            f"/v{protocol.VERSION}/inbox": self._inbox,
            f"/v{protocol.VERSION}/notifications": self._notifications,
        }
        uploads = {
            f"/v{protocol.VERSION}/acknowledgement": (BODY_BYTES, self._acknowledgement),
            _ERASURE: (ERASURE_BYTES, self._erasure),
        }
        if path not in routes and path not in uploads:
            raise RequestRejectedError(
                HTTPStatus.NOT_FOUND, f"this gatherer speaks version {protocol.VERSION} of the protocol"
            )
        method = "POST" if path in uploads else "GET"
        if request.method != method:
            raise RequestRejectedError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {method}", ("Allow", method))
        if path in uploads:
            return _Upload(self, request, *uploads[path])
        return self.answer(routes[path](request))

    async def _inbox(self, request: Request) -> Response:
        with_statistics = request.query.get("statistics") == "1"
        return _json(await self._source.about(statistics=with_statistics))

    async def _notifications(self, request: Request) -> Response:
        query = request.query
        try:
            inbox_id, after = query["inbox_id"], read_number(query, "after", 0, 0)
            remaining = Bounds(
                rows=min(read_number(query, "rows", MAX_RESPONSE.rows), MAX_RESPONSE.rows),
                bytes=min(read_number(query, "bytes", MAX_RESPONSE.bytes), MAX_RESPONSE.bytes),
            )
            selection = read_selection(query)
        except (LookupError, ValueError, OverflowError) as error:
            raise RequestRejectedError(HTTPStatus.BAD_REQUEST, f"invalid request: {error}") from None
        if self._streams >= MAX_STREAMS:
            raise _unavailable("too many clients are reading; try again")
        self._streams += 1
        try:
            # Before the first byte of the response: an error can still be reported by its status.
            part = await self._source.part(inbox_id, selection, after, remaining)
        finally:
            self._streams -= 1
        frames = self._frames(part, inbox_id, selection, remaining)
        return Response(body=frames, headers=[_CACHE_CONTROL, ("Content-Type", protocol.MEDIA_TYPE)])

    async def _frames(
        self, part: Part | None, inbox_id: str, selection: Selection, remaining: Bounds
    ) -> AsyncGenerator[bytes, None]:
        """Yield the frame of `part`, those that follow, and the end frame.

        Raises:
            ConnectionAbortedError: the inbox cannot be read any more. The connection is closed without the end frame.

        """
        rows, size, last_id = remaining.rows, remaining.bytes, None
        self._streams += 1
        try:
            while part is not None:
                yield part.frame
                rows, size, last_id = rows - part.rows, size - part.size, part.last_id
                if rows <= 0 or size <= 0:
                    break
                began = time.perf_counter()
                part = await self._source.part(inbox_id, selection, last_id, Bounds(rows=rows, bytes=size))
                if part is not None and part.size > size:  # a single notification above the bounds
                    part = None
                # Pause longer than the frame took: webhooks have priority, above all on a busy machine.
                pause = PAUSE_FACTOR * part.cpu_seconds if part is not None else 0
                await asyncio.sleep(min(max(pause, time.perf_counter() - began), LONGEST_PAUSE_SECONDS))
            yield protocol.of_end(
                protocol.End(inbox_id=inbox_id, count=remaining.rows - rows, last_id=last_id)
            )
        except (InboxMismatchError, GathererError) as error:
            log.warning("pull: a response was cut off: %s", error or type(error).__name__)
            raise ConnectionAbortedError from None
        finally:
            self._streams -= 1

    async def _acknowledgement(self, request: Request, body: bytes) -> Response:
        check_body(request.headers, body)
        try:
            content = json.loads(body)
            inbox_id, consumer, number = (
                content[name] for name in ("inbox_id", "consumer", "notification_id")
            )
            if not (isinstance(inbox_id, str) and isinstance(consumer, str) and type(number) is int):
                raise ValueError("a value has the wrong type")
            await self._source.acknowledge(inbox_id, consumer, number)
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise RequestRejectedError(HTTPStatus.BAD_REQUEST, f"invalid request: {error}") from None
        except OSError as error:
            log.error("pull: an acknowledgement cannot be written, which delays purging: %s", error)
            raise _unavailable("the acknowledgement cannot be written at present") from None
        return Response(HTTPStatus.NO_CONTENT, headers=[_CACHE_CONTROL])

    async def _erasure(self, request: Request, body: bytes) -> Response:
        check_body(request.headers, body)
        try:
            content = json.loads(body)
            inbox_id, values = content["inbox_id"], content["notifications"]
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise RequestRejectedError(HTTPStatus.BAD_REQUEST, f"invalid request: {error}") from None
        if (await self._source.about(statistics=False))["inbox_id"] != inbox_id:
            raise InboxMismatchError
        try:
            changed = await self._actions[REDACT](values)
        except ValueError as error:
            raise RequestRejectedError(HTTPStatus.BAD_REQUEST, f"invalid request: {error}") from None
        except (InboxUnavailableError, sqlite3.Error) as error:
            log.error("pull: persons cannot be erased from the inbox: %s", error)
            raise _unavailable("the inbox cannot be written at present") from None
        log.info("pull: %s had persons erased from %d notifications", self._address(request), changed)
        return _json({"done": changed})


class _Upload:
    """A request with a body that the handler needs."""

    def __init__(
        self,
        handler: PullHandler,
        request: Request,
        max_bytes: int,
        work: Callable[[Request, bytes], Awaitable[Response]],
    ) -> None:
        """Call `work` with a body of up to `max_bytes`.

        Raises:
            RequestRejectedError: the head announces a larger body.

        """
        self._handler, self._request, self._max_bytes, self._work = handler, request, max_bytes, work
        self._check_size(request.content_length or 0)

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise RequestRejectedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")

    def refusal(self) -> None:
        """Return None: every body is accepted."""

    def respond(self, body: bytes) -> Reply:
        """Return the response to the request with the whole `body`."""
        try:
            self._check_size(len(body))
        except RequestRejectedError as rejection:
            return _error_response(rejection)
        return self._handler.answer(self._work(self._request, body))

    def reject(self, status: HTTPStatus, reason: str) -> Response:
        """Return the response with `status` to a request without its whole body."""
        return _error_response(RequestRejectedError(status, reason))


def _json(values: dict[str, Any]) -> Response:
    content = json.dumps(values).encode()
    headers = [("Content-Type", "application/json"), ("Content-Digest", protocol.digest(content))]
    return Response(body=content, headers=[_CACHE_CONTROL, *headers])


def _unavailable(reason: str) -> RequestRejectedError:
    retry_after = ("Retry-After", str(RETRY_AFTER_SECONDS))
    return RequestRejectedError(HTTPStatus.SERVICE_UNAVAILABLE, reason, retry_after)


def _error_response(rejection: RequestRejectedError) -> Response:
    """Return the response to a rejected request. It has the reason, for the operator of the client."""
    close = rejection.status is not HTTPStatus.CONFLICT
    return text_response(rejection.status, str(rejection), _CACHE_CONTROL, *rejection.headers, close=close)
