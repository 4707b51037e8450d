"""The campaign map in SQL Server: import, and what is missing in it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from gatherer.model.message_map import MapRow
from gatherer.targets import sql_datetime
from gatherer.targets.base import MapStatus
from gatherer.targets.sqlserver.apply import proven
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import chunks, encode
from gatherer.targets.sqlserver.transaction import Transactions


def write(transactions: Transactions, rows: Sequence[MapRow]) -> tuple[int, int]:
    """Insert or change `rows` in one transaction; return how many were inserted, and how many changed.

    Raises:
        SQLServerError: a statement failed, and the retries did not help.

    """
    session = transactions.session
    (upsert,) = batches("upsert_message_map", transactions.schema)
    retry = session.retry()
    while True:
        inserted = changed = 0
        with retry:
            with transactions.begin() as now:
                for text, chunk in chunks(rows, encode):
                    results = session.run(upsert, text, sql_datetime.text(now))
                    inserted += proven(results, len(chunk))
                    changed += results[-1][0].changed
            return inserted, changed


def status(session: Session, schema: str, since: datetime, until: datetime) -> MapStatus:
    """Return what is missing in the map."""
    times = (sql_datetime.text(since), sql_datetime.text(until))

    def rows(name: str, *parameters: str) -> list[tuple[Any, ...]]:
        (query,) = batches(name, schema)
        return [tuple(row) for row in session.run(query, *parameters)[-1]]

    return MapStatus(
        without_campaign=dict(rows("count_without_campaign", times[0])),
        campaigns=rows("count_without_receipt", *times),
        unbound=rows("count_unbound")[0][0],
    )


def query_rows(access: Access, query: str) -> Iterator[Sequence[object]]:
    """Yield the names of the columns of `query`, then its rows; nothing if there are no rows.

    The query has a connection of its own, because rows are written meanwhile.

    Raises:
        SQLServerError: the query failed.

    """
    session = Session(access)
    try:
        names = None
        for rows in session.stream(query):
            if names is None:
                names = [column[0] for column in rows[0].cursor_description]
                yield names
            yield from rows
    finally:
        session.disconnect()
