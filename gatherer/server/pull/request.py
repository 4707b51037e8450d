"""Validation of the query and the body of a request to the pull listener."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from gatherer.inbox.base import Selection
from gatherer.inbox.remote import protocol
from gatherer.model import timestamps
from gatherer.server.http.message import Headers, RequestRejectedError

HIGHEST_ID: Final = 2**63 - 1


def check_body(headers: Headers, body: bytes) -> None:
    """Compare `body` with the checksum in `headers`.

    Raises:
        RequestRejectedError: they do not match.

    """
    if headers.get("Content-Digest") != protocol.digest(body):
        raise RequestRejectedError(HTTPStatus.BAD_REQUEST, "the body does not match its Content-Digest")


def read_selection(query: Mapping[str, str]) -> Selection:
    """Return the selection of notifications that `query` requests.

    Raises:
        ValueError: a value is not valid.

    """
    times = {
        name: timestamps.from_milliseconds(read_number(query, name, 0)) if name in query else None
        for name in ("since", "until")
    }
    ids = query.get("ids")
    return Selection(
        ids=frozenset(int(number) for number in ids.split(",")) if ids is not None else None,
        from_id=read_number(query, "from_id", 0) if "from_id" in query else None,
        to_id=read_number(query, "to_id", 0) if "to_id" in query else None,
        since=times["since"],
        until=times["until"],
        endpoint=query.get("endpoint"),
    )


def read_number(query: Mapping[str, str], name: str, default: int, lowest: int = 1) -> int:
    """Return the parameter `name` of `query` as an integer, `default` if it is missing.

    Raises:
        ValueError: the value is not an integer, less than `lowest`, or too large for an id.

    """
    number = int(query.get(name, default))
    if not lowest <= number <= HIGHEST_ID:
        raise ValueError(f"{name} = {number} is out of range")
    return number
