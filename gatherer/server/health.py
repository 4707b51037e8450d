"""`/healthz` and `/readyz`: whether the process runs, and whether it can store notifications at present."""

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
    """Return a handler that answers the two paths and leaves every other request to `handle`.

    The paths need no authentication: the responses reveal nothing but the status.

    Args:
        handle: answers every other request.
        refusal_reason: returns why notifications cannot be stored at present, None if they can. It is not sent.

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
    """Return the response 404."""
    return error_response(HTTPStatus.NOT_FOUND)
