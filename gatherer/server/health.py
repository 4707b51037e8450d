"""`/healthz` and `/readyz`: whether the process lives, and whether it can take anything in just now."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

LIVENESS: Final = "/healthz"
READINESS: Final = "/readyz"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answering(handle: Handler, refusal_reason: Callable[[], str | None]) -> Handler:
    """Return `handle` with the two answered before it, at any listener, to anybody: they tell nothing.

    Args:
        handle: what answers everything else.
        refusal_reason: why nothing can be taken in at present, None if it can; for our log, not for the answer.

    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        if path not in (LIVENESS, READINESS) or request.method not in ("GET", "HEAD"):
            return await handle(request)
        ready = path == LIVENESS or refusal_reason() is None
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(
            status=status,
            text=f"{'ok' if ready else status.phrase}\n",
            headers={"Server": "gatherer", "Cache-Control": "no-store"},
        )

    return answer


async def nothing_else(request: web.BaseRequest) -> web.StreamResponse:  # noqa: ARG001
    """Answer that there is nothing here."""
    return web.Response(status=HTTPStatus.NOT_FOUND, text="Not Found\n", headers={"Server": "gatherer"})
