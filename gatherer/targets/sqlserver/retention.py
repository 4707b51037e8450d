"""Retention in SQL Server: text that is blanked, and rows that are deleted, when they are too old."""

from datetime import datetime

from gatherer.model.records import TABLES, MessageIdPair
from gatherer.targets import sql_datetime
from gatherer.targets.base import RetentionResult
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.transaction import Transactions


def apply_retention(
    transactions: Transactions, *, text_before: datetime | None, rows_before: datetime | None
) -> RetentionResult:
    """Blank text and delete rows that are too old, in small transactions: a large one would lock whole tables."""
    tables = [record.table for record in TABLES if record is not MessageIdPair]
    deleted = sum(_repeat(transactions, "delete_old", rows_before, table=table) for table in tables)
    deleted += _repeat(transactions, "delete_old_pairs", rows_before)
    rejections_before = max((before for before in (text_before, rows_before) if before), default=None)
    deleted += _repeat(transactions, "delete_rejected", rejections_before)
    return RetentionResult(blanked=_repeat(transactions, "blank", text_before, stamped=True), deleted=deleted)


def _repeat(
    transactions: Transactions, name: str, before: datetime | None, *, table: str = "", stamped: bool = False
) -> int:
    """Execute the second batch of `sql/<name>.sql` until no row is left to change; return how many rows changed.

    Its first batch counts these rows, outside of any transaction: mostly there are none.

    Args:
        transactions: of the target.
        name: of the file.
        before: rows that occurred earlier are too old; None: no row is.
        table: value of `$(table)`.
        stamped: whether the second batch takes the time of writing as well.

    """
    if before is None:
        return 0
    session, time = transactions.session, sql_datetime.text(before)
    count, change = (batch.replace("$(table)", table) for batch in batches(name, transactions.schema))
    ((old,),) = session.with_retry(lambda: session.run(count, time))
    if transactions.dry_run or not old.counted:
        return int(old.counted)
    total = 0
    while changed := _change(transactions, change, time, stamped=stamped):
        total += changed
    return total


def _change(transactions: Transactions, statement: str, time: str, *, stamped: bool) -> int:
    """Execute `statement` in a separate transaction; return how many rows it changed."""
    retry = transactions.session.retry()
    while True:
        with retry, transactions.begin() as now:
            parameters = [time, sql_datetime.text(now)] if stamped else [time]
            ((row,),) = transactions.session.run(statement, *parameters)
            return int(row.changed)
