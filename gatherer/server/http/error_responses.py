"""What those get who send no HTTP that is taken here: a generic answer, or none. Nothing of what they sent comes back."""

import logging
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11, web

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS: Final = 5
_HEADERS: Final = {"Server": "gatherer", "X-Content-Type-Options": "nosniff"}
_VERSIONS: Final = (HttpVersion11, HttpVersion10)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@cache
def refusal(status: HTTPStatus) -> bytes:
    """Return a whole answer as it goes over the wire, for what never became a request."""
    body = f"{status.phrase}\n"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{k}: {v}" for k, v in _HEADERS.items())]
    lines += ["Content-Type: text/plain", f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(lines).encode("ascii")


def page(status: HTTPStatus) -> web.Response:
    """Return the same answer for a request; it is the last of its connection."""
    headers = dict(_HEADERS)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    response = web.Response(status=status, text=f"{status.phrase}\n", headers=headers)
    response.force_close()
    return response


def of_a_known_version(handle: Handler) -> Handler:
    """Return `handle`, but for requests of HTTP/0.9 and 2.0, which aiohttp lets through: they get no answer at all."""

    def checked(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        return handle(request) if request.version in _VERSIONS else _unanswered(request)

    return checked


async def _unanswered(request: web.BaseRequest) -> web.StreamResponse:
    log.info("closed to %s: not HTTP/1.0 or 1.1", request.remote)
    request.protocol.force_close()
    return web.Response()  # for nobody: what is closed already is not written to
