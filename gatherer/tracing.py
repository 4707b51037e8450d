"""Finding what is held about a person, in inboxes and in the target."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from gatherer import merging, providers, separating
from gatherer.erasure import Person, canonical
from gatherer.errors import ConfigurationError
from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.notification import Notification
from gatherer.records import OtherEvent, Record, Response
from gatherer.targets.base import Target

EVERYTHING: Final = Selection()
BOUNDS: Final = Bounds()
NOBODY: Final = Person()
SHORTEST_MESSAGE_ID: Final = 8  # characters; what is shorter could be anything


class Held(NamedTuple):
    """A notification that says something about a person."""

    notification: Notification
    rest: bytes  # its body without that
    theirs: list[Any]  # what it says, as plain values
    entangled: list[Record]  # facts about others that could not be told apart from that, and go with it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that is held about a person."""

    person: Person  # with whatever else they turned out to be known by
    rows: dict[str, list[dict[str, Any]]]  # of the target, by table
    inboxes: dict[str, list[Held]]  # by the name of the inbox
    rejected: list[Held]  # notifications that the target keeps with rejections

    @property
    def notifications(self) -> int:
        """How many notifications of inboxes."""
        return sum(map(len, self.inboxes.values()))

    @property
    def counts(self) -> dict[str, int]:
        """How many of what: responses by kind, rows of other tables, notifications kept and in inboxes."""
        counts: dict[str, int] = {}
        for row in self.rows.get(Response.table, ()):
            counts[row["kind"]] = counts.get(row["kind"], 0) + 1
        for table, rows in self.rows.items():
            if table != Response.table:
                counts[table] = len(rows)
        counts |= {"rejected_notification": len(self.rejected), "notification": self.notifications}
        return {name: count for name, count in counts.items() if count}


def trace(
    target: Target,
    inboxes: Mapping[str, Inbox],
    person: Person,
    *,
    until: datetime,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Found:
    """Find everything that is held about `person`.

    Who is known by a phone number is also known by the user ids that rows and notifications have together with it,
    and the other way round; and by the messages that were exchanged: not all that is said of those names the person.

    Args:
        target: where responses are.
        inboxes: where notifications are, by name. They are read two or three times.
        person: by what they are known so far.
        until: what occurred later is not looked for in the target.
        progress: called with how many notifications were read, of how many.

    Raises:
        ConfigurationError: one of the phone numbers is our own.
        GathererError: the target or an inbox cannot be read.

    """
    done, total = 0, 2 * sum(inbox.status().count for inbox in inboxes.values())

    def notifications(inbox: Inbox) -> Iterator[Notification]:
        nonlocal done
        for batch in inbox.select(EVERYTHING, BOUNDS):
            yield from batch
            done += len(batch)
            progress(min(done, total), total)

    given = person
    for row in _rows(target.find(given, until)):
        person |= _also_known_by(row, given)
    before = None
    while before is None or _names(before) < _names(person):  # again with what has been learned
        before = person
        for inbox in inboxes.values():
            for notification in notifications(inbox):
                for record in _records(notification):
                    values = msgspec.structs.asdict(record)
                    _refuse_ours(values, given)
                    person |= _also_known_by(values, given) | _messages(values, before)
    for row in _rows(target.find(person, until)):
        _refuse_ours(row, given)
        person |= _messages(row, person)
    rows = target.find(person, until)
    rows[OtherEvent.table] = [row for row in rows.get(OtherEvent.table, []) if is_about(row, person)]
    held = {
        name: [one for each in notifications(inbox) if (one := hold(each, person)) is not None]
        for name, inbox in inboxes.items()
    }
    return Found(person=person, rows=rows, inboxes=held, rejected=kept_about(target, person))


def kept_about(target: Target, person: Person) -> list[Held]:
    """Return what the notifications that `target` keeps with rejections say about `person`."""
    kept = (notification for batch in target.kept_notifications() for notification in batch)
    return [held for one in kept if (held := hold(one, person)) is not None]


def hold(notification: Notification, person: Person) -> Held | None:
    """Return what `notification` says about `person`; None if it says nothing."""
    separated = separating.separate(notification.body, person.knows)
    if separated is None:
        return None
    others = {
        record.key: record
        for record in _records(notification)
        if not is_about(msgspec.structs.asdict(record), person)
    }
    rest = separated.rest
    left = {record.key for record in _records(notification._replace(body=rest))} if rest else set()
    if (
        not left <= others.keys()
    ):  # without the person it says something that it did not say: so nothing is left
        rest, left = b"", set()
    entangled = [record for key, record in others.items() if key not in left]
    return Held(notification, rest, separated.theirs, entangled)


def is_about(values: Mapping[str, Any], person: Person) -> bool:
    """Tell whether a record or row, given by its columns, is about `person`."""
    named = [values.get(name) for name in ("phone", "phone_raw", "user_id")]
    if any(one is not None and person.knows(one) for one in named):
        return True
    if not any(named) and not values.get("group_id"):
        messages = (values.get("message_id"), values.get("about_message_id"))
        if any(one in person.message_ids for one in messages):
            return True
    details = values.get("details") if "family" in values else None  # of an element that is not modelled
    return details is not None and separating.mentions(json.loads(details), person.knows)


def messages_of(values: Mapping[str, Any]) -> Person:
    """Return the messages that a record or row about a person is about; none of a group, which others are in."""
    if values.get("group_id"):
        return NOBODY
    ids = (values.get("message_id"), values.get("about_message_id"))
    return Person(message_ids=frozenset(one for one in ids if one and len(one) >= SHORTEST_MESSAGE_ID))


def entangled(found: Iterable[Held]) -> list[Record]:
    """Return the facts about others that go with what was `found`."""
    return merging.fold(record for one in found for record in one.entangled)


def _also_known_by(values: Mapping[str, Any], person: Person) -> Person:
    """Return what a record or row says that `person` is known by, besides."""
    named = [values.get(name) for name in ("phone", "phone_raw", "user_id")]
    if not any(one is not None and person.knows(one) for one in named):
        return NOBODY
    phone, user_id = values.get("phone"), values.get("user_id")
    also = Person(
        phones=frozenset([canonical(phone)] if phone else []),
        user_ids=frozenset([user_id] if user_id else []),
    )
    return also | messages_of(values)


def _names(person: Person) -> frozenset[str]:
    return person.phones | person.user_ids


def _messages(values: Mapping[str, Any], person: Person) -> Person:
    return messages_of(values) if is_about(values, person) else NOBODY


def _refuse_ours(values: Mapping[str, Any], person: Person) -> None:
    ours = values.get("business_phone")
    if ours is not None and ours in person.phones:
        raise ConfigurationError("that is one of our own numbers, and everything would be about it")


def _records(notification: Notification) -> list[Record]:
    if notification.is_erased:
        return []
    return [fact for fact in providers.decode(notification) if isinstance(fact, Record)]


def _rows(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that name a person; those of the map only say what was to be sent."""
    for table in (Response.table, OtherEvent.table):
        yield from found.get(table, [])
