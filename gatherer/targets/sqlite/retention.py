"""Retention in the embedded target: text that is blanked, and rows that are deleted, when they are too old."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final

from gatherer.model import timestamps
from gatherer.model.records import TABLES, MessageIdPair
from gatherer.targets import sql_datetime
from gatherer.targets.base import RetentionResult
from gatherer.targets.sqlite.schema import sql

STEP: Final = 2000  # rows of one transaction, so that other programs can write in between
_ALL: Final = -1  # as LIMIT


def apply_retention(
    connection: sqlite3.Connection,
    transaction: Callable[[], AbstractContextManager[None]],
    *,
    text_before: datetime | None,
    rows_before: datetime | None,
    dry_run: bool,
) -> RetentionResult:
    """Blank text and delete rows in small transactions; with `dry_run` in large ones, which are rolled back."""
    limit = _ALL if dry_run else STEP

    def repeated(step: Callable[[sqlite3.Connection, str, int], int], before: datetime | None) -> int:
        """Call `step` until no row is left to change; return how many rows it changed."""
        total = 0
        while before is not None:
            with transaction():
                changed = step(connection, sql_datetime.text(before), limit)
            total += changed
            if dry_run or changed < STEP:
                break
        return total

    deleted = sum(
        repeated(_deletion(record.table), rows_before) for record in TABLES if record is not MessageIdPair
    )
    deleted += repeated(_delete_pairs, rows_before)
    rejections_before = max((before for before in (text_before, rows_before) if before), default=None)
    deleted += repeated(_delete_rejections, rejections_before)
    return RetentionResult(blanked=repeated(_blank, text_before), deleted=deleted)


def _deletion(table: str) -> Callable[[sqlite3.Connection, str, int], int]:
    statement = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE occurred_at < ? LIMIT ?)"
    return lambda connection, before, limit: connection.execute(statement, (before, limit)).rowcount


def _delete_pairs(connection: sqlite3.Connection, before: str, limit: int) -> int:
    """Delete pairs of message ids of which no response has an id any more."""
    return connection.execute(sql("delete_old_pairs"), {"before": before, "limit": limit}).rowcount


def _delete_rejections(connection: sqlite3.Connection, before: str, limit: int) -> int:
    """Delete rejections, and the bodies that no other rejection needs; return how many rejections."""
    rejections = connection.execute(
        "SELECT id, body_key FROM rejected WHERE received_at < ? LIMIT ?", (before, limit)
    ).fetchall()
    connection.executemany("DELETE FROM rejected WHERE id = ?", ((row_id,) for row_id, _ in rejections))
    connection.executemany(
        "DELETE FROM rejected_notification WHERE body_key = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM rejected WHERE body_key = ?1)",
        ((body_key,) for _, body_key in rejections),
    )
    return len(rejections)


def _blank(connection: sqlite3.Connection, before: str, limit: int) -> int:
    now = sql_datetime.text(timestamps.now())
    values = {"before": before, "limit": limit, "now": now}
    return connection.execute(sql("blank"), values).rowcount
