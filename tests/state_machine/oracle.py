"""What must exist after each step, told by a few rules of its own: nothing here imports gatherer.

A target is the set of the notifications that it has taken in, and its rows are a function of that set: of no order, of
no run, and of no accident. So a run adds notifications to the set, a backup copies the set, and a restore puts the copy
back. `Payload` says what each notification states.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.state_machine.payloads import DAY, Fact, Payload

Row = dict[str, Any]
FIRST_RECEIPT: Final = ("received_at", "inbox_id", "notification_id", "endpoint", "provider")
STATED: Final = (
    "phone", "client_reference", "profile_name", "about_message_id", "emoji", "reply_text", "error_code", "error_title",
)  # fmt: skip


@dataclass(frozen=True)
class Notification:
    """One request, as an inbox stores it."""

    inbox_id: str
    id: int
    received_at: int  # milliseconds since 1970, by the clock of the server, right or wrong
    payload: Payload

    @property
    def receipt(self) -> Row:
        values = (self.received_at, self.inbox_id, self.id, self.payload.endpoint, self.payload.provider)
        return dict(zip(FIRST_RECEIPT, values, strict=True))

    def time_of(self, fact: Fact) -> tuple[str, int]:
        """Return where the time of `fact` comes from, and the time in milliseconds.

        A time of more than a day after the receipt is not trusted: the receipt stands in.
        """
        if fact.at is None or fact.at * 1000 > self.received_at + DAY * 1000:
            return "receipt", self.received_at
        return "element", fact.at * 1000


@dataclass
class Inbox:
    """The file that `gatherer serve` writes."""

    identity: str
    notifications: dict[int, Notification] = field(default_factory=dict)
    last_id: int = 0  # the highest id ever given
    purged_to: int = 0

    def append(self, received_at: int, payload: Payload) -> None:
        self.last_id += 1
        self.notifications[self.last_id] = Notification(self.identity, self.last_id, received_at, payload)

    def purge(self, last: int) -> None:
        """Forget the notifications up to the id `last`."""
        self.purged_to = max(self.purged_to, last)
        self.notifications = {id_: stored for id_, stored in self.notifications.items() if id_ > last}

    def restored(self, identity: str) -> "Inbox":
        """Return the inbox that `gatherer inbox restore` makes of this backup: with another identity."""
        inbox = Inbox(identity, last_id=self.last_id, purged_to=self.purged_to)
        for stored in self.notifications.values():
            inbox.notifications[stored.id] = Notification(
                identity, stored.id, stored.received_at, stored.payload
            )
        return inbox

    def refuses(self, position: Notification | None) -> bool:
        """Return whether a run must refuse this inbox: `position` is a notification that was never in it."""
        if position is None or position.id <= self.purged_to:
            return False
        return self.notifications.get(position.id) != position


@dataclass
class Result:
    """What a run must report."""

    read: int = 0
    purged_unread: int = 0
    exit_codes: list[int] = field(default_factory=list)  # of each inbox that the run opened


@dataclass
class Target:
    """The database that `gatherer gather` fills."""

    taken: set[Notification] = field(default_factory=set)
    positions: dict[str, Notification] = field(default_factory=dict)  # by identity of the inbox
    # By name of the cursor: the rows that its exports have written, and which rows were told of again since
    exported: dict[str, dict[tuple[str, str], Row]] = field(default_factory=dict)
    touched: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def copied(self) -> "Target":
        return copy.deepcopy(self)

    def take(self, notifications: Iterable[Notification]) -> None:
        """Take in `notifications`, new ones or again."""
        for notification in notifications:
            self.taken.add(notification)
            for touched in self.touched.values():
                touched.update(fact.identity for fact in notification.payload.facts)

    def gather(self, inboxes: Iterable[Inbox], limit: int | None = None) -> Result:
        """Take in what is new in `inboxes`: of all of them together at most `limit` notifications."""
        result = Result()
        for inbox in inboxes:
            if limit is not None and result.read == limit:
                break
            position = self.positions.get(inbox.identity)
            if inbox.refuses(position):
                result.exit_codes.append(3)
                continue
            before = position.id if position else 0
            new = [stored for id_, stored in sorted(inbox.notifications.items()) if id_ > before]
            new = new if limit is None else new[: limit - result.read]
            result.purged_unread += max(0, inbox.purged_to - before)
            if new:
                self.positions[inbox.identity] = new[-1]
            self.take(new)
            result.read += len(new)
            result.exit_codes.append(0)
        return result

    def rows(self) -> dict[tuple[str, str], Row]:
        """Return the rows of `response`, by kind and message id."""
        told: dict[tuple[str, str], list[tuple[Notification, Fact]]] = {}
        for notification in self.taken:
            for fact in notification.payload.facts:
                told.setdefault(fact.identity, []).append((notification, fact))
        return {identity: _merged(deliveries) for identity, deliveries in told.items()}

    def rejections(self) -> dict[tuple[str, str, str, bytes], Row]:
        """Return the rows of `rejected`, by provider, path, class and bytes. All are open: nothing decodes them later."""
        told: dict[tuple[str, str, str, bytes], list[Notification]] = {}
        for notification in self.taken:
            payload = notification.payload
            for path, reason in payload.rejections:
                told.setdefault((payload.provider, path, reason, payload.body), []).append(notification)
        return {key: _first_receipt(notifications) for key, notifications in told.items()}

    def other_events(self) -> set[tuple[str, str]]:
        """Return family and message id of each row of `other_event`."""
        return {event for notification in self.taken for event in notification.payload.other_events}

    def reactions(self) -> dict[tuple[str, str], set[str]]:
        """Return the emojis that may stand, by message and person.

        The latest counts. In one second a removal counts before an emoji, and of several emojis the one received last.
        """
        told: dict[tuple[str, str], list[Row]] = {}
        for (kind, _), row in self.rows().items():
            if kind == "reacted":
                told.setdefault((row["about_message_id"], row["phone"]), []).append(row)
        return {place: _standing(rows) for place, rows in told.items()}

    def opted_out(self) -> set[str]:
        """Return the phones of the people who opted out; no payload is an opt-in."""
        return {row["phone"] for (kind, _), row in self.rows().items() if kind == "opted_out"}

    def begin_export(self, name: str) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Return which rows the next export with the cursor `name` must write, and which it may write besides.

        It must write what is new or has changed, and may repeat what was told of again without a change.
        """
        rows, exported = self.rows(), self.exported.get(name, {})
        required = {identity for identity, row in rows.items() if exported.get(identity) != row}
        self.exported[name] = rows
        touched = self.touched.get(name, set())
        self.touched[name] = set()
        return required, required | touched


def _merged(deliveries: list[tuple[Notification, Fact]]) -> Row:
    """Return the row that `deliveries` of one fact become.

    What is missing is filled; of values that contradict each other the smaller one counts. The times that providers
    state come before receipts. The first receipt is the one that the row names.
    """
    source, occurred_at = min(notification.time_of(fact) for notification, fact in deliveries)
    row = {"occurred_at_source": source, "occurred_at": occurred_at}
    row |= _first_receipt(notification for notification, _ in deliveries)
    for name in STATED:
        row[name] = min((fact.columns[name] for _, fact in deliveries if name in fact.columns), default=None)
    return row


def _first_receipt(notifications: Iterable[Notification]) -> Row:
    return min((notification.receipt for notification in notifications), key=lambda row: tuple(row.values()))


def _standing(rows: list[Row]) -> set[str]:
    latest = max(row["occurred_at"] for row in rows)
    tied = [row for row in rows if row["occurred_at"] == latest]
    if any(row["emoji"] == "" for row in tied):
        return {""}
    received = max(row["received_at"] for row in tied)
    return {row["emoji"] for row in tied if row["received_at"] == received}
