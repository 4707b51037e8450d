"""Telling what notifications say about a person, and what is left of them without that."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gatherer.model.notification import Notification
from gatherer.model.person import Whom
from gatherer.model.records import Record, Rejected
from gatherer.privacy import bodies, separating
from gatherer.privacy.cutting import Cut, cut, free
from gatherer.privacy.freeing import (
    columns,
    is_about,
    is_of_people,
    is_told_by_message,
    names_somebody,
    said,
    without,
)
from gatherer.targets.base import Batch

Decode = Callable[[Sequence[Notification]], Batch]  # as a run would


class Held(NamedTuple):
    """A notification that says something about a person."""

    notification: Notification
    rest: bytes  # its body without that; empty if nothing is left
    theirs: list[Any]  # what it says, as plain values
    entangled: list[Record]  # facts about others that could not be told apart from that, and go with it
    # Of the facts and elements that say it, but for the person's facts that one of their messages tells.
    keys: frozenset[bytes]


def hold(notification: Notification, whom: Whom, decode: Decode) -> Held | None:
    """Return what `notification` says about `whom`; None if it says nothing."""
    value = bodies.load(notification.body)
    found = separating.mentions(value, whom.knows)
    if not found:
        return None

    def facts_of(one: Notification) -> list[Record | Rejected]:
        batch = decode([one])
        return [*batch.records, *batch.rejected]

    facts = facts_of(notification)
    records = [one for one in facts if not isinstance(one, Rejected)]
    others = {one.key: one for one in records if not _is_theirs(one, whom)}
    freed = {key: without(one, whom) for key, one in others.items()}
    own = [one for key, one in others.items() if freed[key] == one or names_somebody(columns(one))]
    refused = [one for one in facts if isinstance(one, Rejected)]
    chosen = cut(notification, whom, found, [*own, *refused], facts_of)
    if not chosen:
        return None  # nothing but ids of messages that are somebody else's as well
    rest = free(notification, chosen).body
    left = decode([notification._replace(body=rest)]).records if rest else []
    if any(one.key not in others or _is_theirs(one, whom) for one in left):
        rest, left = b"", []  # without the person it says something that it did not say: so nothing is left
    kept = {one.key for one in left}
    return Held(
        notification,
        rest,
        said(value, chosen.elements, [one for one in found if one.place in chosen.places]),
        [one for key, one in freed.items() if one is not None and key not in kept],
        _keys(records, freed, whom) | _digests(value, chosen),
    )


def _is_theirs(record: Record, whom: Whom) -> bool:
    return is_of_people(record) and is_about(columns(record), whom)


def _keys(records: list[Record], freed: dict[bytes, Record | None], whom: Whom) -> frozenset[bytes]:
    theirs = {
        one.key for one in records if one.key not in freed and not is_told_by_message(columns(one), whom)
    }
    return frozenset(theirs | {one.key for one in records if freed.get(one.key, one) != one})


def _digests(value: Any, chosen: Cut) -> frozenset[bytes]:
    elements = [separating.at(value, element) for element in chosen.elements]
    return frozenset(bodies.digest(one) for one in elements if isinstance(one, dict | list | bytes))
