"""Applying batches to the embedded target."""

import contextlib
import sqlite3
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gatherer.files.migrations import IncompatibleFileError
from gatherer.model import time_zones, timestamps
from gatherer.model.errors import TargetError, TemporaryError
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.targets import person_query, sql_datetime
from gatherer.targets.base import Batch, Export, Outcome, Position, RetentionResult, Run, TargetStatus, Texts
from gatherer.targets.sqlite import privacy, queries, rebuild, retention
from gatherer.targets.sqlite.apply import apply
from gatherer.targets.sqlite.queries import RUN_COLUMNS
from gatherer.targets.sqlite.schema import connect, sql


class SQLiteTarget:
    """Records in an SQLite file."""

    def __init__(self, path: Path, *, dry_run: bool = False) -> None:
        """Open the target at `path`, creating it if there is none.

        With `dry_run` everything is tried and counted, then rolled back, batch by batch; nothing is created.

        Raises:
            TargetError: it cannot be used, and trying again will not help.
            TemporaryError: it is locked just now.

        """
        self.name = f"SQLite {path}"
        self.path = path
        self._dry_run = dry_run
        with self._explained():
            self._connection = connect(path, dry_run=dry_run)
            settings = dict(self._connection.execute("SELECT name, value FROM setting"))
        self.identity: str = settings.get("identity") or uuid.uuid4().hex

    def save_settings(self, *, time_zone: str, attribution_hours: int) -> None:
        """Write down the settings that views need, if they are not those that are there."""
        wanted = {
            "time_zone": time_zone,
            "attribution_hours": str(attribution_hours),
            "identity": self.identity,
        }
        with self._explained():
            if dict(self._connection.execute("SELECT name, value FROM setting")) == wanted:
                return
        if self._dry_run:
            return
        with self._transaction():
            self._connection.executemany("REPLACE INTO setting (name, value) VALUES (?, ?)", wanted.items())
            self._connection.execute("DELETE FROM time_zone_offset")
            self._connection.executemany(
                "INSERT INTO time_zone_offset (starts_at, ends_at, offset_minutes) VALUES (?, ?, ?)",
                (
                    (sql_datetime.text(starts_at), sql_datetime.text(ends_at), minutes)
                    for starts_at, ends_at, minutes in time_zones.intervals(time_zone)
                ),
            )

    def position(self, inbox_id: str) -> Position | None:
        """Return up to where the inbox `inbox_id` has been gathered; None if it never was."""
        with self._explained():
            row = self._connection.execute(
                "SELECT inbox_id, notification_id, digest FROM inbox_position WHERE inbox_id = ?", (inbox_id,)
            ).fetchone()
        return Position(*row) if row else None

    def apply(self, batch: Batch) -> Outcome:
        """Apply `batch` in one transaction, in which the position only moves forward."""
        with self._transaction():
            return apply(self._connection, batch)

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, remove the rows first received in `notifications`, then apply `batches`."""
        outcome = Outcome()
        with self._transaction():
            rebuild.choose(self._connection, notifications, keep)
            outcome.removed += rebuild.remove(self._connection)
            for batch in batches:
                outcome.add(apply(self._connection, batch))
            rebuild.remove_bodies(self._connection)
        return outcome

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records and rejections first received in `notifications`."""
        with self._explained():
            rebuild.choose(self._connection, notifications)
            return rebuild.keys(self._connection)

    def open_rejections(self) -> set[bytes]:
        """Return the body keys of all rejections that nothing has settled yet."""
        with self._explained():
            rows = self._connection.execute(
                "SELECT DISTINCT body_key FROM rejected WHERE resolved_at IS NULL"
            )
            return {body_key for (body_key,) in rows}

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in batches, from the bytes kept with them."""
        return self._kept_notifications(settled=False)

    def record_run(self, run: Run) -> None:
        """Write down what a run did."""
        values = [getattr(run, name) for name in RUN_COLUMNS]
        values[:2] = [sql_datetime.text(run.started_at), sql_datetime.text(run.finished_at)]
        places = ", ".join("?" * len(values))
        with self._transaction():
            self._connection.execute(
                f"INSERT INTO gather_run ({', '.join(RUN_COLUMNS)}) VALUES ({places})", values
            )

    def status(self) -> TargetStatus:
        """Return what the target holds."""
        with self._explained():
            return queries.status(self._connection)

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more, as `changed_at` has it."""
        with self._transaction():  # waits for whoever is writing
            return timestamps.now()

    def export(self, what: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses that `what` asks for, a few thousand at a time."""
        with self._explained():
            yield from queries.export(self._connection, what)

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns."""
        with self._explained():
            return privacy.find(self._connection, person, until)

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the rows that may be about people, written at `since` or later, in batches, each with its table."""
        with self._explained():
            yield from privacy.about_people(self._connection, since)

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications kept with rejections, settled or not, in batches."""
        return self._kept_notifications(settled=True)

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
        with self._wiping(), self._transaction():
            outcome = Outcome(removed=privacy.remove(self._connection, rows, bodies))
            privacy.rewrite(self._connection, texts)
            outcome.add(apply(self._connection, batch))
            privacy.bury(self._connection, tombstones, erasure)
        if (outcome.removed or texts) and not self._dry_run:
            privacy.write_anew(self._connection)
        return outcome

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""
        with self._explained():
            return privacy.tombstones(self._connection)

    def apply_retention(
        self, *, text_before: datetime | None, rows_before: datetime | None
    ) -> RetentionResult:
        """Blank the text of answers that occurred before one time, and delete rows that did before another."""
        with self._wiping():
            return retention.apply_retention(
                self._connection,
                self._transaction,
                text_before=text_before,
                rows_before=rows_before,
                dry_run=self._dry_run,
            )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _kept_notifications(self, *, settled: bool) -> Iterator[list[Notification]]:
        after = b""
        while True:
            with self._explained():
                rows = self._connection.execute(
                    sql("select_kept_notifications"), {"after": after, "settled": settled}
                ).fetchall()
            if not rows:
                return
            yield [
                Notification(number, inbox_id, sql_datetime.parse(received_at), *rest)
                for _, number, inbox_id, received_at, *rest in rows
            ]
            after = rows[-1][0]

    @contextlib.contextmanager
    def _wiping(self) -> Iterator[None]:
        """Have what is removed meanwhile overwritten with zeros. Always doing so would slow runs down."""
        with self._explained():
            self._connection.execute("PRAGMA secure_delete = ON")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA secure_delete = OFF")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("ROLLBACK" if self._dry_run else "COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise TemporaryError(f"the target {self.path} is locked by another program") from error
            if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise TemporaryError(f"the target {self.path} cannot be written now: {error}") from error
            raise TargetError(f"the target {self.path} cannot be used: {error}") from error
        except IncompatibleFileError as problem:
            raise TargetError(f"the target {self.path} {problem}") from None
        except OSError as error:
            raise TargetError(f"the target {self.path} cannot be used: {error}") from error
