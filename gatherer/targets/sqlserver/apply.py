"""One batch into the tables of SQL Server, inside a transaction that the caller begins and ends.

Rows travel as one JSON text for every 2 000 of them, which the server takes apart with `OPENJSON … WITH`. Of the
ways of transport that were compared, it is the fastest that never loses or doubles a row. Rows per second of the
same 40 000 rows of 36 columns into a heap without indexes, in one run of `scripts/bench sqlserver` on two shared
cores, with Babelfish 4.4 as the server (only the relations mean anything): OPENJSON 4 266, `fast_executemany` 3 019;
the whole run, with all indexes, merging and proofs, 2 386, and over nothing but duplicates 2 694. In an earlier
comparison of narrower rows (20 columns, 50 000 rows): OPENJSON 22 023, `fast_executemany` 11 088 (6 221 into a table
with a primary key), one JSON text of 25 million characters 5 556, table-valued parameters 2 346, `executemany`
1 500, VALUES of many rows 1 003. Table-valued parameters delivered the first call's rows again, and bulk copy
delivered wrong data there, so neither is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from gatherer.model import merge
from gatherer.model.records import MessageIdPair, Record, Rejected, Response
from gatherer.targets import sql_datetime
from gatherer.targets.base import Batch, Contributor, Outcome
from gatherer.targets.sqlserver.errors import Category, SQLServerError
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import Session
from gatherer.targets.sqlserver.staging import (
    as_json,
    body_as_json,
    chunks,
    encode,
    from_row,
    rejected_as_json,
    storable,
    to_json,
)
from gatherer.targets.sqlserver.upsert import staging, upsert


@dataclass(frozen=True, kw_only=True)
class BatchWriter:
    """Writes into the tables of one schema."""

    session: Session
    schema: str

    def apply(self, batch: Batch, now: datetime) -> Outcome:
        """Upsert the records and rejections of `batch`, advance the position, and return what that changed.

        `now` is the time of writing.

        Raises:
            SQLServerError: a statement failed. Its `records` are those that the statement was writing.

        """
        at = sql_datetime.text(now)
        outcome = Outcome(duplicates=batch.folded)
        by_table: dict[type[Record], list[Record]] = {}
        for record in batch.records:
            by_table.setdefault(type(record), []).append(record)
        for table, records in by_table.items():
            self._upsert_all(table, records, at, outcome)
        self._upsert_all(MessageIdPair, batch.pairs, at, Outcome())
        if batch.pairs or Response in by_table:
            self._for_ids("replace_ids", at)
        self._reject(batch.rejected, at, outcome)
        for name, contributors in batch.contributors.items():
            self._contribute(name, contributors)
        if batch.decoded_bodies:
            self._resolve(batch, at, outcome)
        if batch.position is not None:
            (advance,) = self._batches("advance_position")
            proven(self.session.run(advance, *batch.position, at), 1)
        return outcome

    def restore_ids(self, now: datetime) -> None:
        """Give the rows that had an id of a pair that was removed the id that they have without it.

        Raises:
            SQLServerError: the statement failed.

        """
        self._for_ids("restore_ids", sql_datetime.text(now))

    def _for_ids(self, name: str, now: str) -> None:
        (statement,) = self._batches(name)
        proven(self.session.run(statement, now), 0)

    def _upsert_all(self, table: type[Record], records: Sequence[Record], now: str, outcome: Outcome) -> None:
        """Upsert `records` into `table` in chunks, and count in `outcome` what that changed."""
        # Sorted, so that neighbours in the index of keys are touched one after the other.
        for rows, chunk in chunks(sorted(records, key=attrgetter("key")), as_json):
            try:
                self._upsert(table, rows, chunk, now, outcome)
            except SQLServerError as error:
                error.records = chunk
                raise

    def _upsert(
        self, table: type[Record], rows: str, records: Sequence[Record], now: str, outcome: Outcome
    ) -> None:
        """Upsert `records`, which are `rows` as JSON, into `table`, and count in `outcome` what that changed."""
        _, stage = staging(table)
        insert, update = upsert(table, self.schema)
        self._stage(stage, rows, len(records))
        candidates, inserted, proof = self.session.run(insert, now)
        written = proven([proof], len(records))
        for word, count in inserted:
            outcome.inserted[word] = outcome.inserted.get(word, 0) + count
        staged = {record.key: record for record in records}
        changed = []
        for row in candidates:
            stored = from_row(table, row)
            delivered = staged[stored.key]
            if isinstance(delivered, Response) and row.blanked_at is not None:
                delivered = merge.blanked(delivered)
            merged = merge.merge(stored, delivered)
            if merged != stored:
                changed.append(merged)
        for merged_rows, chunk in chunks(changed, as_json):
            self._stage(stage, merged_rows, len(chunk))
            proven(self.session.run(update, now), len(chunk))
        outcome.filled += len(changed)
        outcome.duplicates += len(records) - written - len(changed)

    def _stage(self, statement: str, rows: str, count: int) -> None:
        """Run `statement`, which puts `rows`, a JSON array of `count` rows, into the staging table of its table."""
        proven(self.session.run(statement, rows), count, transactions=0)

    def _reject(self, rejections: Sequence[Rejected], now: str, outcome: Outcome) -> None:
        """Upsert `rejections` with the bodies that they keep, and count the new ones in `outcome`."""
        if not rejections:
            return
        rejections = [storable(rejected) for rejected in rejections]
        types = merge.content_types(rejections)
        bodies = {
            rejected.body_key: msgspec.structs.replace(rejected, content_type=types[rejected.body_key])
            for rejected in rejections
        }
        (insert,) = self._batches("insert_rejected_notification")
        for text, chunk in chunks(list(bodies.values()), body_as_json, brackets="{}"):
            proven(self.session.run(insert, text), len(chunk))
        earliest: dict[bytes, Rejected] = {}
        for rejected in sorted(rejections, key=_receipt):
            earliest.setdefault(rejected.key, rejected)
        _, stage = staging(Rejected)
        (upsert_rejected,) = self._batches("upsert_rejected")
        for rows, chunk in chunks(list(earliest.values()), rejected_as_json):
            self._stage(stage, rows, len(chunk))
            outcome.rejected += proven(self.session.run(upsert_rejected, now), len(chunk))

    def _contribute(self, table: str, contributors: Sequence[Contributor]) -> None:
        """Store `contributors` of rows of `table`, except those that the rows name themselves."""
        (statement,) = (batch.replace("$(table)", table) for batch in self._batches("contribute"))
        for rows, chunk in chunks(sorted(contributors), _contributor_as_json):
            proven(self.session.run(statement, rows), len(chunk))

    def _resolve(self, batch: Batch, now: str, outcome: Outcome) -> None:
        """Resolve the open rejections of which `batch` decoded the element to a record, and did not reject it again."""
        select, resolve = self._batches("resolve_rejected")
        still_rejected = {rejected.key for rejected in batch.rejected}
        bodies = sorted({decoded.body_key.hex() for decoded in batch.decoded_bodies})
        (rows,) = self.session.run(select, to_json(bodies))
        resolved = {
            row.id
            for row in rows
            for decoded in batch.decoded_bodies
            if (row.body_key, row.endpoint, row.provider)
            == (decoded.body_key, decoded.endpoint, decoded.provider)
            and row.key not in still_rejected
            and decoded.has_record(row.path)
        }
        for ids, chunk in chunks(sorted(resolved), encode):
            outcome.resolved += proven(self.session.run(resolve, ids, now), len(chunk))

    def _batches(self, name: str) -> tuple[str, ...]:
        return batches(name, self.schema)


def _contributor_as_json(contributor: Contributor) -> bytes:
    return encode((contributor.key.hex(), contributor.inbox_id, contributor.notification_id))


def _receipt(rejected: Rejected) -> tuple[Any, ...]:
    return rejected.received_at, rejected.inbox_id, rejected.notification_id, rejected.endpoint


def proven(results: Sequence[Sequence[Any]], expected: int, *, transactions: int = 1) -> int:
    """Return how many rows a statement wrote, from the row of proof that is the last of its `results`.

    `expected` is how many rows it was given, `transactions` how many transactions must be open.

    Raises:
        SQLServerError: there is no proof, rows are missing, or the transaction is no longer open.

    """
    proof = results[-1] if results else ()
    if len(proof) != 1 or proof[0].staged != expected or proof[0].transactions < transactions:
        raise SQLServerError("the server did not take in all rows", category=Category.TRANSIENT)
    written: int = proof[0].written
    return written
