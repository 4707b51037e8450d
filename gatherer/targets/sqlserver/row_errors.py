"""Records that the server will not take: found one by one, and turned into rejections that keep their bytes."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gatherer.model.errors import TargetError
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Reason, Record, Rejected, Response
from gatherer.targets.base import Batch
from gatherer.targets.sqlserver.errors import SQLServerError

# Where more than this is refused, it is not the data that is wrong.
FEW: Final = 10
SHARE: Final = 0.01

Try = Callable[
    [Sequence[Record]], SQLServerError | None
]  # write and roll back; what the server had against it


def find(
    records: Sequence[Record], attempt: Try, fault: SQLServerError
) -> Iterator[tuple[Record, SQLServerError]]:
    """Yield the records among `records` that the server does not take, each with what it said.

    `fault` is what it said about all of them together. Halves are tried until single ones are left.
    """
    if len(records) == 1:
        yield records[0], fault
        return
    middle = len(records) // 2
    for part in (records[:middle], records[middle:]):
        refused = attempt(part)
        if refused is not None:
            yield from find(part, attempt, refused)


def without(batch: Batch, refused: dict[bytes, SQLServerError]) -> Batch:
    """Return `batch` with rejections in place of the `refused` records, given by their keys.

    Raises:
        TargetError: there are too many, or the bytes of a record's notification are not at hand.

    """
    if len(refused) >= FEW and len(refused) > SHARE * len(batch.records):
        fault = next(iter(refused.values()))
        raise TargetError(
            f"{len(refused)} or more of {len(batch.records)} records were refused, which is the fault of the tables "
            f"and not of the data: {fault}. Nothing was written; `gatherer schema check` compares the tables"
        )
    sources = {(source.inbox_id, source.id): source for source in batch.notifications}
    rejected = list(batch.rejected)
    for record in batch.records:
        if record.key in refused:
            source = sources.get((record.inbox_id, record.notification_id))
            if source is None:
                raise TargetError(f"a record was refused: {refused[record.key]}")
            rejected.append(_rejection(record, source, refused[record.key]))
    return dataclasses.replace(
        batch, records=[record for record in batch.records if record.key not in refused], rejected=rejected
    )


def _rejection(record: Record, source: Notification, fault: SQLServerError) -> Rejected:
    body = body_key(source.body)
    what = f"{record.kind} response" if isinstance(record, Response) else record.table
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
        reason=f"the target refused the {what} with key {record.key.hex()}: {fault}",
        body_key=body,
        body=source.body,
        content_type=source.content_type,
    )
