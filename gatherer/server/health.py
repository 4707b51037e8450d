"""`/healthz` and `/readyz`: whether the process lives, and whether it can store notifications just now."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from gatherer.server.http.message import (
    Exchange,
    Handler,
    Reply,
    Request,
    Response,
    error_response,
    text_response,
)

LIVENESS: Final = "/healthz"
READINESS: Final = "/readyz"
_NO_STORE: Final = ("Cache-Control", "no-store")


def answering(handle: Handler, refusal_reason: Callable[[], str | None]) -> Handler:
    """Return `handle` with the two paths answered before it, without authentication: they tell nothing.

    Args:
        handle: answers every other request.
        refusal_reason: returns why nothing can be stored at present, None if it can; it is not sent.

    """

    def answer(request: Request) -> Reply | Exchange:
        path = request.target
        if path not in (LIVENESS, READINESS) or request.method not in ("GET", "HEAD"):
            return handle(request)
        if path == LIVENESS or refusal_reason() is None:
            return text_response(HTTPStatus.OK, "ok", _NO_STORE)
        return text_response(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable", _NO_STORE)

    return answer


def not_found(request: Request) -> Response:  # noqa: ARG001
    """Answer that there is nothing at this path."""
    return error_response(HTTPStatus.NOT_FOUND)
