"""The rows to which chosen notifications contributed: their keys, and their removal. For `replay --rebuild`."""

from collections.abc import Collection
from typing import Final

from gatherer.model.records import Rejected
from gatherer.targets.base import Contributor
from gatherer.targets.sqlserver.schema import WITH_KEYS, batches, placed
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import chunks, encode

_REMOVED_AT_ONCE: Final = 2000  # rows of one DELETE: a larger one may lock the table
_CONTRIBUTOR: Final = "contributor"
_IS_CHOSEN: Final = "EXISTS (SELECT 1 FROM #chosen AS c WHERE c.inbox_id = t.inbox_id AND c.notification_id = t.notification_id)"
_RECORDS: Final = tuple(table for table in WITH_KEYS if table != Rejected.table)


def choose(
    session: Session, schema: str, notifications: set[tuple[str, int]], keep: Collection[bytes] = ()
) -> None:
    """Put the keys of the rows to which `notifications` contributed into the table that the statements below read.

    `notifications` are pairs of inbox id and notification id. Rows with one of the keys in `keep` are not removed.
    """
    _, insert, insert_kept = batches("choose", schema)
    for table in ("#chosen", "#kept", "#affected"):
        session.run(f"DELETE FROM {table}")
    for rows, _ in chunks(sorted(notifications), encode):
        session.run(insert, rows)
    for rows, _ in chunks(sorted({key.hex() for key in keep}), encode):
        session.run(insert_kept, rows)
    for table in (*WITH_KEYS, _CONTRIBUTOR):
        statement = (
            f"INSERT INTO #affected ([key]) SELECT DISTINCT t.[key] FROM #chosen AS c "
            f"JOIN $(schema).{table} AS t ON t.notification_id = c.notification_id AND t.inbox_id = c.inbox_id "
            "WHERE NOT EXISTS (SELECT 1 FROM #affected AS a WHERE a.[key] = t.[key])"
        )
        session.run(placed(statement, schema))


def keys(session: Session, schema: str) -> set[bytes]:
    """Return the keys of the records to which the chosen notifications contributed."""
    query = " UNION ALL ".join(
        f"SELECT t.[key] FROM $(schema).{table} AS t JOIN #affected AS a ON a.[key] = t.[key]"
        for table in _RECORDS
    )
    (rows,) = session.run(placed(query, schema))
    return {row[0] for row in rows}


def other_contributors(session: Session, schema: str) -> list[Contributor]:
    """Return which other notifications contributed to these rows and rejections."""
    query = " UNION ALL ".join(
        f"SELECT t.[key], t.inbox_id, t.notification_id FROM $(schema).{table} AS t "
        f"JOIN #affected AS a ON a.[key] = t.[key] WHERE NOT {_IS_CHOSEN}"
        for table in (*WITH_KEYS, _CONTRIBUTOR)
    )
    (rows,) = session.run(placed(query, schema))
    return [Contributor(*row) for row in rows]


def remove(session: Session, schema: str) -> int:
    """Delete the rows to which the chosen notifications contributed, and return how many rows that were."""
    removed = [_remove(session, schema, _selection(table)) for table in (*WITH_KEYS, _CONTRIBUTOR)]
    return sum(removed[:-1])


def _selection(table: str) -> str:
    return (
        f"FROM $(schema).{table} AS t WHERE EXISTS (SELECT 1 FROM #affected AS a WHERE a.[key] = t.[key]) "
        "AND NOT EXISTS (SELECT 1 FROM #kept AS k WHERE k.[key] = t.[key])"
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
