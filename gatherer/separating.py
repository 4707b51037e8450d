"""Telling what a body says about some people from what it says about others, whatever the provider.

A body is taken to be about a person where a text or number in it, as a whole, is an identifier of theirs. The element
around it is the item of the innermost list. Bodies nest as deeply as anybody likes, so nothing here is recursive.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from gatherer.providers.payload import Unreadable, load_json, load_lines

Knows = Callable[[str], bool]  # is this identifier of one of the people?
Path = tuple[str | int, ...]

SHORTEST: Final = 4  # characters of an identifier, and its
_LONGEST: Final = 300
_PARAMETER: Final = re.compile(r"[\w.\[\]-]{1,100}")
_WORD_ENDS: Final = str.maketrans("\"'&,;:<>{}[]()=", " " * 15)


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
            found += [Mention(element, place, word) for word in _words(item) if _is_known(word, knows)][:1]
        elif _is_known(item, knows):
            found.append(Mention(element, place, str(item)))
    return found


def without(value: Any, elements: Collection[Path], places: Collection[Path] = ()) -> Any:
    """Return `value`, which is used up, without `elements`, and in what is left of it without what stands at `places`.

    What has no item left in any of its lists, after it lost some, goes as well. None: nothing is left.
    """
    gone = object()
    for place in sorted(places, key=len, reverse=True):  # what is inside first
        at(value, place[:-1])[place[-1]] = gone
    removed: set[Path] = set()
    changed: set[Path] = set()  # lists that lost items

    def remove(element: Path) -> None:
        at(value, element[:-1])[element[-1]] = gone
        removed.add(element)
        changed.add(element[:-1])

    for element in sorted(elements, key=len):  # what is outside first: what is inside went with it
        if not element:
            return None
        if not _is_inside(element, removed):
            remove(element)
    while changed:
        place = max(changed, key=len)
        changed.remove(place)
        if _is_inside(place, removed) or any(item is not gone for item in at(value, place)):
            continue
        around = _element_around(value, place)
        if _has_items(at(value, around), gone):
            at(value, place[:-1])[place[-1]] = gone
        elif not around:
            return None
        else:
            remove(around)
    return _swept(value, gone)


def load(body: bytes) -> Any:
    """Return `body` as plain values: JSON, the parameters of a form, or a list of what stands in its lines.

    What cannot be read stays bytes: the whole, or a line of several.
    """
    try:
        return load_json(body)
    except Unreadable:
        return _form(body) or _lines(body) or body


def dump(value: Any) -> bytes:
    """Return `value`, as `load` has returned it, as a body; an empty one if it is nested too deeply for that."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, _Form):
        return urlencode(value).encode()
    if isinstance(value, _Lines):
        return b"\n".join(dump(line) for line in value)
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b""


class _Form(dict[str, str]):
    """The parameters of a form."""


class _Lines(list[Any]):
    """What stands in the lines of a body, as relays collect posts."""


def _form(body: bytes) -> _Form | None:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return None
    return _Form(pairs) if all(_PARAMETER.fullmatch(name) for name, _ in pairs) else None


def _lines(body: bytes) -> _Lines | None:
    lines = [line for line in body.splitlines() if line.strip()]
    values = load_lines(body)
    if len(lines) < 2 or len(lines) != len(values) or not isinstance(values[0], dict | list):
        return None
    return _Lines(
        line if isinstance(value, Unreadable) else value for line, value in zip(lines, values, strict=True)
    )


def _words(body: bytes) -> Iterator[str]:
    """Yield what could be an identifier in what cannot be read."""
    for word in body.decode("utf-8", "replace").split():
        yield word
        yield from word.translate(_WORD_ENDS).split()


def _is_known(value: Any, knows: Knows) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return isinstance(value, str) and SHORTEST <= len(value) <= _LONGEST and knows(value)


def at(value: Any, place: Path) -> Any:
    """Return what stands at `place` in `value`."""
    for step in place:
        value = value[step]
    return value


def _element_around(value: Any, place: Path) -> Path:
    """Return the path of the item of a list that the list at `place` is in; () if it is in none."""
    for length in range(len(place) - 1, -1, -1):
        if isinstance(place[length], int) and isinstance(at(value, place[:length]), list):
            return place[: length + 1]
    return ()


def _is_inside(place: Path, elements: Collection[Path]) -> bool:
    return any(place[:length] in elements for length in range(1, len(place) + 1))


def _has_items(element: Any, gone: object) -> bool:
    """Tell whether any list in `element` still has an item."""
    waiting = [element]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            if any(inner is not gone for inner in item):
                return True
        elif isinstance(item, dict):
            waiting += item.values()
    return False


def _swept(value: Any, gone: object) -> Any:
    """Return `value`, changed in place, without what is `gone`."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            for name in [name for name, inner in item.items() if inner is gone]:
                del item[name]
            waiting += item.values()
        elif isinstance(item, list):
            item[:] = [inner for inner in item if inner is not gone]
            waiting += item
    return value
