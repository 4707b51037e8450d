"""Telling what a body says about some people from what it says about others, whatever the provider.

A body is taken to be about a person where a text or number in it, as a whole, is an identifier of theirs. The element
around it is the item of the innermost list. Texts that are JSON themselves are stepped through like the values that
stand in them. Bodies nest as deeply as anybody likes, so nothing here is recursive.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple

from gatherer.privacy.bodies import inside, words, written

Knows = Callable[[str], bool]  # is this identifier of one of the people?
Path = tuple[str | int, ...]

SHORTEST: Final = 4  # characters of an identifier, and its
_LONGEST: Final = 300
_GONE: Final = object()


class Mention(NamedTuple):
    """Where an identifier stands."""

    element: Path  # the item of the innermost list around it; () is the whole body
    place: Path
    text: str


def mentions(value: Any, knows: Knows) -> list[Mention]:
    """Return where in the plain value `value` identifiers stand that `knows` knows, be it as names in an object."""
    found = []
    waiting: list[tuple[Path, Path, Any]] = [((), (), value)]
    while waiting:
        element, place, item = waiting.pop()
        if isinstance(item, dict):
            for name, inner in item.items():
                if _is_known(name, knows):
                    found.append(Mention(element, (*place, name), name))
                waiting.append((element, (*place, name), inner))
        elif isinstance(item, list):
            waiting += [((*place, i), (*place, i), inner) for i, inner in enumerate(item)]
        elif isinstance(item, bytes):
            found += [Mention(element, place, word) for word in words(item) if _is_known(word, knows)][:1]
        elif _is_known(item, knows):
            found.append(Mention(element, place, str(item)))
        elif isinstance(item, str) and (nested := inside(item)) is not None:
            waiting.append((element, place, nested))
    return found


def without(
    value: Any, elements: Collection[Path], places: Collection[Path] = (), keep: Collection[Path] = ()
) -> Any:
    """Return `value`, which is used up, without `elements`, and in what is left of it without what stands at `places`.

    The element around lists of which no item is left goes as well, unless it is one of those to `keep`; from that go
    the lists, as do objects that lost all they had. None: nothing is left.
    """
    if () in elements or () in places:
        return None
    opened = _open(value, [*elements, *places])
    removed: set[Path] = set()
    changed: set[Path] = set()  # lists that lost items

    def remove(place: Path) -> None:
        at(value, place[:-1])[place[-1]] = _GONE
        removed.add(place)

    def empty(place: Path) -> None:
        """Remove what is there, and what holds nothing then."""
        while place:
            remove(place)
            place = place[:-1]
            if any(inner is not _GONE for inner in _items(at(value, place))):
                return

    for element in sorted(elements, key=len):  # what is outside first: what is inside went with it
        if not is_inside(element, removed):
            remove(element)
            changed.add(element[:-1])
    while changed:
        place = max(changed, key=len)
        changed.remove(place)
        if is_inside(place, removed) or any(item is not _GONE for item in at(value, place)):
            continue
        around = _element_around(place)
        if around in keep or _has_items(at(value, around)):
            empty(place)
        elif not around:
            return None
        else:
            remove(around)
            changed.add(around[:-1])
    for place in sorted(places, key=len):
        if not is_inside(place, removed):
            empty(place)
    for place in sorted(opened, key=len, reverse=True):  # what is inside first
        if not is_inside(place, removed):
            at(value, place[:-1])[place[-1]] = written(_swept(at(value, place)))
    return _swept(value) or None


def at(value: Any, place: Path) -> Any:
    """Return what stands at `place` in `value`."""
    for step in place:
        value = inside(value) if isinstance(value, str) else value
        value = value[step]
    return value


def surroundings(elements: Iterable[Path]) -> list[Path]:
    """Return `elements` and those around them, the outer ones first."""
    found = {one[:length] for one in elements for length in range(1, len(one) + 1) if _is_item(one[:length])}
    return [(), *sorted(found, key=lambda one: (len(one), str(one)))]


def is_inside(place: Path, elements: Collection[Path]) -> bool:
    """Tell whether `place` is one of `elements`, or inside one."""
    return any(place[:length] in elements for length in range(len(place) + 1))


def _open(value: Any, places: Iterable[Path]) -> set[Path]:
    """Put what stands inside texts on the way to `places` where those texts are; return where those were."""
    opened = set()
    for place in places:
        for length in range(1, len(place)):
            item = at(value, place[:length])
            if isinstance(item, str):
                at(value, place[: length - 1])[place[length - 1]] = inside(item)
                opened.add(place[:length])
    return opened


def _is_known(value: Any, knows: Knows) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return isinstance(value, str) and SHORTEST <= len(value) <= _LONGEST and knows(value)


def _is_item(place: Path) -> bool:
    return isinstance(place[-1], int)


def _element_around(place: Path) -> Path:
    """Return the path of the item of a list that the list at `place` is in; () if it is in none."""
    return next((place[:length] for length in range(len(place), 0, -1) if _is_item(place[:length])), ())


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _has_items(element: Any) -> bool:
    """Tell whether any list in `element` still has an item."""
    waiting = [element]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            if any(inner is not _GONE for inner in item):
                return True
        elif isinstance(item, dict):
            waiting += item.values()
    return False


def _swept(value: Any) -> Any:
    """Return `value`, changed in place, without what is gone."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name in [name for name, inner in item.items() if inner is _GONE]:
                del item[name]
            waiting += item.values()
        elif isinstance(item, list):
            item[:] = [inner for inner in item if inner is not _GONE]
            waiting += item
    return value
