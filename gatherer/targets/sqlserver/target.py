"""Applying batches to SQL Server."""

import dataclasses
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from gatherer import sql_times, time_zones, timestamps
from gatherer.errors import TargetError, TemporaryError
from gatherer.notification import Notification
from gatherer.records import TABLES, Record, Rejected
from gatherer.targets.base import Batch, Export, Outcome, Position, Run, TargetStatus
from gatherer.targets.sqlserver import applying, refusing, requirements, schema
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.faults import Class, Fault
from gatherer.targets.sqlserver.schema import batches
from gatherer.targets.sqlserver.session import PATIENCE, Faulted, Patience, Session

_RUN_COLUMNS = tuple(field.name for field in dataclasses.fields(Run))
_RUN_SELECTION = ", ".join(f"[{name}]" for name in _RUN_COLUMNS)
_WITH_KEYS: Final = (*(record.table for record in TABLES), Rejected.table)
_REMOVED_AT_ONCE: Final = 2000  # rows of one DELETE: a larger one may lock the table
_ABANDONED: Final = "the transaction was rolled back without a word"

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
        settings = applying.to_json(list(wanted.items()))
        offsets = applying.to_json(
            [
                (sql_times.text(starts_at), sql_times.text(ends_at), minutes)
                for starts_at, ends_at, minutes in time_zones.intervals(time_zone)
            ]
        )
        (settle,) = batches("settle", self._schema)
        self._persistently(lambda: self._transact(lambda _: self.session.run(settle, settings, offsets)))

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
            self._choose(chosen)
            for table in _WITH_KEYS:
                outcome.removed += self._remove(
                    f"FROM $(schema).{table} AS t WHERE EXISTS (SELECT 1 FROM #chosen AS c "
                    "WHERE c.inbox_id = t.inbox_id AND c.notification_id = t.notification_id)"
                )
            for batch in batches:
                outcome.add(self._writer.apply(batch, now))
            self._remove(
                "FROM $(schema).rejected_notification AS t "
                "WHERE NOT EXISTS (SELECT 1 FROM $(schema).rejected AS r WHERE r.body_key = t.body_key)"
            )

        try:
            self._transact(work)
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
        query = " UNION ALL ".join(
            f"SELECT t.[key] FROM $(schema).{table} AS t JOIN #chosen AS c "
            "ON c.inbox_id = t.inbox_id AND c.notification_id = t.notification_id"
            for table in _WITH_KEYS
        )

        def work() -> set[bytes]:
            self._choose(chosen)
            (found,) = self._run(query)
            return {row[0] for row in found}

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
        self._persistently(lambda: self._transact(lambda _: self.session.run(insert, *values.values())))

    def status(self) -> TargetStatus:
        """Return what the target holds."""
        counts = {table: self._count(f"$(schema).{table}") for table in _WITH_KEYS}
        rejected = self._count("$(schema).rejected WHERE resolved_at IS NULL")
        last = self._rows(f"SELECT TOP (1) {_RUN_SELECTION} FROM $(schema).gather_run ORDER BY id DESC")
        run = None
        if last:
            values = dict(zip(_RUN_COLUMNS, last[0], strict=True))
            for name in ("started_at", "finished_at"):
                values[name] = values[name].replace(tzinfo=UTC)
            run = Run(**values)
        return TargetStatus(rows=counts, rejected_open=rejected, last_run=run)

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more, as `changed_at` has it."""
        (horizon,) = batches("horizon", self._schema)

        def ask() -> datetime:
            ((found,),) = self.session.run(horizon, self._milliseconds)
            if found.granted < 0:
                raise Faulted(_busy())
            moment: datetime = found.moment.replace(tzinfo=UTC)
            return moment

        return self._persistently(ask)

    def export(self, what: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses that `what` asks for, a few thousand at a time."""
        (query,) = batches(f"export_{what.view}", self._schema)
        times = (sql_times.text(moment) for moment in what.times)
        try:
            for rows in self.session.stream(
                query, *times, what.endpoint or "", applying.to_json(list(what.kinds))
            ):
                yield [
                    {
                        column[0]: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
                        for column, value in zip(row.cursor_description, row, strict=True)
                    }
                    for row in rows
                ]
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

        self._transact(work)
        return outcome

    def _was_carried_out(self, commit: _Commit) -> bool:
        """Tell whether `commit` is in the database, although its answer never came."""
        found = self._run(
            "SELECT changed_at FROM $(schema).inbox_position WHERE inbox_id = ? AND notification_id = ? AND digest = ?",
            *commit.position,
        )[0]
        return any(row.changed_at.replace(tzinfo=UTC) == commit.now for row in found)

    def _transact(self, work: Callable[[datetime], object]) -> None:
        """Do `work` in a transaction of its own, commit it, and make sure that its rows are there.

        `work` is given the time of writing.
        """
        _, begin = batches("begin", self._schema)
        ((started,),) = self.session.run(begin, self._milliseconds)
        if started.granted < 0:
            raise Faulted(_busy())
        work(started.moment.replace(tzinfo=UTC))
        if self._dry_run:
            self.session.rollback()
            return
        # TRY: a COMMIT without a transaction is an error of its own, which says too little.
        ((ended,),) = self.session.run(
            "DECLARE @transactions int = @@TRANCOUNT; IF @transactions > 0 COMMIT TRANSACTION; "
            "SELECT @transactions AS transactions"
        )
        (verify,) = batches("verify", self._schema)
        ((counted,),) = self.session.run(verify)
        if ended.transactions != 1 or counted.applied != counted.found:
            raise Faulted(Fault(kind=Class.TRANSIENT, state="", number=0, text=_ABANDONED))

    def _try(self, records: Sequence[Record]) -> Fault | None:
        """Write `records` and roll back; return what the server has against one of them, None if nothing."""
        _, begin = batches("begin", self._schema)

        def work() -> None:
            self.session.run(begin, self._milliseconds)
            self._writer.apply(Batch(records=list(records)), timestamps.now())
            self.session.rollback()

        try:
            self.session.persistently(work)
        except Faulted as failure:
            return failure.fault
        return None

    def _choose(self, notifications: set[tuple[str, int]]) -> None:
        _, choose = batches("choose", self._schema)
        self.session.run("DELETE FROM #chosen")
        for rows, _ in applying.chunks(sorted(notifications), applying.encode):
            self.session.run(choose, rows)

    def _remove(self, what: str) -> int:
        """Delete `what`, a little at a time, and return how many rows that were."""
        removed = 0
        while True:
            statement = f"DELETE TOP ({_REMOVED_AT_ONCE}) t {what}; SELECT @@ROWCOUNT AS removed"
            ((count,),) = self._run(statement)
            removed += int(count.removed)
            if count.removed < _REMOVED_AT_ONCE:
                return removed

    def _count(self, what: str) -> int:
        counted: int = self._rows(f"SELECT COUNT_BIG(*) AS counted FROM {what}")[0].counted
        return counted

    def _settings(self) -> dict[str, str]:
        there = self._rows("SELECT name, value FROM $(schema).setting")
        return {row.name: row.value for row in there}

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        return self._persistently(lambda: self._run(query, *parameters)[0])

    def _run(self, statement: str, *parameters: object) -> list[list[Any]]:
        return self.session.run(schema.placed(statement, self._schema), *parameters)

    def _persistently(self, action: Callable[[], T]) -> T:
        return self.session.persistently(action)


def _busy() -> Fault:
    return Fault(kind=Class.TRANSIENT, state="HYT00", number=1222, text="another gatherer is writing")
