"""Choosing what goes of a notification with some people, so that what it says about others is still said."""

import re
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, Final, NamedTuple

from gatherer.model.notification import Notification
from gatherer.model.person import Whom
from gatherer.model.records import Record, Rejected
from gatherer.privacy import bodies, separating
from gatherer.privacy.freeing import is_of_people
from gatherer.privacy.separating import Mention, Path, is_inside

Facts = Iterable[Record | Rejected]
DecodeOne = Callable[[Notification], Facts]

# Who an element is about, as far as that can be told of one that is rejected.
_NAMES: Final = ("from", "from_user_id", "recipient_id", "recipient_user_id", "wa_id", "waId", "user_id")
_MOST_TRIALS: Final = 200  # of one body: each decodes it
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


class Cut(NamedTuple):
    """What goes of a body."""

    elements: frozenset[Path]
    places: frozenset[Path] = frozenset()  # of the people's names in elements that are about others
    keep: frozenset[Path] = frozenset()  # elements that stay, whatever goes of what is in them

    def __bool__(self) -> bool:
        """Whether anything goes."""
        return bool(self.elements or self.places)


def cut(
    notification: Notification, whom: Whom, found: Iterable[Mention], theirs: Facts, decode: DecodeOne
) -> Cut:
    """Return what goes of `notification`, so that nobody else loses a fact.

    An element that is about `whom` goes. In one that is about somebody else, who shares a contact or quotes them,
    the innermost element does, and where there is none, only their number or user id.

    Args:
        notification: the notification.
        whom: who goes.
        found: where its body mentions them.
        theirs: what it says about others.
        decode: tells what a notification says.

    """
    found, theirs = list(found), list(theirs)
    needed = _Needed(notification, theirs, decode)
    elements = {one.element for one in found}
    keep = _refused(notification, whom, theirs) if elements else set()
    chosen = Cut(frozenset(elements - keep), keep=frozenset(keep))
    if not needed.is_in(chosen):
        chosen = _apart(elements, keep, needed)
    places = [one.place for one in found if one.element in chosen.keep and whom.is_named(one.text)]
    return chosen._replace(
        places=_fitting(places, lambda part: needed.is_ours_in(chosen._replace(places=part)))
    )


def _apart(elements: set[Path], keep: set[Path], needed: "_Needed") -> Cut:
    """Return which of the `elements` can go, and which of them and of those around them are to `keep`, as others are."""
    keep, loose = set(keep), set[Path]()
    for _, level in groupby(separating.surroundings(elements), len):
        some = [element for element in level if element not in keep and not is_inside(element, loose)]
        fitting = _fitting(some, lambda part: needed.is_in(Cut(part, keep=frozenset(keep))))
        loose |= fitting
        keep.update(element for element in some if element not in fitting)
    chosen = Cut(frozenset(elements - keep), keep=frozenset(keep))
    if needed.is_in(chosen):
        return chosen
    return Cut(frozenset(), keep=frozenset(keep | elements))  # each of them could go, but not all of them


def _fitting(paths: list[Path], fits: Callable[[frozenset[Path]], bool]) -> frozenset[Path]:
    """Return those of `paths` that fit. Few do not: as many as possible are tried together."""
    found: set[Path] = set()
    parts = [paths] if paths else []
    while parts:
        part = parts.pop()
        if fits(frozenset(part)):
            found.update(part)
        elif len(part) > 1:
            parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    return frozenset(found)


def free(notification: Notification, chosen: Cut) -> Notification:
    """Return `notification` without what was `chosen`."""
    rest = separating.without(bodies.load(notification.body), *chosen)
    return notification._replace(body=b"" if rest is None else bodies.dump(rest))


class _Needed:
    """What a notification says that is not about some people."""

    def __init__(self, notification: Notification, theirs: Facts, decode: DecodeOne) -> None:
        self._notification = notification
        self._decode = decode
        self._trials = 0
        records = [one for one in theirs if not isinstance(one, Rejected)]
        self._keys = {one.key for one in records}
        # What is about our own account has nothing of people, and is to stay as it is.
        self._ours = {one.key: one for one in records if not is_of_people(one)}

    def is_in(self, chosen: Cut) -> bool:
        """Tell whether all of it is there without what was `chosen`; no if it would take too long to tell."""
        if not chosen:
            return True
        there = self._left(chosen)
        return there is not None and self._keys <= there.keys() and self._has_ours(there)

    def is_ours_in(self, chosen: Cut) -> bool:
        """Tell the same of that part of it which is about our own account."""
        if not (self._ours and chosen):
            return True
        there = self._left(chosen)
        return there is not None and self._has_ours(there)

    def _left(self, chosen: Cut) -> dict[bytes, Record] | None:
        """Return what is said without what was `chosen`, by key; None if that was asked too often."""
        self._trials += 1
        if self._trials > _MOST_TRIALS:
            return None
        rest = free(self._notification, chosen)
        facts = self._decode(rest) if rest.body else []
        return {one.key: one for one in facts if not isinstance(one, Rejected)}

    def _has_ours(self, there: dict[bytes, Record]) -> bool:
        return all(there.get(key) == one for key, one in self._ours.items())


def _refused(notification: Notification, whom: Whom, theirs: Facts) -> set[Path]:
    """Return the elements that were refused although they name somebody else, and those around them."""
    refused = [element_of(one) for one in theirs if isinstance(one, Rejected)]
    value = bodies.load(notification.body) if refused else None
    names = {element: _names(value, element) for element in refused}
    others = [element for element, some in names.items() if some and not any(map(whom.is_named, some))]
    return set(separating.surroundings(others)) if others else set()


def _names(value: Any, element: Path) -> list[str]:
    try:
        said = separating.at(value, element)
    except (LookupError, TypeError):  # it is not where it is said to be
        return []
    some = [said.get(part) for part in _NAMES] if isinstance(said, dict) else []
    return [one for one in some if isinstance(one, str) and one]


def element_of(refused: Rejected) -> Path:
    """Return which element of a body was `refused`."""
    return tuple(int(number) if number else name for name, number in _STEP.findall(refused.path))
