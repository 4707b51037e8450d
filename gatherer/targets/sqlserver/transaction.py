"""Transactions under the application lock of one schema: begun, committed, and verified."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gatherer.targets.sqlserver.errors import Category, SQLServerError
from gatherer.targets.sqlserver.schema import batches, placed
from gatherer.targets.sqlserver.session import Session

_COMMIT: Final = (
    # COMMIT without a transaction would be an error that does not name the cause.
    "DECLARE @transactions int = @@TRANCOUNT; IF @transactions > 0 COMMIT TRANSACTION; "
    "SELECT @transactions AS transactions"
)


class ProofRow(NamedTuple):
    """A query that finds a row if, and only if, one certain transaction was committed."""

    query: str
    parameters: tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Transactions:
    """The transactions of one target. A transaction begins when no other gatherer writes into the schema."""

    session: Session
    schema: str
    lock_timeout_milliseconds: int  # how long to wait for another gatherer
    dry_run: bool  # roll back instead of committing

    @contextmanager
    def begin(self, *, commit: bool = True) -> Iterator[datetime]:
        """Begin a transaction, and commit it at the end of the block; yield the time of writing (aware UTC).

        After an error in the block the transaction is still open: `Session.retry` rolls it back.
        With `commit=False` the block's work is rolled back.

        Raises:
            SQLServerError: another gatherer holds the lock for too long, or the server did not commit everything.

        """
        _, begin = batches("begin", self.schema)
        milliseconds = str(self.lock_timeout_milliseconds)
        ((row,),) = self.session.run(begin.replace("$(milliseconds)", milliseconds))
        if row.granted < 0:
            raise SQLServerError(
                "another gatherer is writing", category=Category.TRANSIENT, state="HYT00", number=1222
            )
        moment: datetime = row.moment
        yield moment.replace(tzinfo=UTC)
        if self.dry_run or not commit:
            self.session.rollback()
        else:
            self._commit()

    def _commit(self) -> None:
        """Commit, then check that all keys are there that the transaction wrote.

        Under XACT_ABORT an error that the driver lost has rolled everything back, and COMMIT reports nothing.
        """
        ((ended,),) = self.session.run(_COMMIT)
        (verify,) = batches("verify", self.schema)
        ((count,),) = self.session.run(verify)
        if ended.transactions != 1 or count.applied != count.found:
            raise SQLServerError(
                "the server rolled the transaction back without reporting an error",
                category=Category.TRANSIENT,
            )

    def is_committed(self, proof: ProofRow) -> bool:
        """Return whether the transaction that writes the row of `proof` was committed."""
        results: list[list[Any]] = self.session.run(placed(proof.query, self.schema), *proof.parameters)
        return bool(results[0])
