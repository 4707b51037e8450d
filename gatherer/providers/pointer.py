"""JSON Pointers (RFC 6901) that select parts of a body, with `*` for all elements of an array.

`/results/0/id` leads to the member `id` of the first element of the member `results`; an empty pointer is the whole
document. In a token, `~1` is `/` and `~0` is `~`. Two rules are ours:

- `*` selects each element of an array. Senders write an array of one element without its brackets, and leave out
  an empty one: any other value is the only element, and null has none.
- A step from a text leads into the JSON in that text, as the paths of `gatherer/providers/paths.py` do.

Where a sender has a member called `*`, no pointer leads to it.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from gatherer.providers.paths import WHOLE_BODY, Path
from gatherer.providers.payload import UnreadableBodyError, load_json

EACH: Final = "*"
_WRONG_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)  # no array of a body has more elements


class Part(NamedTuple):
    """A part of a document, and where it stands."""

    path: Path
    value: Any


class Selection(NamedTuple):
    """What a pointer finds in a document, in the order of the document."""

    found: list[Part]
    missed: list[Part]  # the parts at which a step leads nowhere; they have no elements in `found`


@dataclass(frozen=True, slots=True)
class Pointer:
    """A JSON Pointer. Make one with :meth:`parse`."""

    tokens: tuple[str, ...]  # unescaped

    @classmethod
    def parse(cls, text: str) -> "Pointer":
        """Return the pointer written as `text`.

        Raises:
            ValueError: it is not a pointer. The message says what to write instead.

        """
        if text and not text.startswith("/"):
            raise ValueError(
                'a JSON Pointer begins with a slash, as in "/results/0/id"; "" is the whole document'
            )
        if _WRONG_ESCAPE.search(text):
            raise ValueError("in a JSON Pointer, write ~0 for ~ and ~1 for / inside a name")
        return cls(tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]))

    def __str__(self) -> str:
        """Return the pointer as it is written."""
        return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in self.tokens)

    @property
    def is_plural(self) -> bool:
        """Whether it can select several parts, because it has a `*`."""
        return EACH in self.tokens

    def select(self, document: Any) -> Selection:
        """Return the parts of `document`, a decoded JSON value, that the pointer leads to.

        The cost is linear in the size of the document. Each part of the document is found or missed at most once.
        """
        found, missed = [Part(WHOLE_BODY, document)], []
        for token in self.tokens:
            parts, found = found, []
            for part in parts:
                path, value = part
                if type(value) is str:
                    value = _load_text(value)
                if token == EACH:
                    if type(value) is list:
                        found += [Part((*path, i), element) for i, element in enumerate(value)]
                    elif value is not None:
                        found.append(part)
                elif type(value) is dict and token in value:
                    found.append(Part((*path, token), value[token]))
                elif type(value) is list and (index := _index(token, value)) is not None:
                    found.append(Part((*path, index), value[index]))
                else:
                    missed.append(part)
        return Selection(found, missed)

    def first(self, document: Any) -> Any:
        """Return the value of the first part that :meth:`select` finds, or None. Cheap for a pointer without `*`."""
        value = document
        for number, token in enumerate(self.tokens):
            if token == EACH:
                found = Pointer(self.tokens[number:]).select(value).found
                return found[0].value if found else None
            if type(value) is str:
                value = _load_text(value)
            if type(value) is dict:
                value = value.get(token)
            elif type(value) is list and (index := _index(token, value)) is not None:
                value = value[index]
            else:
                return None
        return value


def _index(token: str, array: list[Any]) -> int | None:
    """Return the position of an element of `array` that `token` names; None if there is no such element."""
    if _INDEX.fullmatch(token) is None:
        return None
    index = int(token)
    return index if index < len(array) else None


def _load_text(text: str) -> Any:
    """Return the JSON value in `text`; the text itself where it is not JSON, so that no further step leads anywhere."""
    try:
        return load_json(text.encode())
    except UnreadableBodyError:
        return text
