"""One batch into the tables of SQL Server, inside a transaction that somebody else ends.

Rows travel as one JSON text for every 2 000 of them, which the server takes apart with `OPENJSON … WITH`.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from gatherer import merging, timestamps
from gatherer.records import Record, Rejected
from gatherer.targets.base import Batch, Outcome
from gatherer.targets.sqlserver.faults import Class, Fault
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import Faulted, Session

ROWS: Final = 2000  # of one statement: the locks of a larger one may be turned into a lock of the table
CHARACTERS: Final = 4_000_000  # of one statement's JSON, so that memory does not depend on what people write

Row = tuple[Any, ...]
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def apply(session: Session, schema: str, batch: Batch, now: datetime) -> Outcome:
    """Upsert what `batch` holds, advance the position, and return what that changed.

    Raises:
        Faulted: a statement failed. Its `records` are those of which one or more were being written.

    """
    at = timestamps.sql_text(now)
    outcome = Outcome(duplicates=batch.folded)
    by_table: dict[type[Record], list[Record]] = {}
    for record in batch.records:
        by_table.setdefault(type(record), []).append(record)
    for table, records in by_table.items():
        # Sorted, so that neighbours in the index of keys are touched one after the other.
        for rows, chunk in chunks(sorted(records, key=attrgetter("key")), as_row):
            try:
                _upsert(session, schema, table, rows, chunk, at, outcome)
            except Faulted as failure:
                failure.records = chunk
                raise
    _reject(session, schema, batch.rejected, at, outcome)
    if batch.decoded_bodies:
        decoded = to_json([key.hex() for key in batch.decoded_bodies])
        again = to_json([refusal.key.hex() for refusal in batch.rejected])
        (resolve,) = batches("resolve_rejected", schema)
        outcome.resolved += _proven(session.run(resolve, decoded, again, at), 1)
    if batch.position is not None:
        (advance,) = batches("advance_position", schema)
        _proven(session.run(advance, *batch.position, at), 1)
    return outcome


def _upsert(
    session: Session,
    schema: str,
    table: type[Record],
    rows: str,
    records: Sequence[Record],
    now: str,
    outcome: Outcome,
) -> None:
    _, insert, update = batches(f"upsert_{table.table}", schema)
    found, inserted, proof = session.run(insert, rows, now)
    written = _proven([proof], len(records))
    for word, count in inserted:
        outcome.inserted[word] = outcome.inserted.get(word, 0) + count
    staged = {record.key: record for record in records}
    changed = []
    for values in found:
        stored = from_row(table, values)
        merged = merging.merge(stored, staged[stored.key])
        if merged != stored:
            changed.append(merged)
    if changed:
        for text, chunk in chunks(changed, as_row):
            if _proven(session.run(update, text, now), len(chunk)) != len(chunk):
                raise Faulted(_lost("rows that were locked are gone"))
    outcome.filled += len(changed)
    outcome.duplicates += len(records) - written - len(changed)


def _reject(session: Session, schema: str, rejected: Sequence[Rejected], now: str, outcome: Outcome) -> None:
    if not rejected:
        return
    bodies = {refusal.body_key: refusal for refusal in rejected}
    (insert,) = batches("insert_rejected_notification", schema)
    for rows, chunk in chunks(list(bodies.values()), _body_row):
        _proven(session.run(insert, rows, now), len(chunk))
    earliest: dict[bytes, Rejected] = {}
    for refusal in sorted(rejected, key=_receipt):
        earliest.setdefault(refusal.key, refusal)
    _, upsert = batches("upsert_rejected", schema)
    for rows, chunk in chunks(list(earliest.values()), _rejected_row):
        outcome.rejected += _proven(session.run(upsert, rows, now), len(chunk))


def _receipt(refusal: Rejected) -> tuple[Any, ...]:
    return refusal.received_at, refusal.inbox_id, refusal.notification_id, refusal.endpoint


def _proven(results: Sequence[Sequence[Any]], expected: int) -> int:
    """Return how many rows were written, from the proof that is the last of `results`.

    Raises:
        Faulted: there is no proof, rows got lost on their way, or the transaction is gone.

    """
    proof = results[-1] if results else ()
    if len(proof) != 1 or proof[0].staged != expected or proof[0].transactions < 1:
        raise Faulted(_lost("the server did not take in all rows"))
    written: int = proof[0].written
    return written


def _lost(text: str) -> Fault:
    return Fault(kind=Class.TRANSIENT, state="", number=0, text=text)


def chunks(values: Sequence[T], row: Callable[[T], object]) -> Iterator[tuple[str, Sequence[T]]]:
    """Yield `values` in parts for one statement each, as JSON and as they are."""
    texts: list[bytes] = []
    size = start = 0
    for at, value in enumerate(values):
        text = _encode(row(value))
        if texts and (len(texts) == ROWS or size + len(text) > CHARACTERS):
            yield _joined(texts), values[start:at]
            texts, size, start = [], 0, at
        texts.append(text)
        size += len(text)
    if texts:
        yield _joined(texts), values[start:]


def _joined(texts: Sequence[bytes]) -> str:
    return "[" + b",".join(texts).decode() + "]"


def to_json(value: object) -> str:
    """Return `value` as JSON, ready to be a parameter."""
    return _encode(value).decode()


def as_row(record: Record) -> Row:
    """Return the columns of `record` in the order of its fields, as they are staged."""
    values = msgspec.structs.astuple(record)
    key, provider, endpoint, inbox_id, number, received_at, occurred_at, *rest = values
    return (
        key.hex(),
        provider,
        endpoint,
        inbox_id,
        number,
        timestamps.sql_text(received_at),
        timestamps.sql_text(occurred_at),
        *rest,
    )


def from_row(table: type[Record], values: Sequence[Any]) -> Record:
    """Return the record of which `values` are the columns, as the server returns them."""
    named = dict(zip(table.__struct_fields__, values, strict=True))
    for name in ("received_at", "occurred_at"):
        named[name] = named[name].replace(tzinfo=UTC)
    return table(**named)


def _rejected_row(refusal: Rejected) -> Row:
    return (
        refusal.key.hex(),
        refusal.provider,
        refusal.endpoint,
        refusal.inbox_id,
        refusal.notification_id,
        timestamps.sql_text(refusal.received_at),
        _storable(refusal.path),
        str(refusal.reason_class),
        _storable(refusal.reason),
        refusal.body_key.hex(),
    )


def _body_row(refusal: Rejected) -> Row:
    return (
        refusal.body_key.hex(),
        refusal.content_type and _storable(refusal.content_type),
        refusal.body.hex(),
    )


def _storable(text: str) -> str:
    """Return `text` without what is no text to SQL Server. In records, the decoders see to that."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")
