"""Applying batches to SQL Server."""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.model.records import TABLES
from gatherer.targets import person_query
from gatherer.targets.base import Batch, Export, Outcome, Position, Retired, Run, TargetStatus, Texts
from gatherer.targets.sqlserver import apply, bookkeeping, privacy, queries, rebuild, requirements, schema
from gatherer.targets.sqlserver.commit import Committer, Done, trace_of
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.errors import Class
from gatherer.targets.sqlserver.retention import Retirement
from gatherer.targets.sqlserver.session import PATIENCE, Patience, Session, SQLServerError
from gatherer.targets.sqlserver.transaction import Transactions

T = TypeVar("T")


class SQLServerTarget:
    """Records in SQL Server."""

    def __init__(
        self,
        access: Access,
        *,
        schema_name: str = "gatherer",
        dry_run: bool = False,
        patience: Patience = PATIENCE,
    ) -> None:
        """Connect, and make sure that server and tables can be used. Nothing is created.

        With `dry_run` everything is tried and counted, then rolled back, batch by batch.

        Raises:
            ConfigurationError: there is no driver, or the connection string is wrong.
            TargetError: it cannot be used, and trying again will not help.
            TemporaryError: it cannot be reached just now.

        """
        self._schema = schema_name
        staging = (
            "begin",
            "choose",
            "upsert_rejected",
            *(f"upsert_{table.table}" for table in TABLES),
        )
        self.session = Session(
            access, patience=patience, prepare=[schema.batches(name, schema_name)[0] for name in staging]
        )
        self.name = self.session.name
        self._transactions = Transactions(
            session=self.session,
            schema=schema_name,
            milliseconds=access.lock_timeout_seconds * 1000,
            dry_run=dry_run,
        )
        try:
            self.session.persistently(lambda: requirements.check(self.session))
            self.session.persistently(lambda: schema.check(self.session, schema_name))
            self.identity: str = self._settings().get("identity") or uuid.uuid4().hex
            self._writer = apply.Writer(session=self.session, schema=schema_name)
        except BaseException:
            self.close()
            raise
        self._committer = Committer(
            session=self.session, schema=schema_name, transactions=self._transactions, writer=self._writer
        )

    def settle(self, *, time_zone: str, attribution_hours: int) -> None:
        """Write down the settings that views need, if they are not those that are there."""
        wanted = {
            "time_zone": time_zone,
            "attribution_hours": str(attribution_hours),
            "identity": self.identity,
        }
        if self._settings() != wanted:
            self._in_transaction(lambda: bookkeeping.settle(self.session, self._schema, wanted))

    def position(self, inbox_id: str) -> Position | None:
        """Return up to where the inbox `inbox_id` has been gathered; None if it never was."""
        return self._persistently(lambda: bookkeeping.position(self.session, self._schema, inbox_id))

    def apply(self, batch: Batch) -> Outcome:
        """Apply `batch` in one transaction, in which the position only moves forward.

        A record that the server will not take becomes a rejection, and the rest goes on.
        """

        def work(reduced: Batch, now: datetime) -> Done:
            outcome = self._writer.apply(reduced, now)
            return Done(outcome, batch.position and trace_of(batch.position, now))

        return self._committer.commit(batch, work)

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, remove the rows first received in `notifications`, then apply `batches`.

        `batches` can be read only once: after a fault nothing is written, and the command has to be repeated.
        """
        outcome = Outcome()
        chosen = set(notifications)

        def work(now: datetime) -> None:
            rebuild.choose(self.session, self._schema, chosen, keep)
            outcome.removed += rebuild.remove(self.session, self._schema)
            for batch in batches:
                outcome.add(self._writer.apply(batch, now))
            rebuild.remove_bodies(self.session, self._schema)

        try:
            self._transactions.run(work)
        except SQLServerError as failure:
            self.session.rollback()
            if failure.fault.kind is Class.TRANSIENT:
                raise TemporaryError(f"{self.name}: {failure.fault}; nothing was changed") from None
            raise TargetError(f"{self.name}: {failure.fault}; nothing was changed") from None
        except BaseException:
            self.session.disconnect()
            raise
        return outcome

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records and rejections first received in `notifications`."""
        chosen = set(notifications)

        def work() -> set[bytes]:
            rebuild.choose(self.session, self._schema, chosen)
            return rebuild.keys(self.session, self._schema)

        return self._persistently(work)

    def open_rejections(self) -> set[bytes]:
        """Return the body keys of all rejections that nothing has settled yet."""
        return self._persistently(lambda: queries.open_rejections(self.session, self._schema))

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in batches, from the bytes kept with them."""
        return queries.kept_notifications(self.session, self._schema, settled=False)

    def record_run(self, run: Run) -> None:
        """Write down what a run did."""
        self._in_transaction(lambda: bookkeeping.record(self.session, self._schema, run))

    def status(self) -> TargetStatus:
        """Return what the target holds."""
        return self._persistently(lambda: queries.status(self.session, self._schema))

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more, as `changed_at` has it."""
        return self._persistently(self._transactions.horizon)

    def export(self, what: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses that `what` asks for, a few thousand at a time."""
        with self._explained():
            yield from queries.export(self.session, self._schema, what)

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns."""
        return self._persistently(lambda: privacy.find(self.session, self._schema, person, until))

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the rows that may be about people, written at `since` or later, in batches, each with its table."""
        with self._explained():
            yield from privacy.about_people(self.session, self._schema, since)

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications kept with rejections, settled or not, in batches."""
        return queries.kept_notifications(self.session, self._schema, settled=True)

    def erase(
        self,
        *,
        rows: Mapping[str, Collection[int]],
        texts: Texts,
        bodies: Collection[bytes],
        batch: Batch,
        tombstones: Collection[Tombstone],
        erasure: Erasure | None,
    ) -> Outcome:
        """In one transaction, remove what is about a person, apply `batch`, and write down that it was done."""
        person_query.check(rows, texts)

        def work(reduced: Batch, now: datetime) -> Done:
            outcome = Outcome(removed=privacy.remove(self.session, self._schema, rows, bodies))
            privacy.rewrite(self.session, self._schema, texts, now)
            outcome.add(self._writer.apply(reduced, now))
            privacy.bury(self.session, self._schema, tombstones, erasure)
            return Done(outcome, privacy.trace(erasure) if erasure is not None else None)

        return self._committer.commit(batch, work)

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""
        return self._persistently(lambda: privacy.tombstones(self.session, self._schema))

    def retire(self, *, text_before: datetime | None, rows_before: datetime | None) -> Retired:
        """Blank the text of answers that occurred before one time, and delete rows that did before another."""
        retirement = Retirement(session=self.session, schema=self._schema, transactions=self._transactions)
        with self._explained():
            return retirement.retire(text_before=text_before, rows_before=rows_before)

    def close(self) -> None:
        """Let go of the connection."""
        self.session.disconnect()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn a fault that trying again does not mend, or has not, into an error of ours."""
        try:
            yield
        except SQLServerError as failure:
            kind = TemporaryError if failure.fault.kind is Class.TRANSIENT else TargetError
            raise kind(f"{self.name}: {failure.fault}") from None

    def _settings(self) -> dict[str, str]:
        return self._persistently(lambda: bookkeeping.settings(self.session, self._schema))

    def _in_transaction(self, work: Callable[[], None]) -> None:
        self._persistently(lambda: self._transactions.run(lambda _: work()))

    def _persistently(self, action: Callable[[], T]) -> T:
        with self._explained():  # a row outside of any batch that the server will not take
            return self.session.persistently(action)
