"""The contract of a target: everything of one batch in one transaction, or nothing of it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.model.records import Record, Rejected

Texts = Mapping[str, Mapping[int, Mapping[str, str | None]]]  # by table, id of the row, and column


class Position(NamedTuple):
    """Up to where an inbox has been gathered."""

    inbox_id: str
    notification_id: int
    digest: bytes  # of that notification, so that an inbox that is not the same is noticed


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction applies. `records` has at most one record per key."""

    records: list[Record] = field(default_factory=list)
    folded: int = 0  # further deliveries of facts in `records` that are in this batch as well
    rejected: list[Rejected] = field(default_factory=list)
    position: Position | None = None  # None: leave it where it is (replay)
    # Bodies that were decoded in this batch and hold what was once rejected: their rejections are
    # resolved, except those that this batch rejects again.
    decoded_bodies: frozenset[bytes] = frozenset()
    erased: int = 0  # facts that are not in this batch, as they are about people who were erased
    # What all this was decoded from: a record that the database refuses is rejected with its bytes.
    notifications: Sequence[Notification] = ()


@dataclass(kw_only=True)
class Outcome:
    """What one or more batches changed."""

    inserted: dict[str, int] = field(default_factory=dict)  # new rows by response kind or table name
    filled: int = 0  # rows that learned something from another delivery
    duplicates: int = 0  # records that were there already, with everything they say
    rejected: int = 0  # new rejections
    resolved: int = 0  # rejections that a later success settled
    removed: int = 0  # rows taken out by a rebuild, or by an erasure
    erased: int = 0  # records that were left out, as they are about people who were erased

    def add(self, other: "Outcome") -> None:
        """Add the figures of `other` to these."""
        for name, count in other.inserted.items():
            self.inserted[name] = self.inserted.get(name, 0) + count
        for name in ("filled", "duplicates", "rejected", "resolved", "removed", "erased"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run did, for the table `gather_run`."""

    started_at: datetime
    finished_at: datetime
    host: str
    version: str
    inbox_id: str
    read: int
    inserted: int
    filled: int
    duplicates: int
    rejected: int
    exit_code: int
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class TargetStatus:
    """What a target holds."""

    rows: dict[str, int]  # by table
    rejected_open: int  # rejections that nothing has settled yet
    last_run: Run | None


@dataclass(frozen=True, kw_only=True)
class Export:
    """Which responses to hand on. All ranges are half open."""

    # Alone; with what message_map knows, where it does; or no more than a row if there are any from the endpoint.
    view: Literal["response", "campaign", "endpoint"] = "response"
    since: datetime = timestamps.EARLIEST  # occurred at or after
    until: datetime = timestamps.LATEST  # occurred before
    changed_from: datetime = timestamps.EARLIEST  # last written at or after
    changed_to: datetime = timestamps.LATEST  # last written before
    endpoint: str | None = None
    kinds: tuple[str, ...] = ()  # none: all

    @property
    def times(self) -> tuple[datetime, datetime, datetime, datetime]:
        """All four ends."""
        return self.since, self.until, self.changed_from, self.changed_to


@dataclass(frozen=True, kw_only=True)
class RetentionResult:
    """What had become too old to be kept."""

    blanked: int = 0  # answers whose text was removed
    deleted: int = 0  # rows


class Target(Protocol):
    """A database that takes in records."""

    name: str  # for people: which database this is, never a secret
    identity: str  # random, made with the tables: as which consumer of an inbox it is known

    def save_settings(self, *, time_zone: str, attribution_hours: int) -> None:
        """Write down the settings that views need, if they are not those that are there."""

    def position(self, inbox_id: str) -> Position | None:
        """Return up to where the inbox `inbox_id` has been gathered; None if it never was."""

    def apply(self, batch: Batch) -> Outcome:
        """Apply `batch` in one transaction, in which the position only moves forward."""

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, remove the rows first received in `notifications`, then apply `batches`.

        `notifications` are pairs of inbox id and notification id. `batches` is read after the removal. Records of
        which the key is one of those to `keep` are not removed.
        """

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records first received in `notifications`."""

    def open_rejections(self) -> set[bytes]:
        """Return the body keys of all rejections that nothing has settled yet."""

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in batches, from the bytes kept with them."""

    def record_run(self, run: Run) -> None:
        """Write down what a run did."""

    def status(self) -> TargetStatus:
        """Return what the target holds."""

    def horizon(self) -> datetime:
        """Return a time before which nothing is going to be written any more, as `changed_at` has it."""

    def export(self, what: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the responses that `what` asks for by column, a few thousand at a time; times are aware UTC."""

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns.

        Of `response` and `other_event`: what has one of the phone numbers or user ids and occurred up to `until`, or
        is about one of the messages and says of nobody else that it is theirs. Also what merely has an identifier
        somewhere in what people wrote or in its details, be it as a part of a longer number: that is for the caller to
        tell.
        Of `message_map`: what was sent to one of the numbers, or is about one of the messages.
        """

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the rows of the tables that `find` looks in written at `since` or later, in batches, each with its table.

        Of their columns there are those that tell when something occurred, whom it is about and whom it mentions.
        Nothing else may be asked of the target until the last batch.
        """

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications kept with rejections, settled or not, in batches."""

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
        """In one transaction, remove what is about a person, apply `batch`, and write down that it was done.

        Args:
            rows: ids of rows to remove, by table: one of those with records, or `message_map`.
            texts: what columns of rows that stay become.
            bodies: body keys of kept notifications to remove, with all their rejections.
            batch: what is to be there afterwards: what those notifications say about others.
            tombstones: what tells later that the person was erased.
            erasure: for the table `erasure`; None writes nothing there.

        """

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""

    def apply_retention(
        self, *, text_before: datetime | None, rows_before: datetime | None
    ) -> RetentionResult:
        """Blank the text of answers that occurred before one time, and delete rows that did before another.

        Text before `text_before` also goes with the rejections of that time, which hold whole notifications.
        What was blanked stays so, whatever is delivered or replayed. None: nothing is too old.
        """

    def close(self) -> None:
        """Let go of the database."""
