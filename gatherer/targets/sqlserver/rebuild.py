"""The rows that were first received in chosen notifications: their keys, and their removal. For `replay --rebuild`."""

from collections.abc import Collection
from typing import Final

from gatherer.model.records import Rejected
from gatherer.targets.sqlserver.schema import WITH_KEYS, batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import chunks, encode

_REMOVED_AT_ONCE: Final = 2000  # rows of one DELETE: a larger one may lock the table
_NOT_KEPT: Final = " AND NOT EXISTS (SELECT 1 FROM #kept AS k WHERE k.[key] = t.[key])"


def choose(
    session: Session, schema: str, notifications: set[tuple[str, int]], keep: Collection[bytes] = ()
) -> None:
    """Put `notifications`, pairs of inbox id and notification id, into the table that the statements below read.

    Records with one of the keys in `keep` are not removed.
    """
    _, insert, insert_kept = batches("choose", schema)
    session.run("DELETE FROM #chosen")
    for rows, _ in chunks(sorted(notifications), encode):
        session.run(insert, rows)
    session.run("DELETE FROM #kept")
    for rows, _ in chunks(sorted({key.hex() for key in keep}), encode):
        session.run(insert_kept, rows)


def keys(session: Session, schema: str) -> set[bytes]:
    """Return the keys of the records and rejections first received in the chosen notifications."""
    query = " UNION ALL ".join(
        f"SELECT t.[key] FROM $(schema).{table} AS t JOIN #chosen AS c "
        "ON c.inbox_id = t.inbox_id AND c.notification_id = t.notification_id"
        for table in WITH_KEYS
    )
    (rows,) = session.run(placed(query, schema))
    return {row[0] for row in rows}


def remove(session: Session, schema: str) -> int:
    """Delete the rows first received in the chosen notifications, and return how many rows that were."""
    return sum(
        _remove(
            session,
            schema,
            f"FROM $(schema).{table} AS t WHERE EXISTS (SELECT 1 FROM #chosen AS c "
            "WHERE c.inbox_id = t.inbox_id AND c.notification_id = t.notification_id)"
            + ("" if table == Rejected.table else _NOT_KEPT),
        )
        for table in WITH_KEYS
    )


def remove_bodies(session: Session, schema: str) -> None:
    """Delete the bodies that no rejection refers to."""
    _remove(
        session,
        schema,
        "FROM $(schema).rejected_notification AS t "
        "WHERE NOT EXISTS (SELECT 1 FROM $(schema).rejected AS r WHERE r.body_key = t.body_key)",
    )


def _remove(session: Session, schema: str, selection: str) -> int:
    """Delete the rows of `selection`, which is T-SQL from FROM on, and return how many rows that were."""
    statement = placed(f"DELETE TOP ({_REMOVED_AT_ONCE}) t {selection}; SELECT @@ROWCOUNT AS removed", schema)
    removed = 0
    while True:
        ((row,),) = session.run(statement)
        removed += int(row.removed)
        if row.removed < _REMOVED_AT_ONCE:
            return removed
