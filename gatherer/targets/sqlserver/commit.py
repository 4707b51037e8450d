"""One batch, committed exactly once: in one transaction, with a proof row, without the records that the server refuses.

::

    commit              repeats until the server refuses no record: each refused one becomes a rejection
    ├─ _commit_once     repeats after transient errors, unless the proof row is there: then only the answer was lost
    │  └─ _write        inside the transaction: what an erasure changes, rows, rejections, the position
    └─ _trial           writes a part of the batch and rolls back, to find the refused records
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from gatherer.model.errors import TargetError
from gatherer.model.records import Record
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlserver import bookkeeping, privacy, row_errors
from gatherer.targets.sqlserver.apply import BatchWriter
from gatherer.targets.sqlserver.errors import SQLServerError
from gatherer.targets.sqlserver.privacy import ErasureChanges
from gatherer.targets.sqlserver.transaction import ProofRow, Transactions


class _Written(NamedTuple):
    """What a transaction has written that is going to be committed."""

    outcome: Outcome
    proof: ProofRow | None  # None: a second commit of the same batch does no harm


def commit(transactions: Transactions, batch: Batch, erasure: ErasureChanges | None = None) -> Outcome:
    """Write `batch`, and what `erasure` changes, in one transaction; return what that changed.

    Each record that the server refuses is written as a rejection instead.

    Raises:
        TargetError: the server refuses too many records, or a retry does not help.
        TemporaryError: the retries did not help. Nothing was written.

    """
    refused: dict[bytes, SQLServerError] = {}
    while True:
        accepted = row_errors.without(batch, refused) if refused else batch
        try:
            return _commit_once(transactions, accepted, erasure)
        except SQLServerError as error:  # about a row: all others ended in `Retry`
            before = len(refused)
            if error.records:
                for record, cause in row_errors.find(error.records, partial(_trial, transactions), error):
                    refused[record.key] = cause
                    row_errors.without(batch, refused)  # raises, and so ends the search, if they are too many
            if len(refused) == before:  # the server accepts each record by itself: no record is the cause
                raise TargetError(f"{transactions.session.name}: {error}") from None


def _commit_once(transactions: Transactions, batch: Batch, erasure: ErasureChanges | None) -> Outcome:
    """Write and commit until the server's answer, or the proof row after a lost answer, confirms it."""
    written: _Written | None = None
    retry = transactions.session.retry()
    while True:
        with retry:
            if written is not None and _is_committed(transactions, written):
                return written.outcome
            with transactions.begin() as now:
                written = _write(transactions, batch, erasure, now)
            return written.outcome


def _is_committed(transactions: Transactions, written: _Written) -> bool:
    if written.proof is None or transactions.dry_run:
        return False
    return transactions.is_committed(written.proof)


def _write(
    transactions: Transactions, batch: Batch, erasure: ErasureChanges | None, now: datetime
) -> _Written:
    session, schema = transactions.session, transactions.schema
    outcome, writer = Outcome(), BatchWriter(session=session, schema=schema)
    proof = bookkeeping.position_proof(batch.position, now) if batch.position is not None else None
    if erasure is not None:
        outcome.removed = privacy.erase(session, schema, erasure, now)
        writer.restore_ids(now)
        proof = privacy.erasure_proof(erasure.erasure) if erasure.erasure is not None else None
    outcome.add(writer.apply(batch, now))
    return _Written(outcome, proof)


def _trial(transactions: Transactions, records: Sequence[Record]) -> SQLServerError | None:
    """Write `records` and roll back; return the error about one of them, None if the server accepts all."""
    retry = transactions.session.retry()
    writer = BatchWriter(session=transactions.session, schema=transactions.schema)
    try:
        while True:
            with retry, transactions.begin(commit=False) as now:
                writer.apply(Batch(records=list(records)), now)
                return None
    except SQLServerError as error:
        return error
