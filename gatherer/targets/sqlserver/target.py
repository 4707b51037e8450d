"""The target in SQL Server."""

import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gatherer.model.message_map import MapRow
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.model.records import TABLES, Rejected
from gatherer.model.retry import RetryPolicy
from gatherer.targets import person_query, sql_datetime
from gatherer.targets.base import (
    Batch,
    ChangePoint,
    Contributor,
    CursorKind,
    Export,
    MapStatus,
    Outcome,
    Position,
    RetentionResult,
    Run,
    TargetStatus,
    Texts,
)
from gatherer.targets.sqlserver import (
    bookkeeping,
    message_map,
    privacy,
    queries,
    rebuild,
    requirements,
    schema,
    upsert,
)
from gatherer.targets.sqlserver.apply import BatchWriter
from gatherer.targets.sqlserver.commit import commit
from gatherer.targets.sqlserver.connection import Access
from gatherer.targets.sqlserver.errors import SQLServerError, translate_errors
from gatherer.targets.sqlserver.retention import apply_retention
from gatherer.targets.sqlserver.session import RETRY_POLICY, Session
from gatherer.targets.sqlserver.transaction import Transactions

T = TypeVar("T")


class SQLServerTarget:
    """The target in a schema of a SQL Server database."""

    def __init__(
        self,
        access: Access,
        *,
        schema_name: str = "gatherer",
        dry_run: bool = False,
        retry_policy: RetryPolicy = RETRY_POLICY,
    ) -> None:
        """Connect, and check that the server and the tables can be used. Nothing is created.

        With `dry_run` each batch is written and counted, then rolled back.

        Raises:
            ConfigurationError: there is no driver, or the connection string is wrong.
            TargetError: the target cannot be used, and a retry does not help.
            TemporaryError: the server cannot be reached now.

        """
        self._schema = schema_name
        # The first batch of each of these creates temporary tables, once per connection.
        setup = [schema.batches(name, schema_name)[0] for name in ("begin", "choose")]
        setup += [upsert.staging(table)[0] for table in (*TABLES, Rejected)]
        self.session = Session(access, retry_policy=retry_policy, setup=setup)
        self.name = self.session.name
        self._transactions = Transactions(
            session=self.session,
            schema=schema_name,
            lock_timeout_milliseconds=access.lock_timeout_seconds * 1000,
            dry_run=dry_run,
        )
        try:
            self.session.with_retry(lambda: requirements.check(self.session))
            self.session.with_retry(lambda: schema.check(self.session, schema_name))
            self.identity: str = self._settings().get("identity") or uuid.uuid4().hex
        except BaseException:
            self.close()
            raise

    def save_settings(self, *, time_zone: str, attribution_hours: int) -> None:
        """Store the settings that the views read, and the offsets of the time zone, unless the same ones are stored."""
        offsets = sql_datetime.offsets(time_zone)
        settings = {
            "time_zone": time_zone,
            "attribution_hours": str(attribution_hours),
            "identity": self.identity,
        }
        stored = self._with_retry(lambda: bookkeeping.offsets(self.session, self._schema))
        if self._settings() != settings or stored != offsets:
            self._in_transaction(
                lambda: bookkeeping.save_settings(self.session, self._schema, settings, offsets)
            )

    def position(self, inbox_id: str) -> Position | None:
        """Return the position of the inbox `inbox_id`; None if nothing of it was gathered yet."""
        return self._with_retry(lambda: bookkeeping.position(self.session, self._schema, inbox_id))

    def apply(self, batch: Batch) -> Outcome:
        """Write `batch` in one transaction. The position never moves back.

        A record that the server refuses becomes a rejection; all others are written.
        """
        return commit(self._transactions, batch)

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, delete the rows to which `notifications` contributed, then write `batches`.

        `batches` can be read only once, so that there is no retry: after an error nothing is written, and the
        operator repeats the command.
        """
        outcome = Outcome()
        chosen = set(notifications)
        writer = BatchWriter(session=self.session, schema=self._schema)
        with translate_errors(self.name, effect="; nothing was changed"):
            try:
                with self._transactions.begin() as now:
                    rebuild.choose(self.session, self._schema, chosen, keep)
                    outcome.removed += rebuild.remove(self.session, self._schema)
                    writer.restore_ids(now)
                    for batch in batches:
                        outcome.add(writer.apply(batch, now))
                    rebuild.remove_bodies(self.session, self._schema)
            except SQLServerError:
                self.session.rollback()
                raise
            except BaseException:
                self.session.disconnect()
                raise
        return outcome

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records to which `notifications` contributed."""
        chosen = set(notifications)

        def work() -> set[bytes]:
            rebuild.choose(self.session, self._schema, chosen)
            return rebuild.keys(self.session, self._schema)

        return self._with_retry(work)

    def other_contributors(self, notifications: Iterable[tuple[str, int]]) -> list[Contributor]:
        """Return who else contributed to the rows to which `notifications` contributed."""
        chosen = set(notifications)

        def work() -> list[Contributor]:
            rebuild.choose(self.session, self._schema, chosen)
            return rebuild.other_contributors(self.session, self._schema)

        return self._with_retry(work)

    def open_rejections(self) -> set[bytes]:
        """Return the keys of the bodies that have open rejections."""
        return self._with_retry(lambda: queries.open_rejections(self.session, self._schema))

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in lists, from their stored bytes."""
        return queries.kept_notifications(self.session, self._schema, resolved=False)

    def record_run(self, run: Run) -> None:
        """Insert the row of a run."""
        self._in_transaction(lambda: bookkeeping.record_run(self.session, self._schema, run))

    def status(self) -> TargetStatus:
        """Return the number of rows by table, and the last run."""
        return self._with_retry(lambda: queries.status(self.session, self._schema))

    def horizon(self) -> ChangePoint:
        """Return the point up to which all changes are committed: every later one gets a higher number."""
        return self._with_retry(lambda: queries.horizon(self.session, self._schema))

    def cursor(self, kind: CursorKind, name: str) -> ChangePoint | None:
        """Return where the cursor is; None if there is no such cursor."""
        return self._with_retry(lambda: queries.cursor(self.session, self._schema, kind, name))

    def move_cursor(self, kind: CursorKind, name: str, point: ChangePoint | None) -> None:
        """Store that the cursor is at `point`. None deletes it."""
        self._with_retry(lambda: queries.move_cursor(self.session, self._schema, kind, name, point))

    def export(self, selection: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses of `selection` in lists of at most 2 000 rows."""
        with translate_errors(self.name):
            yield from queries.export(self.session, self._schema, selection)

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns."""
        return self._with_retry(lambda: privacy.find(self.session, self._schema, person, until))

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield pairs of table and rows: the rows about people that were written at `since` or later."""
        with translate_errors(self.name):
            yield from privacy.about_people(self.session, self._schema, since)

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications that are stored with rejections, open or resolved, in lists."""
        return queries.kept_notifications(self.session, self._schema, resolved=True)

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
        """In one transaction, remove what is about a person, write `batch`, and record the erasure."""
        person_query.check(rows, texts)
        changes = privacy.ErasureChanges(
            rows=rows, texts=texts, bodies=bodies, tombstones=tombstones, erasure=erasure
        )
        return commit(self._transactions, batch, changes)

    def import_map(self, rows: Sequence[MapRow]) -> tuple[int, int]:
        """Insert or change `rows` of the map in one transaction; return how many were inserted, and how many changed."""
        with translate_errors(self.name):
            return message_map.write(self._transactions, rows)

    def map_status(self, since: datetime, until: datetime) -> MapStatus:
        """Return what is missing in the map, and of its messages."""
        return self._with_retry(lambda: message_map.status(self.session, self._schema, since, until))

    def query_rows(self, query: str) -> Iterator[Sequence[object]]:
        """Yield the names of the columns of `query`, then its rows."""
        with translate_errors(f"{self.name}: the query failed"):
            yield from message_map.query_rows(self.session.access, query)

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""
        return self._with_retry(lambda: privacy.tombstones(self.session, self._schema))

    def apply_retention(
        self, *, text_before: datetime | None, rows_before: datetime | None
    ) -> RetentionResult:
        """Blank the text of responses from before `text_before`, and delete rows from before `rows_before`."""
        with translate_errors(self.name):
            return apply_retention(self._transactions, text_before=text_before, rows_before=rows_before)

    def close(self) -> None:
        """Close the connection."""
        self.session.disconnect()

    def _settings(self) -> dict[str, str]:
        return self._with_retry(lambda: bookkeeping.settings(self.session, self._schema))

    def _in_transaction(self, write: Callable[[], None]) -> None:
        """Call `write` in a transaction. A retry calls it again: it must do no harm if it is committed twice."""
        with translate_errors(self.name):
            retry = self.session.retry()
            while True:
                with retry, self._transactions.begin():
                    return write()

    def _with_retry(self, action: Callable[[], T]) -> T:
        with translate_errors(self.name):
            return self.session.with_retry(action)
