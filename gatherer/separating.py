"""Telling what a body says about some people from what it says about others, whatever the provider.

A body is taken to be about a person where a text or number in it, as a whole, is an identifier of theirs. What
goes is the element around it: the item of the innermost list, and what is left without any item goes with it.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_plus

from gatherer.providers.payload import Unreadable, load_json, load_lines

Knows = Callable[[str], bool]  # is this identifier of one of the people?

_TOKEN: Final = re.compile(r"[^\s\"'&,;<>{}\[\]]{4,1000}")
SHORTEST, _LONGEST = 4, 300  # characters of an identifier


class Separated(NamedTuple):
    """The two parts of a body."""

    rest: bytes  # without the people; empty if nothing is left
    theirs: list[Any]  # the elements about them, as plain values


class _Theirs:
    """What stands in place of a value that is about the people."""


_THEIRS: Final = _Theirs()


def separate(body: bytes, knows: Knows) -> Separated | None:
    """Return the parts of `body`; None if no identifier in it is one that `knows` knows.

    Of JSON in lines, each is looked at alone. What is no JSON, such as a form, is about one person as a whole.
    """
    try:
        value = load_json(body)
    except Unreadable:
        return _separate_unreadable(body, knows)
    theirs: list[Any] = []
    rest = _without(value, knows, theirs)
    if rest is _THEIRS:
        return Separated(b"", [value])
    if not theirs:
        return None
    return Separated(json.dumps(rest, ensure_ascii=False).encode("utf-8", "surrogatepass"), theirs)


def _separate_unreadable(body: bytes, knows: Knows) -> Separated | None:
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1 and not any(isinstance(value, Unreadable) for value in load_lines(body)):
        parts = [separate(line, knows) for line in lines]
        if not any(parts):
            return None
        rests = [line if part is None else part.rest for line, part in zip(lines, parts, strict=True)]
        theirs = [element for part in parts if part is not None for element in part.theirs]
        return Separated(b"\n".join(rest for rest in rests if rest), theirs)
    if any(map(knows, tokens(body))):
        return Separated(b"", [body.decode("utf-8", "replace")])
    return None


def tokens(body: bytes) -> Iterator[str]:
    """Yield what could be an identifier in `body`, a form or anything else."""
    for token in _TOKEN.findall(unquote_plus(body.decode("utf-8", "replace"))):
        yield token
        yield token.partition("=")[2]  # of a form; but ids may end with this sign


def mentions(value: Any, knows: Knows) -> bool:
    """Tell whether an identifier in the plain value `value` is one that `knows` knows."""
    if isinstance(value, dict):
        return any(mentions(item, knows) for item in value.values())
    if isinstance(value, list):
        return any(mentions(item, knows) for item in value)
    return _is_theirs(value, knows)


def _without(value: Any, knows: Knows, theirs: list[Any]) -> Any:
    """Return `value` without the items of its lists that are about the people, which are added to `theirs`.

    `_THEIRS` if it is about them itself, or nothing is left of it.
    """
    if isinstance(value, list):
        kept = []
        for item in value:
            found: list[Any] = []
            rest = _without(item, knows, found)
            if rest is _THEIRS:
                theirs.append(item)
            else:
                theirs.extend(found)
                kept.append(rest)
        return kept if kept or not value else _THEIRS
    if isinstance(value, dict):
        return _dict_without(value, knows, theirs)
    return _THEIRS if _is_theirs(value, knows) else value


def _dict_without(value: dict[str, Any], knows: Knows, theirs: list[Any]) -> Any:
    if any(_is_theirs(item, knows) for item in value.values()):
        return _THEIRS
    kept: dict[str, Any] = {}
    emptied = lists = False
    for name, item in value.items():
        found: list[Any] = []
        rest = _without(item, knows, found)
        if rest is _THEIRS and isinstance(item, dict):
            return _THEIRS
        if rest is _THEIRS:
            theirs.extend(item)
            emptied = True
            continue
        theirs.extend(found)
        kept[name] = rest
        lists = lists or (isinstance(rest, list) and bool(rest))
    return kept if lists or not emptied else _THEIRS


def _is_theirs(value: Any, knows: Knows) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return isinstance(value, str) and SHORTEST <= len(value) <= _LONGEST and knows(value)
