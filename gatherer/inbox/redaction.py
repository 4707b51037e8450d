"""Taking what is about a person out of notifications that are in an inbox already.

A notification that something is taken out of keeps its id, and the digest of what was received: a position
that refers to it stays right. Its headers go, as a signature would no longer be of its body.
"""

import asyncio
import base64
import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from gatherer.inbox.base import COLUMNS, as_notification
from gatherer.inbox.retention import STEP_PAGES, transaction, try_truncate_log
from gatherer.inbox.writer import InboxWriter
from gatherer.model.notification import body_key

log = logging.getLogger(__name__)

STEP_BYTES: Final = 1_000_000  # of bodies in one transaction: arrivals wait for it
STEP_ROWS: Final = 20  # which are as large as a body may be


HIGHEST_ID: Final = 2**63 - 1


class InboxRedaction(NamedTuple):
    """What is to become of one notification."""

    id: int
    body_key: bytes  # of the body that it has now: what has changed meanwhile is left alone
    body: bytes  # the body without the person; empty if nothing is left


def steps(redactions: Iterable[InboxRedaction]) -> Iterator[list[InboxRedaction]]:
    """Yield `redactions` in portions that can be done at once."""
    step: list[InboxRedaction] = []
    size = 0
    for one in redactions:
        if step and (len(step) == STEP_ROWS or size + len(one.body) > STEP_BYTES):
            yield step
            step, size = [], 0
        step.append(one)
        size += len(one.body)
    if step:
        yield step


async def redact(writer: InboxWriter, redactions: Iterable[InboxRedaction]) -> int:
    """Do `redactions` step by step, between arrivals; return how many were done.

    Even if there are none, nothing is left in the file afterwards of what was removed from it, or purged, before.

    Raises:
        InboxUnavailableError: the inbox cannot be written just now; what is left can be done again.
        sqlite3.Error: as above.

    """
    done = 0
    for step in steps(redactions):
        done += await asyncio.wrap_future(writer.perform(partial(redact_step, redactions=step)))
    # What was purged earlier stands in free pages, and what was there before in the log.
    while await asyncio.wrap_future(writer.perform(_give_back_some)):
        pass
    if not await asyncio.wrap_future(writer.perform(try_truncate_log)):
        log.warning(
            "a program is reading %s: until it has done so, its write-ahead log holds what was erased",
            writer.path,
        )
    return done


def _give_back_some(connection: sqlite3.Connection) -> int:
    """Give free pages back to the file system, all but those beyond one step; return how many are left."""
    connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")  # a script, as in purging
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return int(free) if mode else 0


def redact_step(connection: sqlite3.Connection, redactions: Sequence[InboxRedaction]) -> int:
    """Do `redactions` on the writer's `connection`, all in one transaction; return how many were done.

    What they remove is overwritten in the file, not only marked as free.

    Raises:
        sqlite3.Error: it cannot be written; nothing was changed.

    """
    done = 0
    with _thoroughly(connection), transaction(connection):
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        for one in redactions:
            row = connection.execute(f"SELECT {COLUMNS} FROM notification WHERE id = ?", (one.id,)).fetchone()
            if row is None or body_key(row[4]) != one.body_key:
                continue
            digest = as_notification(row, identity).digest()
            connection.execute(
                "UPDATE notification SET body = ?, headers = NULL, received_digest = ? WHERE id = ?",
                (one.body, digest, one.id),
            )
            done += 1
    return done


@contextlib.contextmanager
def _thoroughly(connection: sqlite3.Connection) -> Iterator[None]:
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {before}").fetchone()


def to_json_values(redactions: Sequence[InboxRedaction]) -> list[list[Any]]:
    """Return `redactions` as values that JSON can carry."""
    return [[one.id, one.body_key.hex(), base64.b64encode(one.body).decode()] for one in redactions]


def from_json_values(values: Any) -> list[InboxRedaction]:
    """Return the scrubbings that `values` carry.

    Raises:
        ValueError: they carry none.

    """
    try:
        found = [
            InboxRedaction(int(number), bytes.fromhex(key), base64.b64decode(body, validate=True))
            for number, key, body in values
        ]
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if any(not 0 < one.id <= HIGHEST_ID for one in found):
        raise ValueError("an id that no notification has")
    return found
