"""The contract of an inbox, as a run sees it: a log to read from a position on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gatherer.model import timestamps
from gatherer.model.notification import Notification


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The maximum size of a batch. At least one notification is always read."""

    rows: int = 20_000
    bytes: int = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which notifications to read. A field that is None does not restrict."""

    ids: frozenset[int] | None = None
    from_id: int | None = None
    to_id: int | None = None
    since: datetime | None = None  # received at or after
    until: datetime | None = None  # received before
    endpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class InboxStatus:
    """What an inbox holds."""

    identity: str
    first_id: int | None  # oldest notification that has not been purged
    last_id: int  # highest id ever assigned; 0 when there was none
    count: int
    bytes: int  # of the files
    missing: (
        int | None
    )  # ids that it gave, did not purge, and does not hold; None: its ids have gaps by nature


# A stored notification: time in ms since 1970, the rest as in Notification.
COLUMNS = "id, received_at, endpoint, provider, body, content_type, headers, remote, received_digest"
Row = tuple[int, int, str, str, bytes, str | None, str | None, str | None, bytes | None]


def as_notification(row: Row, inbox_id: str) -> Notification:
    """Return the notification that is stored as `row`."""
    return Notification._make((row[0], inbox_id, timestamps.from_milliseconds(row[1]), *row[2:]))


def within(rows: list[Row], bounds: Bounds) -> list[Row]:
    """Return the first of `rows` that are within `bounds`, at least one."""
    size = 0
    for i, row in enumerate(rows[: bounds.rows]):
        size += len(row[4])
        if size > bounds.bytes and i:
            return rows[:i]
    return rows[: bounds.rows]


class Inbox(Protocol):
    """A log of notifications that can be read while it grows."""

    identity: str
    has_contiguous_ids: (
        bool  # ids ascend by one, so that an id that is missing is a notification that was lost
    )

    def last_id(self) -> int:
        """Return the highest id ever assigned, 0 if there was none yet."""

    def first_id(self) -> int | None:
        """Return the id of the oldest notification that has not been purged; None when there is none."""

    def purged_to(self) -> int:
        """Return the highest id that was purged, 0 if there is none. Purging removes all lower ids as well."""

    def read(self, after: int, bounds: Bounds) -> list[Notification]:
        """Return the next notifications after id `after`, oldest first; an empty list at the end."""

    def select(self, selection: Selection, bounds: Bounds) -> Iterator[list[Notification]]:
        """Yield the selected notifications in batches, oldest first."""

    def get(self, id: int) -> Notification | None:  # noqa: A002
        """Return the notification `id`, or None if the inbox does not hold it."""

    def acknowledge(self, consumer: str, notification_id: int) -> None:
        """Record that `consumer`, a target's identity, has everything up to `notification_id`. Advisory: never fails.

        Purging depends on it; reading depends on the position in the target alone.
        """

    def status(self) -> InboxStatus:
        """Return what the inbox holds."""

    def close(self) -> None:
        """Close the inbox."""
