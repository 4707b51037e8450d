"""What of decoded notifications is not about people who were erased."""

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
from gatherer.providers.base import Decoded


def without_erased(notification: Notification, erased: Erased) -> tuple[Notification, Decoded, int]:
    """Return `notification` without the people who were `erased`, what it holds of others, and how many facts are theirs.

    The body is another one only where that matters: where something of it is left out, or kept with a rejection.
    """
    facts = providers.decode(notification)
    before = _there_before(notification, facts, erased)
    own: list[Record | Rejected] = []  # what is still needed of the body
    kept = Decoded()
    for one, paths in facts.with_paths():
        fact = of_others(one, erased, before.moment_of(one))
        if fact is not None:
            kept.add(fact, *paths)
            if isinstance(fact, Rejected):
                own += [fact] if element_of(fact) not in before.elements else []
            elif fact is one or names_somebody(columns(fact)):
                own.append(fact)
    redelivered = before.is_whole or len(kept) < len(facts)
    if redelivered or any(isinstance(fact, Rejected) for fact in kept):
        whom = erased if redelivered else erased.at(notification.received_at)
        found = [
            one
            for one in separating.mentions(bodies.load(notification.body), erased.knows)
            if one.element in before.elements or whom.knows(one.text)
        ]
        chosen = cut(notification, whom, found, own, providers.decode)
        if chosen:
            digest = notification.digest()
            notification = free(notification, chosen)._replace(received_digest=digest)
            left = Decoded() if notification.is_erased else providers.decode(notification)
            records = [pair for pair in kept.with_paths() if not isinstance(pair[0], Rejected)]
            rejections = [
                pair for pair in left.with_paths() if isinstance(pair[0], Rejected)
            ]  # those keep bytes
            kept = Decoded()
            for fact, paths in (*records, *rejections):
                kept.add(fact, *paths)
    return notification, kept, len(facts) - len(kept)


class _Before(NamedTuple):
    """What of a notification was there when somebody was erased."""

    moment: datetime = timestamps.LATEST  # when that was
    keys: frozenset[bytes] = frozenset()  # of the facts that it says
    elements: frozenset[Path] = frozenset()
    is_whole: bool = False  # all of it was, byte for byte

    def moment_of(self, fact: Record | Rejected) -> datetime:
        """Return by when `fact` was there, as far as this tells."""
        return self.moment if fact.key in self.keys else timestamps.LATEST


def _there_before(notification: Notification, facts: Decoded, erased: Erased) -> _Before:
    """Return what of `notification`, which says these `facts`, is known although no key or time tells it."""
    keys = frozenset(fact.key for fact in facts)
    moment = erased.there_by(body_key(notification.body))
    if moment is not None:
        return _Before(moment, keys, is_whole=True)
    if not any(_may_be_redelivered(fact, erased) for fact in facts):
        return _Before()
    value = bodies.load(notification.body)
    elements = {one.element for one in separating.mentions(value, erased.knows)}
    moments = {
        element: moment
        for element in elements
        if (moment := erased.there_by(bodies.digest(separating.at(value, element)))) is not None
    }
    if not moments:
        return _Before()
    elsewhere = free(notification, Cut(frozenset(moments)))
    left = {fact.key for fact in providers.decode(elsewhere)} if elsewhere.body else set[bytes]()
    return _Before(min(moments.values()), keys - left, frozenset(moments))


def _may_be_redelivered(fact: Record | Rejected, erased: Erased) -> bool:
    """Tell whether it takes the element of `fact` to know whether it was there when somebody was erased."""
    if isinstance(fact, Rejected):
        return True
    if fact.occurred_at_source != "receipt" or not isinstance(fact, Response | OtherEvent):
        return False
    named = [one for one in (fact.phone, getattr(fact, "phone_raw", None), fact.user_id) if one]
    return not named or any(map(erased.is_named, named))


def of_others(
    fact: Record | Rejected, erased: Erased, until: datetime = timestamps.LATEST
) -> Record | Rejected | None:
    """Return what of `fact`, which occurred by `until`, is not about people who were `erased`; None if nothing is."""
    if not isinstance(fact, Response | OtherEvent):
        return fact
    if erased.covers(fact, until):
        return None
    # It is about somebody else, or names nobody, but may mention people.
    moment = erased.occurred_by(fact.key, min(fact.occurred_at, until))
    return without(fact, erased.at(moment))
