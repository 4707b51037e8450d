"""One transaction: begun under the lock of all gatherers, committed, and proven to be there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gatherer.targets.sqlserver.errors import Class, Fault
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import Session, SQLServerError

_ABANDONED: Final = "the transaction was rolled back without a word"


@dataclass(frozen=True, kw_only=True)
class Transactions:
    """Does work in transactions of its own."""

    session: Session
    schema: str
    milliseconds: int  # to wait for the lock
    dry_run: bool  # roll back instead

    def run(self, work: Callable[[datetime], object]) -> None:
        """Do `work` in a transaction, commit it, and make sure that its rows are there.

        `work` is given the time of writing.

        Raises:
            SQLServerError: it failed, or it was not what was committed.

        """
        work(self.begin())
        if self.dry_run:
            self.session.rollback()
            return
        # TRY: a COMMIT without a transaction is an error of its own, which says too little.
        ((ended,),) = self.session.run(
            "DECLARE @transactions int = @@TRANCOUNT; IF @transactions > 0 COMMIT TRANSACTION; "
            "SELECT @transactions AS transactions"
        )
        (verify,) = batches("verify", self.schema)
        ((counted,),) = self.session.run(verify)
        if ended.transactions != 1 or counted.applied != counted.found:
            raise SQLServerError(Fault(kind=Class.TRANSIENT, state="", number=0, text=_ABANDONED))

    def begin(self) -> datetime:
        """Begin a transaction, and return the time of writing.

        Raises:
            SQLServerError: another gatherer has been writing for too long, or it cannot be begun.

        """
        _, begin = batches("begin", self.schema)
        ((started,),) = self.session.run(begin.replace("$(milliseconds)", str(self.milliseconds)))
        if started.granted < 0:
            raise SQLServerError(_busy())
        moment: datetime = started.moment.replace(tzinfo=UTC)
        return moment

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more.

        Raises:
            SQLServerError: another gatherer has been writing for too long.

        """
        (horizon,) = batches("horizon", self.schema)
        ((found,),) = self.session.run(horizon, self.milliseconds)
        if found.granted < 0:
            raise SQLServerError(_busy())
        moment: datetime = found.moment.replace(tzinfo=UTC)
        return moment


def _busy() -> Fault:
    """Return the fault of a lock that another gatherer does not let go of."""
    return Fault(kind=Class.TRANSIENT, state="HYT00", number=1222, text="another gatherer is writing")
