"""One batch in one transaction, whatever comes in between: records that are refused, answers that never arrive."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from gatherer.model.errors import TargetError
from gatherer.model.records import Record
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Outcome, Position
from gatherer.targets.sqlserver import row_errors
from gatherer.targets.sqlserver.apply import Writer
from gatherer.targets.sqlserver.errors import Fault
from gatherer.targets.sqlserver.schema import placed
from gatherer.targets.sqlserver.session import Session, SQLServerError
from gatherer.targets.sqlserver.transaction import Transactions


class Trace(NamedTuple):
    """What finds a row if, and only if, a transaction was carried out."""

    query: str
    parameters: tuple[object, ...]


def trace_of(position: Position, now: datetime) -> Trace:
    """Return what finds `position` if it was written at `now`."""
    return Trace(
        "SELECT 1 AS found FROM $(schema).inbox_position "
        "WHERE inbox_id = ? AND notification_id = ? AND digest = ? AND changed_at = CONVERT(datetime2(3), ?)",
        (*position, sql_datetime.text(now)),
    )


class Done(NamedTuple):
    """What was done in a transaction that is going to be committed."""

    outcome: Outcome
    trace: Trace | None  # None: doing it once more does no harm


Work = Callable[[Batch, datetime], Done]  # given a batch and the time of writing


@dataclass(frozen=True, kw_only=True)
class Committer:
    """Commits work on batches, each once."""

    session: Session
    schema: str
    transactions: Transactions
    writer: Writer

    def commit(self, batch: Batch, work: Work) -> Outcome:
        """Do `work` with `batch` in a transaction, commit it, and return what came of it.

        A record that the server will not take becomes a rejection, and the work is done with what is left.

        Raises:
            TargetError: the server takes too little of it, or trying again will not help.
            TemporaryError: it cannot be done just now, and nothing was.

        """
        refused: dict[bytes, Fault] = {}
        while True:
            reduced = row_errors.without(batch, refused) if refused else batch
            try:
                return self._persistently(reduced, work)
            except SQLServerError as failure:
                if not failure.records:
                    raise TargetError(f"{self.session.name}: {failure.fault}") from None
                found = row_errors.find(failure.records, self._try, failure.fault)
                before = len(refused)
                for record, fault in found:
                    refused[record.key] = fault
                    row_errors.without(batch, refused)  # ends the search when they are too many
                if (
                    len(refused) == before
                ):  # none of them alone: whatever it was is over, or is none of theirs
                    raise TargetError(f"{self.session.name}: {failure.fault}") from None

    def _persistently(self, batch: Batch, work: Work) -> Outcome:
        """Do it until an answer says that it was committed, or until a row does because that answer got lost."""
        done: Done | None = None

        def remembered(now: datetime) -> None:
            nonlocal done
            done = work(batch, now)

        def once() -> Outcome:
            if done is not None and not self.transactions.dry_run and self._is_there(done.trace):
                return done.outcome
            self.transactions.run(remembered)
            assert done is not None  # noqa: S101 - that is what was run
            return done.outcome

        return self.session.persistently(once)

    def _is_there(self, trace: Trace | None) -> bool:
        if trace is None:
            return False
        found: list[list[Any]] = self.session.run(placed(trace.query, self.schema), *trace.parameters)
        return bool(found[0])

    def _try(self, records: Sequence[Record]) -> Fault | None:
        """Write `records` and roll back; return what the server has against one of them, None if nothing."""

        def work() -> None:
            self.writer.apply(Batch(records=list(records)), self.transactions.begin())
            self.session.rollback()

        try:
            self.session.persistently(work)
        except SQLServerError as failure:
            return failure.fault
        return None
