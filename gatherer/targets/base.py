"""The contract of a target: one batch is written in one transaction, completely or not at all."""

import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Protocol

from gatherer import __version__
from gatherer.model import timestamps
from gatherer.model.message_map import MapRow
from gatherer.model.notification import Notification
from gatherer.model.person import Erasure, Person, Tombstone
from gatherer.model.records import MessageIdPair, Record, Rejected

# New values by table, id of the row, and column. None is NULL.
Texts = Mapping[str, Mapping[int, Mapping[str, str | None]]]
CursorKind = Literal["export", "after-run"]


class Position(NamedTuple):
    """The last notification of an inbox that the target has taken in."""

    inbox_id: str
    notification_id: int
    digest: bytes  # of that notification, 16 bytes: differs if the inbox was replaced or restored


class Contributor(NamedTuple):
    """A notification that told the fact with `key`."""

    key: bytes
    inbox_id: str
    notification_id: int


@dataclass(frozen=True, kw_only=True)
class DecodedBody:
    """What one notification with open rejections decoded to."""

    body_key: bytes
    endpoint: str
    provider: str  # that is stored with the notification, even if another one decoded it
    paths: frozenset[str]  # of the elements that became records

    def has_record(self, path: str) -> bool:
        """Return whether the element at `path` became a record: it, a part of it, or an element around it."""
        return any(
            _is_within(record_path, path) or _is_within(path, record_path) for record_path in self.paths
        )


def _is_within(path: str, other: str) -> bool:
    """Return whether `path` is `other`, or the path of a part of it."""
    return path.startswith(other) and path[len(other) : len(other) + 1] in ("", ".", "[")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one transaction writes. `records` has at most one record per key."""

    records: list[Record] = field(default_factory=list)
    pairs: list[MessageIdPair] = field(
        default_factory=list
    )  # the ids of one message that the deliveries told
    folded: int = 0  # deliveries that were merged into a record of `records`: duplicates within the batch
    rejected: list[Rejected] = field(default_factory=list)
    position: Position | None = None  # None: the position stays (replay)
    # The notifications that told the facts of this batch, by table, except those that `records`, `pairs` and
    # `rejected` name themselves.
    contributors: Mapping[str, Sequence[Contributor]] = field(default_factory=dict)
    # What those decoded to whose bodies have open rejections, which are resolved by it.
    decoded_bodies: Sequence[DecodedBody] = ()
    erased: int = 0  # records that were left out because they are about erased people
    times_ahead: int = 0  # records whose element states a time too far ahead of the receipt
    read: int = 0  # how many of the notifications that were to be decoded it is made of
    # From which the batch was decoded: if the database refuses a record, its notification is stored as rejected.
    notifications: Sequence[Notification] = ()


@dataclass(kw_only=True)
class Outcome:
    """How many rows one or more batches changed."""

    inserted: dict[str, int] = field(default_factory=dict)  # new rows by response kind or table name
    filled: int = 0  # rows of which a redelivery changed a column
    duplicates: int = 0  # records that changed nothing: the row had all their values
    rejected: int = 0  # new rejections
    resolved: int = 0  # rejections that a later success resolved
    removed: int = 0  # rows that a rebuild or an erasure deleted
    erased: int = 0  # records that were left out because they are about erased people

    def add(self, other: "Outcome") -> None:
        """Add the figures of `other` to these figures."""
        for name, count in other.inserted.items():
            self.inserted[name] = self.inserted.get(name, 0) + count
        for name in ("filled", "duplicates", "rejected", "resolved", "removed", "erased"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the table `gather_run`: what one run did with one inbox, or one step of `[[after_run]]`."""

    started_at: datetime
    finished_at: datetime
    host: str = field(default_factory=socket.gethostname)
    version: str = __version__
    inbox_id: str = ""  # empty if it could not be opened, and for a step
    read: int = 0
    inserted: int = 0
    filled: int = 0
    duplicates: int = 0
    rejected: int = 0
    exit_code: int = 0
    problem: str | None = None
    step: str | None = None  # the name of the step
    last_line: str | None = None  # of the output of the step
    times_ahead: int = (
        0  # responses of which the provider states a time so far ahead of the receipt that it is not used
    )
    purged_unread: int = 0  # notifications that the inbox purged before this target had read them
    missing: int = 0  # notifications that the inbox does not hold and did not purge


@dataclass(frozen=True, kw_only=True)
class TargetStatus:
    """How many rows a target has, its last run, and the steps after it."""

    rows: dict[str, int]  # by table
    tests: int  # of the rows of `response`, those that are tests
    rejected_open: int  # rejections that are not resolved
    last_run: Run | None
    steps: list[Run]  # the last row of each step of `[[after_run]]`


class ChangePoint(NamedTuple):
    """A point in the sequence of changes: the last one of the tables of facts, and the last one of `message_map`.

    In SQLite the same transactions count both. In SQL Server, where the site writes the map without our lock, the
    server counts its changes.
    """

    commit_number: int
    map_number: int


BEGINNING: Final = ChangePoint(0, 0)
NO_END: Final = ChangePoint(2**63 - 1, 2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Which responses to export."""

    # response: the table. campaign: with the columns of message_map. opt_out: the current state of each person.
    # window: how many responses were written. endpoint: one row if the endpoint has responses. changes: one row if
    # anything was written to any table of facts or to message_map. shown: one row if the views show test rows.
    view: Literal["response", "campaign", "opt_out", "window", "endpoint", "changes", "shown"] = "response"
    since: datetime = timestamps.EARLIEST  # occurred at or after
    until: datetime = timestamps.LATEST  # occurred before
    changed_after: ChangePoint = BEGINNING
    changed_to: ChangePoint = NO_END  # included
    endpoint: str | None = None
    kinds: tuple[str, ...] = ()  # empty: all
    include_tests: bool = False  # otherwise test rows are left out


@dataclass(frozen=True, kw_only=True)
class RetentionResult:
    """What `[target] keep_days` removed."""

    blanked: int = 0  # responses whose text was removed
    deleted: int = 0  # rows that were deleted


@dataclass(frozen=True, kw_only=True)
class MapStatus:
    """What is missing in the map, and of its messages."""

    without_campaign: dict[str, int]  # responses, by kind
    campaigns: list[tuple[str, int, int]]  # campaign, mapped messages, those of them without any receipt
    unbound: int  # rows without message id and client reference


class Target(Protocol):
    """A database that stores records."""

    name: str  # of the database, for messages; without secrets
    identity: str  # random, created with the tables: the name of the target as a consumer of inboxes

    def save_settings(self, *, time_zone: str, attribution_hours: int) -> None:
        """Store the settings that the views read, and the offsets of the time zone, unless the same ones are stored."""

    def position(self, inbox_id: str) -> Position | None:
        """Return the position of the inbox `inbox_id`; None if nothing of it was gathered yet."""

    def apply(self, batch: Batch) -> Outcome:
        """Write `batch` in one transaction. The position never moves back."""

    def rebuild(
        self,
        notifications: Iterable[tuple[str, int]],
        batches: Iterable[Batch],
        keep: Collection[bytes] = (),
    ) -> Outcome:
        """In one transaction, delete the rows to which `notifications` contributed, then write `batches`.

        Args:
            notifications: pairs of inbox id and notification id.
            batches: read after the rows were deleted.
            keep: keys of rows that are not deleted.

        """

    def keys_from(self, notifications: Iterable[tuple[str, int]]) -> set[bytes]:
        """Return the keys of the records, without rejections, to which `notifications` contributed.

        `notifications` are pairs of inbox id and notification id.
        """

    def other_contributors(self, notifications: Iterable[tuple[str, int]]) -> list[Contributor]:
        """Return who else contributed to the rows to which `notifications` contributed.

        `notifications` are pairs of inbox id and notification id.
        """

    def open_rejections(self) -> set[bytes]:
        """Return the keys of the bodies that have open rejections."""

    def rejected_notifications(self) -> Iterator[list[Notification]]:
        """Yield the notifications with open rejections in lists, from their stored bytes."""

    def record_run(self, run: Run) -> None:
        """Insert the row of a run."""

    def status(self) -> TargetStatus:
        """Return the number of rows by table, the last run, and the last time of each step."""

    def horizon(self) -> ChangePoint:
        """Return the point up to which all changes are committed: every later one gets a higher number."""

    def cursor(self, kind: CursorKind, name: str) -> ChangePoint | None:
        """Return where the cursor is; None if there is no such cursor."""

    def move_cursor(self, kind: CursorKind, name: str, point: ChangePoint | None) -> None:
        """Store that the cursor is at `point`. None deletes it."""

    def export(self, selection: Export) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of `selection` in lists of at most 2 000, by column. Times are aware UTC."""

    def find(self, person: Person, until: datetime) -> dict[str, list[dict[str, Any]]]:
        """Return the rows about `person` by table, each with all its columns.

        `response` and `other_event`: rows up to `until` with one of the phone numbers or user ids, and rows about one
        of the messages unless they name another person. Also rows that contain an identifier anywhere in their text
        or details, even as a part of a longer number: the caller decides about these.
        `message_map`: rows with one of the phone numbers, and rows about one of the messages.
        `message_id_pair`: rows with an id of one of the messages.
        """

    def about_people(self, since: datetime) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield the rows of the tables of `find` that were written at `since` or later: pairs of table and rows.

        Each row has the columns that hold when the fact occurred, which person it is about, and the texts that may
        mention other people. The caller must not call the target until the last rows are read.
        """

    def kept_notifications(self) -> Iterator[list[Notification]]:
        """Yield all notifications that are stored with rejections, open or resolved, in lists."""

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
        """In one transaction, remove what is about a person, write `batch`, and record the erasure.

        Args:
            rows: ids of the rows to delete, by table: a table of records, or `message_map`.
            texts: new values of columns in rows that stay.
            bodies: keys of stored notifications to delete, with all their rejections.
            batch: written afterwards: the records about other people in the deleted notifications.
            tombstones: by which later runs recognise the person.
            erasure: the row for the table `erasure`; None inserts none.

        """

    def import_map(self, rows: Sequence[MapRow]) -> tuple[int, int]:
        """Insert or change `rows` of the map in one transaction; return how many were inserted, and how many changed.

        Each identity occurs once in `rows`. What a row leaves out stays as it is, and a row that changes nothing is
        not written.
        """

    def map_status(self, since: datetime, until: datetime) -> MapStatus:
        """Return the responses from `since` on without a campaign, and the mapped messages without a receipt.

        Of the messages those count that were sent from `since` to `until`.
        """

    def query_rows(self, query: str) -> Iterator[Sequence[object]]:
        """Yield the names of the columns of `query`, which the operator wrote, then its rows.

        The caller may call the target until the last row is read.

        Raises:
            GathererError: the query failed.

        """

    def tombstones(self) -> list[Tombstone]:
        """Return all tombstones."""

    def apply_retention(
        self, *, text_before: datetime | None, rows_before: datetime | None
    ) -> RetentionResult:
        """Blank the text of responses from before `text_before`, and delete rows from before `rows_before`.

        Rejections from before either time are deleted, because they hold whole notifications. No redelivery and no
        replay fills a blanked text again. A pair of message ids is kept as long as a response has one of them. None:
        no limit.
        """

    def close(self) -> None:
        """Close the connection."""
