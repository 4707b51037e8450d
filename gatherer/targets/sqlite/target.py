"""The embedded target: a SQLite file."""

import contextlib
import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gatherer.files.migrations import IncompatibleFileError
from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.message_map import MapRow
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
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
from gatherer.targets.sqlite import message_map, privacy, queries, rebuild, retention
from gatherer.targets.sqlite.apply import apply
from gatherer.targets.sqlite.queries import RUN_COLUMNS
from gatherer.targets.sqlite.schema import connect, show_tests, sql


class SQLiteTarget:
    """The target in a SQLite file."""

    def __init__(self, path: Path, *, dry_run: bool = False) -> None:
        """Open the file at `path`; create it if it does not exist.

        With `dry_run` each batch is written and counted, then rolled back; no file is created.

        Raises:
            TargetError: the file cannot be used, and a retry does not help.
            TemporaryError: another program has locked the file.

        """
        self.name = f"SQLite {path}"
        self.path = path
        self._dry_run = dry_run
        with self._translate_errors():
            self._connection = connect(path, dry_run=dry_run)
            stored = dict(self._connection.execute("SELECT name, value FROM setting"))
        self.identity: str = stored.get("identity") or uuid.uuid4().hex

    def save_settings(self, *, time_zone: str, attribution_hours: int) -> None:
        """Store the settings that the views read, and the offsets of the time zone, unless the same ones are stored."""
        offsets = sql_datetime.offsets(time_zone)
        settings = {
            "time_zone": time_zone,
            "attribution_hours": str(attribution_hours),
            "identity": self.identity,
        }
        with self._translate_errors():
            stored = dict(self._connection.execute("SELECT name, value FROM setting"))
            query = "SELECT starts_at, ends_at, offset_minutes FROM time_zone_offset ORDER BY starts_at"
            if stored == settings and self._connection.execute(query).fetchall() == offsets:
                return
        if self._dry_run:
            return
        with self._transaction():
            self._connection.executemany("REPLACE INTO setting (name, value) VALUES (?, ?)", settings.items())
            self._connection.execute("DELETE FROM time_zone_offset")
            self._connection.executemany(
                "INSERT INTO time_zone_offset (starts_at, ends_at, offset_minutes) VALUES (?, ?, ?)",
                offsets,
            )

    def show_tests(self, *, shown: bool) -> None:
        """Let the views show test rows, or leave them out."""
        with self._translate_errors():
            show_tests(self._connection, shown=shown)

    def position(self, inbox_id: str) -> Position | None:
        """Return the position of the inbox `inbox_id`; None if nothing of it was gathered yet."""
        with self._translate_errors():
            row = self._connection.execute(
                "SELECT inbox_id, notification_id, digest FROM inbox_position WHERE inbox_id = ?", (inbox_id,)
            ).fetchone()
        return Position(*row) if row else None

    def apply(self, batch: Batch) -> Outcome:
        """Write `batch` in one transaction. The position never moves back."""
        with self._transaction():
            return apply(self._connection, batch)

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, delete the rows to which `notifications` contributed, then write `batches`."""
        outcome = Outcome()
        with self._transaction():
            rebuild.choose(self._connection, notifications, keep)
            outcome.removed += rebuild.remove(self._connection)
            for batch in batches:
                outcome.add(apply(self._connection, batch))
            rebuild.remove_bodies(self._connection)
        return outcome

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records to which `notifications` contributed."""
        with self._translate_errors():
            rebuild.choose(self._connection, notifications)
            return rebuild.keys(self._connection)

    def other_contributors(self, notifications: Iterable[tuple[str, int]]) -> list[Contributor]:
        """Return who else contributed to the rows to which `notifications` contributed."""
        with self._translate_errors():
            rebuild.choose(self._connection, notifications)
            return rebuild.other_contributors(self._connection)

    def open_rejections(self) -> set[bytes]:
        """Return the keys of the bodies that have open rejections."""
        with self._translate_errors():
            rows = self._connection.execute(
                "SELECT DISTINCT body_key FROM rejected WHERE resolved_at IS NULL"
            )
            return {body_key for (body_key,) in rows}

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in lists, from their stored bytes."""
        return self._kept_notifications(resolved=False)

    def record_run(self, run: Run) -> None:
        """Insert the row of a run."""
        values = [getattr(run, name) for name in RUN_COLUMNS]
        values[:2] = [sql_datetime.text(run.started_at), sql_datetime.text(run.finished_at)]
        places = ", ".join("?" * len(values))
        with self._transaction():
            self._connection.execute(
                f"INSERT INTO gather_run ({', '.join(RUN_COLUMNS)}) VALUES ({places})", values
            )

    def status(self) -> TargetStatus:
        """Return the number of rows by table, and the last run."""
        with self._translate_errors():
            return queries.status(self._connection)

    def horizon(self) -> ChangePoint:
        """Return the point up to which all changes are committed: every later one gets a higher number."""
        with self._translate_errors():
            (number,) = self._connection.execute("SELECT number FROM commit_sequence").fetchone()
        return ChangePoint(number, number)

    def cursor(self, kind: CursorKind, name: str) -> ChangePoint | None:
        """Return where the cursor is; None if there is no such cursor."""
        with self._translate_errors():
            return queries.cursor(self._connection, kind, name)

    def move_cursor(self, kind: CursorKind, name: str, point: ChangePoint | None) -> None:
        """Store that the cursor is at `point`. None deletes it."""
        with self._transaction():
            queries.move_cursor(self._connection, kind, name, point)

    def export(self, selection: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses of `selection` in lists of at most 2 000 rows."""
        with self._translate_errors():
            yield from queries.export(self._connection, selection)

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns."""
        with self._translate_errors():
            return privacy.find(self._connection, person, until)

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield pairs of table and rows: the rows about people that were written at `since` or later."""
        with self._translate_errors():
            yield from privacy.about_people(self._connection, since)

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications that are stored with rejections, open or resolved, in lists."""
        return self._kept_notifications(resolved=True)

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
        with self._secure_delete(), self._transaction():
            outcome = Outcome(removed=privacy.delete_rows(self._connection, rows, bodies))
            privacy.update_texts(self._connection, texts)
            outcome.add(apply(self._connection, batch))
            privacy.save_tombstones(self._connection, tombstones)
            if erasure is not None:
                privacy.insert_erasure(self._connection, erasure)
        if (outcome.removed or texts) and not self._dry_run:
            privacy.vacuum(self._connection)
        return outcome

    def import_map(self, rows: Sequence[MapRow]) -> tuple[int, int]:
        """Insert or change `rows` of the map in one transaction; return how many were inserted, and how many changed."""
        with self._transaction():
            return message_map.write(self._connection, rows)

    def map_status(self, since: datetime, until: datetime) -> MapStatus:
        """Return what is missing in the map, and of its messages."""
        with self._translate_errors():
            return message_map.status(self._connection, since, until)

    def query_rows(self, query: str) -> Iterator[Sequence[object]]:
        """Yield the names of the columns of `query`, then its rows."""
        return message_map.query_rows(self.path, query)

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""
        with self._translate_errors():
            return privacy.tombstones(self._connection)

    def apply_retention(
        self, *, text_before: datetime | None, rows_before: datetime | None
    ) -> RetentionResult:
        """Blank the text of responses from before `text_before`, and delete rows from before `rows_before`."""
        with self._secure_delete():
            return retention.apply_retention(
                self._connection,
                self._transaction,
                text_before=text_before,
                rows_before=rows_before,
                dry_run=self._dry_run,
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _kept_notifications(self, *, resolved: bool) -> Iterator[list[Notification]]:
        after = b""
        while True:
            with self._translate_errors():
                rows = self._connection.execute(
                    sql("select_kept_notifications"), {"after": after, "resolved": resolved}
                ).fetchall()
            if not rows:
                return
            yield [
                Notification(number, inbox_id, sql_datetime.parse(received_at), *rest)
                for _, number, inbox_id, received_at, *rest in rows
            ]
            after = rows[-1][0]

    @contextlib.contextmanager
    def _secure_delete(self) -> Iterator[None]:
        """Overwrite deleted content with zeros during the block. Doing so always would slow each run down."""
        with self._translate_errors():
            self._connection.execute("PRAGMA secure_delete = ON")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA secure_delete = OFF")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translate_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                # All rows that the transaction writes get this number.
                self._connection.execute("UPDATE commit_sequence SET number = number + 1")
                yield
                self._connection.execute("ROLLBACK" if self._dry_run else "COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Raise errors of SQLite and of the file system as the errors that the command line reports."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise TemporaryError(f"the target {self.path} is locked by another program") from error
            if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise TemporaryError(f"the target {self.path} cannot be written now: {error}") from error
            raise TargetError(f"the target {self.path} cannot be used: {error}") from error
        except IncompatibleFileError as error:
            raise TargetError(f"the target {self.path} {error}") from None
        except OSError as error:
            raise TargetError(f"the target {self.path} cannot be used: {error}") from error
