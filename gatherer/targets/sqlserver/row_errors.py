"""Records that the server rejects: found by bisection, and turned into rejections that keep their notification."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gatherer.model.errors import TargetError
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Reason, Record, Rejected, Response
from gatherer.targets.base import Batch
from gatherer.targets.sqlserver.errors import SQLServerError

# If the server rejects at least so many records, and a larger share of them, the tables are wrong and not the data.
FEW: Final = 10
SHARE: Final = 0.01

# Writes records, rolls back, and returns the error of the server; None if it accepted all of them.
Attempt = Callable[[Sequence[Record]], SQLServerError | None]


def find(
    records: Sequence[Record], attempt: Attempt, error: SQLServerError
) -> Iterator[tuple[Record, SQLServerError]]:
    """Yield those of `records` that the server rejects, each with its error.

    `error` is the one that all of them together cause. Halves are tried until single records are left.
    """
    if len(records) == 1:
        yield records[0], error
        return
    middle = len(records) // 2
    for half in (records[:middle], records[middle:]):
        half_error = attempt(half)
        if half_error is not None:
            yield from find(half, attempt, half_error)


def without(batch: Batch, errors: dict[bytes, SQLServerError]) -> Batch:
    """Return `batch` with rejections in place of the records that the server rejects.

    `errors` are the errors of these records by their keys.

    Raises:
        TargetError: there are too many, or the batch does not hold the notification of one of them.

    """
    if len(errors) >= FEW and len(errors) > SHARE * len(batch.records):
        error = next(iter(errors.values()))
        raise TargetError(
            f"{len(errors)} or more of {len(batch.records)} records were refused, which is the fault of the tables "
            f"and not of the data: {error}. Nothing was written; `gatherer schema check` compares the tables"
        )
    sources = {(source.inbox_id, source.id): source for source in batch.notifications}
    rejected = list(batch.rejected)
    for record in batch.records:
        if record.key in errors:
            source = sources.get((record.inbox_id, record.notification_id))
            if source is None:
                raise TargetError(f"a record was refused: {errors[record.key]}")
            rejected.append(_rejection(record, source, errors[record.key]))
    accepted = [record for record in batch.records if record.key not in errors]
    # A pair has nothing that a response does not have: what the server rejects in both is rejected once.
    pairs = [pair for pair in batch.pairs if pair.key not in errors]
    return dataclasses.replace(batch, records=accepted, pairs=pairs, rejected=rejected)


def _rejection(record: Record, source: Notification, error: SQLServerError) -> Rejected:
    """Return the rejection of `record`, which was decoded from `source` and caused `error`."""
    body = body_key(source.body)
    record_type = f"{record.kind} response" if isinstance(record, Response) else record.table
    identity = f"{record.provider}\x1f{record.table}\x1f{Reason.REFUSED}\x1f".encode() + record.key + body
    return Rejected(
        key=hashlib.sha256(identity).digest()[:16],
        provider=record.provider,
        endpoint=source.endpoint,
        inbox_id=source.inbox_id,
        notification_id=source.id,
        received_at=source.received_at,
        path="$",
        reason_class=Reason.REFUSED,
        reason=f"the target refused the {record_type} with key {record.key.hex()}: {error}",
        body_key=body,
        body=source.body,
        content_type=source.content_type,
    )
