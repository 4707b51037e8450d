"""What a request to the pull listener says: its query, its body; and how it is refused."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from gatherer.inbox.base import Selection
from gatherer.inbox.remote import protocol
from gatherer.model import timestamps

HIGHEST_ID: Final = 2**63 - 1
BODY_SECONDS: Final = 10


class PullRefusedError(Exception):
    """A request that is not answered as asked. The text is for the client and for the log."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


async def read_body(request: web.BaseRequest, most: int) -> bytes:
    """Return the body of `request`, which has a checksum in its head.

    Raises:
        PullRefusedError: it is longer than `most` bytes, did not arrive in time or as it was sent.

    """
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not request.content.at_eof() and len(read) <= most:
                read += await request.content.read(most + 1 - len(read))
    except TimeoutError:
        raise PullRefusedError(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None
    content = bytes(read)
    if len(content) > most:
        raise PullRefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
    if request.headers.get("Content-Digest") != protocol.digest(content):
        raise PullRefusedError(
            HTTPStatus.BAD_REQUEST, "the body is not the one that Content-Digest speaks of"
        )
    return content


def read_selection(query: Mapping[str, str]) -> Selection:
    """Return which notifications `query` asks for.

    Raises:
        ValueError: a value of it cannot be one.

    """
    moments = {
        name: timestamps.from_milliseconds(read_number(query, name, 0)) if name in query else None
        for name in ("since", "until")
    }
    ids = query.get("ids")
    return Selection(
        ids=frozenset(int(one) for one in ids.split(",")) if ids is not None else None,
        from_id=read_number(query, "from_id", 0) if "from_id" in query else None,
        to_id=read_number(query, "to_id", 0) if "to_id" in query else None,
        since=moments["since"],
        until=moments["until"],
        endpoint=query.get("endpoint"),
    )


def read_number(query: Mapping[str, str], name: str, default: int, lowest: int = 1) -> int:
    """Return the number `name` of `query`, `default` if it is not there.

    Raises:
        ValueError: it is no number, or less than `lowest`.

    """
    found = int(query.get(name, default))
    if not lowest <= found <= HIGHEST_ID:
        raise ValueError(f"{name} is {found}")
    return found
