"""What has become too old to be kept in SQL Server: text that is blanked, and rows that are deleted."""

from dataclasses import dataclass
from datetime import datetime

from gatherer.model.records import TABLES
from gatherer.targets import sql_datetime
from gatherer.targets.base import Retired
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.transaction import Transactions


@dataclass(frozen=True, kw_only=True)
class Retirement:
    """Blanks and deletes in small transactions: a large one would lock whole tables, and hold everybody up."""

    session: Session
    schema: str
    transactions: Transactions

    def retire(self, *, text_before: datetime | None, rows_before: datetime | None) -> Retired:
        """Blank text and delete rows that are too old."""
        deleted = sum(self._repeat("delete_old", rows_before, table=table.table) for table in TABLES)
        rejections_before = max((before for before in (text_before, rows_before) if before), default=None)
        deleted += self._repeat("delete_rejected", rejections_before)
        return Retired(blanked=self._repeat("blank", text_before, stamped=True), deleted=deleted)

    def _repeat(self, name: str, before: datetime | None, *, table: str = "", stamped: bool = False) -> int:
        """Do what the second batch of `name` does until nothing is left to do; return how many rows that were.

        The first batch counts, outside of any transaction: mostly there is nothing.
        """
        if before is None:
            return 0
        time = sql_datetime.text(before)
        count, change = (batch.replace("$(table)", table) for batch in batches(name, self.schema))
        ((there,),) = self.session.persistently(lambda: self.session.run(count, time))
        if self.transactions.dry_run or not there.counted:
            return int(there.counted)

        def step() -> int:
            changed = 0

            def work(now: datetime) -> None:
                nonlocal changed
                ((done,),) = self.session.run(change, time, *([sql_datetime.text(now)] if stamped else []))
                changed = done.changed

            self.transactions.run(work)
            return changed

        total = 0
        while changed := self.session.persistently(step):
            total += changed
        return total
