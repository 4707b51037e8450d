"""What other processes may have done to an inbox, by the one process that writes it.

One table for both channels: commands on the same machine leave request files (`inbox/control.py`), other machines
send HTTP requests to the pull listener (`server/pull/handler.py`).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from gatherer.inbox import redaction
from gatherer.inbox.quarantine import Quarantine
from gatherer.inbox.writer import InboxWriter

RELEASE: Final = "release"  # requests in quarantine, by their ids, into the inbox
DISCARD: Final = "discard"  # requests in quarantine, by their ids
REDACT: Final = "redact"  # notifications in the inbox

# Given values that JSON can carry; returns how many rows it changed. Raises ValueError for values that it
# does not understand, before it changes anything, else what the writer raises.
Action = Callable[[Any], Awaitable[int]]


def actions_of(writer: InboxWriter, quarantine: Quarantine | None) -> Mapping[str, Action]:
    """Return the actions on the inbox of `writer` and, where there is one, its `quarantine`, by name."""

    async def release(ids: Any) -> int:
        return await quarantine.release(_integers(ids), writer) if quarantine is not None else 0

    async def discard(ids: Any) -> int:
        return await quarantine.discard(_integers(ids)) if quarantine is not None else 0

    async def redact(values: Any) -> int:
        return await redaction.redact(writer, redaction.from_json_values(values))

    return {RELEASE: release, DISCARD: discard, REDACT: redact}


def _integers(values: Any) -> list[int]:
    try:
        return [int(value) for value in values]
    except TypeError as error:
        raise ValueError(str(error)) from None
