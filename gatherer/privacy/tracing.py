"""Finding what is held about a person, in inboxes and in the target."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.model.errors import ConfigurationError
from gatherer.model.notification import Notification
from gatherer.model.person import Person, Whom, canonical
from gatherer.model.phones import spellings
from gatherer.model.records import OtherEvent, Response
from gatherer.privacy.freeing import MESSAGE_IDS, Freed, columns, freed, is_about
from gatherer.privacy.holding import Decode, Held, hold
from gatherer.privacy.sieve import Sieve
from gatherer.targets.base import Target

EVERYTHING: Final = Selection()
BOUNDS: Final = Bounds()
NOBODY: Final = Person()
_WITH_TEXT: Final = frozenset({Response.table, OtherEvent.table})
FEW: Final = 20  # notifications in which anything may stand
SHORTEST_MESSAGE_ID: Final = 8  # characters; what is shorter could be anything


class Mention(NamedTuple):
    """A row that is about others, or about many, and mentions the person."""

    row: dict[str, Any]
    freed: Freed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """Everything that is held about a person."""

    person: Person  # with whatever else they turned out to be known by
    rows: dict[str, list[dict[str, Any]]]  # of the target, by table
    inboxes: dict[str, list[Held]]  # by the name of the inbox
    mentions: dict[str, list[Mention]]  # rows of the target that are about others, by table
    rejected: list[Held]  # notifications that the target keeps with rejections

    @property
    def notifications(self) -> int:
        """How many notifications of inboxes."""
        return sum(map(len, self.inboxes.values()))

    @property
    def counts(self) -> dict[str, int]:
        """How many of what: responses by kind, rows of other tables, of others, notifications kept and in inboxes."""
        counts: dict[str, int] = {}
        for row in self.rows.get(Response.table, ()):
            counts[row["kind"]] = counts.get(row["kind"], 0) + 1
        for table, rows in self.rows.items():
            if table != Response.table:
                counts[table] = len(rows)
        counts |= {
            "mention": sum(map(len, self.mentions.values())),
            "rejected_notification": len(self.rejected),
            "notification": self.notifications,
        }
        return {name: count for name, count in counts.items() if count}


def trace(
    target: Target,
    inboxes: Mapping[str, Inbox],
    person: Person,
    decode: Decode,
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
        decode: makes records of notifications.
        until: what occurred later is not looked for in the target.
        progress: called with how many notifications were read, of how many.

    Raises:
        ConfigurationError: it is no person: one of our own numbers, or something that stands everywhere.
        GathererError: the target or an inbox cannot be read.

    """
    done, count = 0, sum(inbox.status().count for inbox in inboxes.values())

    def batches(inbox: Inbox, person: Person) -> Iterator[list[Notification]]:
        nonlocal done
        sieve = Sieve(person)
        for batch in inbox.select(EVERYTHING, BOUNDS):
            yield [one for one in batch if sieve.lets_through(one.body)]
            done += len(batch)
            progress(min(done, 2 * count), 2 * count)

    given, is_named = person, False  # is it so in any row or record?
    for row in _rows(target.find(given, until)):
        is_named |= _is_named(row, given)
        person |= _also_known_by(row, given)
    before = None
    while before is None or _names(before) < _names(person):  # again with what has been learned
        before = person
        for inbox in inboxes.values():
            for batch in batches(inbox, before):
                for record in decode(batch).records:
                    values = columns(record)
                    _refuse_ours(values, given)
                    is_named |= _is_named(values, given)
                    person |= _also_known_by(values, given) | _messages(values, before)
    for row in _rows(target.find(person, until)):
        _refuse_ours(row, given)
        person |= _messages(row, person)
    held = {
        name: [
            one for batch in batches(inbox, person) for each in batch if (one := hold(each, person, decode))
        ]
        for name, inbox in inboxes.items()
    }
    if person == given and not is_named and sum(map(len, held.values())) > max(FEW, count // 2):
        raise ConfigurationError("nobody is known by that, but most notifications have it: it is no person's")
    rows, mentions = sorted_out(
        target.find(person, until),
        lambda row: is_about(row, person),
        lambda row: freed(row, person),
    )
    rejected = kept_about(target, lambda _: person, decode)
    return Found(person=person, rows=rows, mentions=mentions, inboxes=held, rejected=rejected)


def kept_about(target: Target, whom: Callable[[Notification], Whom], decode: Decode) -> list[Held]:
    """Return what the notifications that `target` keeps with rejections say about those whom `whom` tells of each."""
    kept = (notification for batch in target.kept_notifications() for notification in batch)
    return [held for one in kept if (held := hold(one, whom(one), decode)) is not None]


def sorted_out(
    found: Mapping[str, list[dict[str, Any]]],
    is_theirs: Callable[[Mapping[str, Any]], bool],
    freed: Callable[[Mapping[str, Any]], Freed],
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[Mention]]]:
    """Return those of the rows that were `found` that have to go, by table, and those that only mention the person.

    Args:
        found: rows by table.
        is_theirs: tells whether one is about the person.
        freed: tells what one that is not becomes without them.

    """
    rows: dict[str, list[dict[str, Any]]] = {}
    mentions: dict[str, list[Mention]] = {}
    for table, some in found.items():
        rows[table] = [row for row in some if is_theirs(row)]
        others = [row for row in some if table in _WITH_TEXT and not is_theirs(row)]
        mentions[table] = [Mention(row, one) for row in others if (one := freed(row)).columns]
    return rows, mentions


def messages_of(values: Mapping[str, Any]) -> Person:
    """Return the messages that a record or row about a person is about; none of a group, which others are in."""
    if values.get("group_id"):
        return NOBODY
    ids = (values.get(name) for name in MESSAGE_IDS)
    return Person(message_ids=frozenset(one for one in ids if one and len(one) >= SHORTEST_MESSAGE_ID))


def _also_known_by(values: Mapping[str, Any], person: Person) -> Person:
    """Return what a record or row says that `person` is known by, besides."""
    if not _is_named(values, person):
        return NOBODY
    phone, user_id = values.get("phone"), values.get("user_id")
    also = Person(
        phones=spellings(canonical(phone)) if phone else frozenset(),
        user_ids=frozenset([user_id] if user_id else []),
    )
    return also | messages_of(values)


def _is_named(values: Mapping[str, Any], person: Person) -> bool:
    named = [values.get(name) for name in ("phone", "phone_raw", "user_id")]
    return any(one is not None and person.knows(one) for one in named)


def _names(person: Person) -> frozenset[str]:
    return person.phones | person.user_ids


def _messages(values: Mapping[str, Any], person: Person) -> Person:
    return messages_of(values) if is_about(values, person) else NOBODY


def _refuse_ours(values: Mapping[str, Any], person: Person) -> None:
    ours = [values.get(name) for name in ("business_phone", "phone_number_id", "account_id")]
    if any(one is not None and person.knows(one) for one in ours):
        raise ConfigurationError("that is one of our own numbers or ids, and everything would be about it")


def _rows(found: Mapping[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for rows in found.values():
        yield from rows
