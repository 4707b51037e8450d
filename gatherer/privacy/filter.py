"""Leave the people who were erased out of decoded notifications."""

from datetime import datetime
from typing import NamedTuple

from gatherer import providers
from gatherer.model import timestamps
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import OtherEvent, Record, Rejected, Response
from gatherer.privacy import bodies, separating
from gatherer.privacy.cutting import Cut, cut, element_of, free
from gatherer.privacy.erased import Erased
from gatherer.privacy.freeing import columns, names_somebody, without
from gatherer.privacy.separating import Path
from gatherer.providers.base import Decode, Decoded


def without_erased(
    notification: Notification, erased: Erased, decode: Decode = providers.decode
) -> tuple[Notification, Decoded, int]:
    """Return `notification` without the people who were `erased`, its facts about other people, and how many it lost.

    The body changes only where it is stored or decoded again: facts are left out of it, or a rejection keeps it.
    """
    facts = decode(notification)
    before = _there_before(notification, facts, erased, decode)
    needed: list[Record | Rejected] = []  # facts whose elements stay in the body
    remaining = Decoded()
    for fact, paths in facts.with_paths():
        remaining_fact = of_others(fact, erased, before.moment_of(fact))
        if remaining_fact is None:
            continue
        remaining.add(remaining_fact, *paths)
        if isinstance(remaining_fact, Rejected):
            if element_of(remaining_fact) not in before.elements:
                needed.append(remaining_fact)
        elif remaining_fact is fact or names_somebody(columns(remaining_fact)):
            needed.append(remaining_fact)
    redelivered = before.is_whole or len(remaining) < len(facts)
    if redelivered or any(isinstance(fact, Rejected) for fact in remaining):
        people = erased if redelivered else erased.at(notification.received_at)
        mentions = [
            mention
            for mention in separating.mentions(bodies.load(notification.body), erased.knows)
            if mention.element in before.elements or people.knows(mention.text)
        ]
        chosen = cut(notification, people, mentions, needed, decode)
        if chosen:
            digest = notification.digest()
            notification = free(notification, chosen)._replace(received_digest=digest)
            decoded = Decoded() if notification.is_erased else decode(notification)
            records = [pair for pair in remaining.with_paths() if not isinstance(pair[0], Rejected)]
            # Rejections keep the bytes of the body, so that they are those of the changed body.
            rejections = [pair for pair in decoded.with_paths() if isinstance(pair[0], Rejected)]
            remaining = Decoded()
            for fact, paths in (*records, *rejections):
                remaining.add(fact, *paths)
    return notification, remaining, len(facts) - len(remaining)


class _Before(NamedTuple):
    """The part of a notification that had already been received when a person was erased."""

    moment: datetime = timestamps.LATEST  # by which it had been received
    keys: frozenset[bytes] = frozenset()  # of the facts in it
    elements: frozenset[Path] = frozenset()
    is_whole: bool = False  # the whole body had been received, byte for byte

    def moment_of(self, fact: Record | Rejected) -> datetime:
        """Return the time by which `fact` had been received; `LATEST` if it is not known."""
        return self.moment if fact.key in self.keys else timestamps.LATEST


def _there_before(notification: Notification, facts: Decoded, erased: Erased, decode: Decode) -> _Before:
    """Return the part of `notification`, which decodes to `facts`, whose bytes tombstones recognise.

    Facts whose keys or times tell that they are old need no such part.
    """
    keys = frozenset(fact.key for fact in facts)
    moment = erased.there_by(body_key(notification.body))
    if moment is not None:
        return _Before(moment, keys, is_whole=True)
    if not any(_may_be_redelivered(fact, erased) for fact in facts):
        return _Before()
    value = bodies.load(notification.body)
    elements = {mention.element for mention in separating.mentions(value, erased.knows)}
    moments = {
        element: moment
        for element in elements
        if (moment := erased.there_by(bodies.digest(separating.at(value, element)))) is not None
    }
    if not moments:
        return _Before()
    remainder = free(notification, Cut(frozenset(moments)))
    remaining_keys = {fact.key for fact in decode(remainder)} if remainder.body else set[bytes]()
    return _Before(min(moments.values()), keys - remaining_keys, frozenset(moments))


def _may_be_redelivered(fact: Record | Rejected, erased: Erased) -> bool:
    """Return whether only the bytes of its element can tell that `fact` had been received before an erasure."""
    if isinstance(fact, Rejected):
        return True
    if fact.occurred_at_source != "receipt" or not isinstance(fact, Response | OtherEvent):
        return False
    identifiers = [value for value in (fact.phone, getattr(fact, "phone_raw", None), fact.user_id) if value]
    return not identifiers or any(map(erased.is_named, identifiers))


def of_others(
    fact: Record | Rejected, erased: Erased, until: datetime = timestamps.LATEST
) -> Record | Rejected | None:
    """Return `fact`, which occurred by `until`, without the people who were `erased`; None if it is about one of them."""
    if not isinstance(fact, Response | OtherEvent):
        return fact
    if erased.covers(fact, until):
        return None
    # It is about another person, or names no person, but its texts may mention people.
    moment = erased.occurred_by(fact.key, min(fact.occurred_at, until))
    return without(fact, erased.at(moment))
