"""Redacting notifications in an inbox: removing what concerns an erased person.

A redacted notification keeps its id and the digest of what was received: a position that refers to it stays valid.
Its headers are removed, as a signature in them would not match the new body.
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

STEP_BYTES: Final = 1_000_000  # of bodies in one transaction: notifications wait for it
STEP_ROWS: Final = 20  # in one transaction, as each old body may be as large as the limit
HIGHEST_ID: Final = 2**63 - 1


class InboxRedaction(NamedTuple):
    """The new body of one notification."""

    id: int
    body_key: bytes  # of its present body: a notification that has changed meanwhile is not changed again
    body: bytes  # without the person; empty if nothing remains


def steps(redactions: Iterable[InboxRedaction]) -> Iterator[list[InboxRedaction]]:
    """Yield `redactions` in lists, each of which fits one transaction."""
    step: list[InboxRedaction] = []
    size = 0
    for redaction in redactions:
        if step and (len(step) == STEP_ROWS or size + len(redaction.body) > STEP_BYTES):
            yield step
            step, size = [], 0
        step.append(redaction)
        size += len(redaction.body)
    if step:
        yield step


async def redact(writer: InboxWriter, redactions: Iterable[InboxRedaction]) -> int:
    """Perform `redactions` in steps, between new notifications; return how many notifications changed.

    Afterwards the file contains no remains of what was redacted or purged before, also if there are no `redactions`.

    Raises:
        InboxUnavailableError: the inbox cannot be written at present; all of it can be repeated.
        sqlite3.Error: as above.

    """
    changed = 0
    for step in steps(redactions):
        changed += await asyncio.wrap_future(writer.perform(partial(redact_step, redactions=step)))
    # Free pages hold what was purged earlier, and the log holds what was there before.
    while await asyncio.wrap_future(writer.perform(_vacuum_step)):
        pass
    if not await asyncio.wrap_future(writer.perform(try_truncate_log)):
        log.warning(
            "a program is reading %s: until it ends its transaction, the write-ahead log holds what was erased",
            writer.path,
        )
    return changed


def _vacuum_step(connection: sqlite3.Connection) -> int:
    """Return the free pages of one step to the file system; return how many free pages remain."""
    connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")  # a script, as in `vacuum_step`
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return int(free) if mode else 0


def redact_step(connection: sqlite3.Connection, redactions: Sequence[InboxRedaction]) -> int:
    """Perform `redactions` on the writer's `connection` in one transaction; return how many notifications changed.

    The old content is overwritten in the file, not only marked as free.

    Raises:
        sqlite3.Error: the file cannot be written; nothing was changed.

    """
    changed = 0
    with _secure_delete(connection), transaction(connection):
        (identity,) = connection.execute("SELECT identity FROM inbox").fetchone()
        for redaction in redactions:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM notification WHERE id = ?", (redaction.id,)
            ).fetchone()
            if row is None or body_key(row[4]) != redaction.body_key:
                continue
            digest = as_notification(row, identity).digest()
            connection.execute(
                "UPDATE notification SET body = ?, headers = NULL, received_digest = ? WHERE id = ?",
                (redaction.body, digest, redaction.id),
            )
            changed += 1
    return changed


@contextlib.contextmanager
def _secure_delete(connection: sqlite3.Connection) -> Iterator[None]:
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {before}").fetchone()


def to_json_values(redactions: Sequence[InboxRedaction]) -> list[list[Any]]:
    """Return `redactions` as values that JSON can carry: [id, body key in hex, body in base64] each."""
    return [
        [redaction.id, redaction.body_key.hex(), base64.b64encode(redaction.body).decode()]
        for redaction in redactions
    ]


def from_json_values(values: Any) -> list[InboxRedaction]:
    """Return the redactions that `values` carry.

    Raises:
        ValueError: `values` hold something else.

    """
    try:
        redactions = [
            InboxRedaction(int(number), bytes.fromhex(key), base64.b64decode(body, validate=True))
            for number, key, body in values
        ]
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    if any(not 0 < redaction.id <= HIGHEST_ID for redaction in redactions):
        raise ValueError("an id is out of range")
    return redactions
