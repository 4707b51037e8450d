"""Applying batches to SQL Server."""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from gatherer import sql_times, time_zones
from gatherer.errors import TargetError, TemporaryError
from gatherer.notification import Notification
from gatherer.records import TABLES, Record
from gatherer.targets.base import Batch, Export, Outcome, Position, Run, TargetStatus
from gatherer.targets.sqlserver import applying, chosen_rows, reading, refusing, requirements, schema
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.faults import Class, Fault
from gatherer.targets.sqlserver.rows import to_json
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import PATIENCE, Faulted, Patience, Session
from gatherer.targets.sqlserver.transactions import Transactions, busy

T = TypeVar("T")


class _Commit(NamedTuple):
    """A commit whose answer is outstanding: what must be there if it was carried out."""

    position: Position
    now: datetime
    outcome: Outcome


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
        self._dry_run = dry_run
        self._milliseconds = access.lock_timeout_seconds * 1000
        staging = (
            "begin",
            "carry",
            "choose",
            "upsert_rejected",
            *(f"upsert_{table.table}" for table in TABLES),
        )
        self.session = Session(
            access, patience=patience, prepare=[batches(name, schema_name)[0] for name in staging]
        )
        self.name = self.session.name
        self._transactions = Transactions(
            session=self.session, schema=schema_name, milliseconds=self._milliseconds, dry_run=dry_run
        )
        self._outstanding: _Commit | None = None
        try:
            self.session.persistently(lambda: requirements.check(self.session))
            self.session.persistently(lambda: schema.check(self.session, schema_name))
            self.identity: str = self._settings().get("identity") or uuid.uuid4().hex
            self._writer = applying.Writer(
                session=self.session,
                schema=schema_name,
                carries_any_text=self.session.persistently(
                    lambda: applying.carries_any_text(self.session, schema_name)
                ),
            )
        except BaseException:
            self.close()
            raise

    def settle(self, *, time_zone: str, attribution_hours: int) -> None:
        """Write down the settings that views need, if they are not those that are there."""
        wanted = {
            "time_zone": time_zone,
            "attribution_hours": str(attribution_hours),
            "identity": self.identity,
        }
        if self._settings() == wanted:
            return
        settings = to_json(list(wanted.items()))
        offsets = to_json(
            [
                (sql_times.text(starts_at), sql_times.text(ends_at), minutes)
                for starts_at, ends_at, minutes in time_zones.intervals(time_zone)
            ]
        )
        (settle,) = batches("settle", self._schema)
        self._persistently(
            lambda: self._transactions.run(lambda _: self.session.run(settle, settings, offsets))
        )

    def position(self, inbox_id: str) -> Position | None:
        """Return up to where the inbox `inbox_id` has been gathered; None if it never was."""
        found = self._rows(
            "SELECT inbox_id, notification_id, digest FROM $(schema).inbox_position WHERE inbox_id = ?",
            inbox_id,
        )
        return Position(*found[0]) if found else None

    def apply(self, batch: Batch) -> Outcome:
        """Apply `batch` in one transaction, in which the position only moves forward.

        A record that the server will not take becomes a rejection, and the rest goes on.
        """
        refused: dict[bytes, Fault] = {}
        while True:
            reduced = refusing.without(batch, refused) if refused else batch
            self._outstanding = None
            try:
                return self._persistently(lambda reduced=reduced: self._apply(reduced))  # type: ignore[misc]
            except Faulted as failure:
                if not failure.records:
                    raise TargetError(f"{self.name}: {failure.fault}") from None
                found = refusing.find(failure.records, self._try, failure.fault)
                before = len(refused)
                for record, fault in found:
                    refused[record.key] = fault
                    refusing.without(batch, refused)  # ends the search when they are too many
                if (
                    len(refused) == before
                ):  # none of them alone: whatever it was is over, or is none of theirs
                    raise TargetError(f"{self.name}: {failure.fault}") from None

    def rebuild(self, notifications: Iterable[tuple[str, int]], batches: Iterable[Batch]) -> Outcome:
        """In one transaction, remove all rows first received in `notifications`, then apply `batches`.

        `batches` can be read only once: after a fault nothing is written, and the command has to be repeated.
        """
        outcome = Outcome()
        chosen = set(notifications)

        def work(now: datetime) -> None:
            chosen_rows.choose(self.session, self._schema, chosen)
            outcome.removed += chosen_rows.remove(self.session, self._schema)
            for batch in batches:
                outcome.add(self._writer.apply(batch, now))
            chosen_rows.remove_bodies(self.session, self._schema)

        try:
            self._transactions.run(work)
        except Faulted as failure:
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
            chosen_rows.choose(self.session, self._schema, chosen)
            return chosen_rows.keys(self.session, self._schema)

        return self._persistently(work)

    def open_rejections(self) -> set[bytes]:
        """Return the body keys of all rejections that nothing has settled yet."""
        found = self._rows("SELECT DISTINCT body_key FROM $(schema).rejected WHERE resolved_at IS NULL")
        return {row.body_key for row in found}

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in batches, from the bytes kept with them."""
        (select,) = batches("select_rejected_notifications", self._schema)
        after = b"\x00" * 16
        while found := self._rows(select, after):
            yield [
                Notification(number, inbox_id, received_at.replace(tzinfo=UTC), *rest)
                for _, number, inbox_id, received_at, *rest in found
            ]
            after = found[-1].body_key

    def record_run(self, run: Run) -> None:
        """Write down what a pass did."""
        values = dataclasses.asdict(run)
        for name in ("started_at", "finished_at"):
            values[name] = sql_times.text(values[name])
        values["problem"] = values["problem"] or ""
        (insert,) = batches("insert_gather_run", self._schema)
        self._persistently(
            lambda: self._transactions.run(lambda _: self.session.run(insert, *values.values()))
        )

    def status(self) -> TargetStatus:
        """Return what the target holds."""
        return self._persistently(lambda: reading.status(self.session, self._schema))

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more, as `changed_at` has it."""
        (horizon,) = batches("horizon", self._schema)

        def ask() -> datetime:
            ((found,),) = self.session.run(horizon, self._milliseconds)
            if found.granted < 0:
                raise Faulted(busy())
            moment: datetime = found.moment.replace(tzinfo=UTC)
            return moment

        return self._persistently(ask)

    def export(self, what: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses that `what` asks for, a few thousand at a time."""
        try:
            yield from reading.export(self.session, self._schema, what)
        except Faulted as failure:
            kind = TemporaryError if failure.fault.kind is Class.TRANSIENT else TargetError
            raise kind(f"{self.name}: {failure.fault}") from None

    def close(self) -> None:
        """Let go of the connection."""
        self.session.disconnect()

    def _apply(self, batch: Batch) -> Outcome:
        """Apply `batch` once, unless an earlier attempt turns out to have done so."""
        if self._outstanding is not None and self._was_carried_out(self._outstanding):
            return self._outstanding.outcome
        outcome = Outcome()

        def work(now: datetime) -> None:
            outcome.add(self._writer.apply(batch, now))
            if batch.position is not None and not self._dry_run:
                self._outstanding = _Commit(batch.position, now, outcome)

        self._transactions.run(work)
        return outcome

    def _was_carried_out(self, commit: _Commit) -> bool:
        """Tell whether `commit` is in the database, although its answer never came."""
        found = self._run(
            "SELECT changed_at FROM $(schema).inbox_position WHERE inbox_id = ? AND notification_id = ? AND digest = ?",
            *commit.position,
        )[0]
        return any(row.changed_at.replace(tzinfo=UTC) == commit.now for row in found)

    def _try(self, records: Sequence[Record]) -> Fault | None:
        """Write `records` and roll back; return what the server has against one of them, None if nothing."""

        def work() -> None:
            self._writer.apply(Batch(records=list(records)), self._transactions.begin())
            self.session.rollback()

        try:
            self.session.persistently(work)
        except Faulted as failure:
            return failure.fault
        return None

    def _settings(self) -> dict[str, str]:
        there = self._rows("SELECT name, value FROM $(schema).setting")
        return {row.name: row.value for row in there}

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        return self._persistently(lambda: self._run(query, *parameters)[0])

    def _run(self, statement: str, *parameters: object) -> list[list[Any]]:
        return self.session.run(schema.placed(statement, self._schema), *parameters)

    def _persistently(self, action: Callable[[], T]) -> T:
        return self.session.persistently(action)
