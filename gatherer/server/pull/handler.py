"""What the pull listener answers. `config/two-machines/README.rst` describes the protocol."""

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from gatherer.inbox.base import Bounds, Selection
from gatherer.inbox.queue import InboxUnavailableError
from gatherer.inbox.redaction import InboxRedaction, from_json_values
from gatherer.inbox.remote import protocol
from gatherer.model.errors import GathererError
from gatherer.server.pull.request import PullRefusedError, read_body, read_number, read_selection
from gatherer.server.pull.source import InboxMismatchError, Part, Source
from gatherer.server.pull.tokens import ALLOWED_FAILURES, WINDOW_SECONDS, Failures, Tokens

log = logging.getLogger(__name__)

LARGEST: Final = Bounds(rows=100_000, bytes=64_000_000)  # of one answer, whatever is asked for
SEND_SECONDS: Final = 60  # for a frame to leave: a client that reads no more is let go
STREAMS: Final = 8  # at the same time
REST: Final = 3  # times the work of a frame, between two of them: a quarter of one core at most
LONGEST_REST_SECONDS: Final = 0.5  # between two frames
BODY_BYTES: Final = 4096  # of an acknowledgement
ERASURE_BYTES: Final = 64_000_000  # more than a client sends at once
RETRY_AFTER_SECONDS: Final = 5
_ERASURE: Final = f"/v{protocol.VERSION}/erasure"
_HEADERS: Final = CIMultiDict(
    {
        "Server": "gatherer",
        "X-Content-Type-Options": "nosniff",
        # In between, nobody is to keep personal data, or to pack what is packed.
        "Cache-Control": "no-store, no-transform",
    }
)


class PullHandler:
    """The request handler of the pull listener."""

    def __init__(
        self,
        source: Source,
        tokens: Tokens,
        *,
        admins: Tokens | None = None,
        erase: Callable[[list[InboxRedaction]], Awaitable[int]] | None = None,
        address: Callable[[web.BaseRequest], str] = lambda r: r.remote or "",
    ) -> None:
        """Offer `source` to holders of `tokens`.

        Args:
            source: the inbox.
            tokens: of those who may read.
            admins: tokens of those who may have people erased.
            erase: does what they ask for, and returns with how many notifications it was done.
            address: tells where a request comes from.

        """
        self._source = source
        self._tokens = tokens
        self._admins = admins or Tokens([])
        self._erase = erase
        self._address = address
        self._failures = Failures()
        self._streams = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            self._authenticate(request)
            return await self._answer(request)
        except PullRefusedError as refused:
            return _refusal(refused)
        except InboxMismatchError:
            return _refusal(
                PullRefusedError(HTTPStatus.CONFLICT, "another inbox has taken the place of that one")
            )
        except GathererError as error:
            log.error("the inbox cannot be pulled: %s", error)
            return _refusal(_unavailable("the inbox cannot be read just now"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a request of a gatherer could not be handled")
            return _refusal(_unavailable("a defect in gatherer; its log says more"))

    def _authenticate(self, request: web.BaseRequest) -> None:
        accepted = self._admins if request.path.rstrip("/") == _ERASURE else self._tokens
        if accepted.accept(request.headers.get("Authorization")):
            return
        address = self._address(request)
        failures = self._failures.add(address)
        if failures <= ALLOWED_FAILURES:
            log.warning("pull: 401 to %s: no token, or a wrong one", address)
            raise PullRefusedError(
                HTTPStatus.UNAUTHORIZED, "no token, or a wrong one", WWW_Authenticate="Bearer"
            )
        if failures == ALLOWED_FAILURES + 1:
            log.warning("pull: 429 to %s: more wrong tokens, of which no more is said for a minute", address)
        raise PullRefusedError(
            HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens", Retry_After=str(WINDOW_SECONDS)
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path.rstrip("/")
        routes = {
            f"/v{protocol.VERSION}/inbox": ("GET", self._inbox),
            f"/v{protocol.VERSION}/notifications": ("GET", self._notifications),
            f"/v{protocol.VERSION}/acknowledgement": ("POST", self._acknowledgement),
            _ERASURE: ("POST", self._erasure),
        }
        if path not in routes:
            raise PullRefusedError(
                HTTPStatus.NOT_FOUND, f"this gatherer speaks version {protocol.VERSION} of the protocol"
            )
        method, answer = routes[path]
        if request.method != method:
            raise PullRefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"use {method}", Allow=method)
        return await answer(request)

    async def _inbox(self, request: web.BaseRequest) -> web.Response:
        wanted = request.rel_url.query.get("statistics") == "1"
        content = json.dumps(await self._source.about(statistics=wanted)).encode()
        headers = CIMultiDict(_HEADERS, **{"Content-Digest": protocol.digest(content)})
        return web.Response(body=content, content_type="application/json", headers=headers)

    async def _notifications(self, request: web.BaseRequest) -> web.StreamResponse:
        query = request.rel_url.query
        try:
            inbox_id, after = query["inbox_id"], read_number(query, "after", 0, 0)
            left = Bounds(
                rows=min(read_number(query, "rows", LARGEST.rows), LARGEST.rows),
                bytes=min(read_number(query, "bytes", LARGEST.bytes), LARGEST.bytes),
            )
            selection = read_selection(query)
        except (LookupError, ValueError, OverflowError) as error:
            raise PullRefusedError(HTTPStatus.BAD_REQUEST, f"not understood: {error}") from None
        if self._streams >= STREAMS:
            raise _unavailable("others are reading; try again")
        self._streams += 1
        try:
            # Before the first byte of the answer, so that what is wrong can still be said with a status.
            part = await self._source.part(inbox_id, selection, after, left)
            headers = CIMultiDict(_HEADERS, **{"Content-Type": protocol.MEDIA_TYPE})
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            await self._stream(response, part, inbox_id, selection, left)
        finally:
            self._streams -= 1
        return response

    async def _stream(
        self,
        response: web.StreamResponse,
        part: Part | None,
        inbox_id: str,
        selection: Selection,
        left: Bounds,
    ) -> None:
        """Send `part` and what follows; without an end, if that is not all that was to come."""
        rows, size, last_id = left.rows, left.bytes, None
        try:
            while part is not None:
                async with asyncio.timeout(SEND_SECONDS):
                    await response.write(part.frame)
                rows, size, last_id = rows - part.rows, size - part.size, part.last_id
                if rows <= 0 or size <= 0:
                    break
                began = time.perf_counter()
                part = await self._source.part(inbox_id, selection, last_id, Bounds(rows=rows, bytes=size))
                if part is not None and part.size > size:  # one notification that does not fit any more
                    part = None
                # Rest for longer than that took: webhooks come first, more so on a machine that is busy.
                worked = REST * part.cpu_seconds if part is not None else 0
                await asyncio.sleep(min(max(worked, time.perf_counter() - began), LONGEST_REST_SECONDS))
            end = protocol.End(inbox_id=inbox_id, count=left.rows - rows, last_id=last_id)
            await response.write(protocol.of_end(end))
        except (InboxMismatchError, GathererError, TimeoutError) as error:
            log.warning("an answer to a gatherer was cut off: %s", error or type(error).__name__)
            response.force_close()

    async def _acknowledgement(self, request: web.BaseRequest) -> web.Response:
        content = await read_body(request, BODY_BYTES)
        try:
            said = json.loads(content)
            inbox_id, consumer, number = (said[name] for name in ("inbox_id", "consumer", "notification_id"))
            if not (isinstance(inbox_id, str) and isinstance(consumer, str) and type(number) is int):
                raise ValueError("a value of the wrong kind")
            await self._source.acknowledge(inbox_id, consumer, number)
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise PullRefusedError(HTTPStatus.BAD_REQUEST, f"not understood: {error}") from None
        except OSError as error:
            log.error("an acknowledgement cannot be written, which delays purging: %s", error)
            raise _unavailable("it cannot be written just now") from None
        return web.Response(status=HTTPStatus.NO_CONTENT, headers=_HEADERS)

    async def _erasure(self, request: web.BaseRequest) -> web.Response:
        content = await read_body(request, ERASURE_BYTES)
        try:
            said = json.loads(content)
            inbox_id, redactions = said["inbox_id"], from_json_values(said["notifications"])
        except (LookupError, ValueError, TypeError, RecursionError) as error:
            raise PullRefusedError(HTTPStatus.BAD_REQUEST, f"not understood: {error}") from None
        if (await self._source.about(statistics=False))["inbox_id"] != inbox_id:
            raise InboxMismatchError
        if self._erase is None:
            raise _unavailable("nothing can be erased here")
        try:
            done = await self._erase(redactions)
        except (InboxUnavailableError, sqlite3.Error) as problem:
            log.error("people could not be erased from the inbox: %s", problem)
            raise _unavailable("the inbox cannot be written just now") from None
        log.info("people were erased from %d notifications, as %s asked", done, self._address(request))
        answer = json.dumps({"done": done}).encode()
        headers = CIMultiDict(_HEADERS, **{"Content-Digest": protocol.digest(answer)})
        return web.Response(body=answer, content_type="application/json", headers=headers)


def _unavailable(text: str) -> PullRefusedError:
    return PullRefusedError(HTTPStatus.SERVICE_UNAVAILABLE, text, Retry_After=str(RETRY_AFTER_SECONDS))


def _refusal(refused: PullRefusedError) -> web.Response:
    headers: CIMultiDict[Any] = CIMultiDict(_HEADERS)
    headers.update({name.replace("_", "-"): value for name, value in refused.headers.items()})
    response = web.Response(status=refused.status, text=f"{refused}\n", headers=headers)
    if refused.status is not HTTPStatus.CONFLICT:
        response.force_close()
    return response
