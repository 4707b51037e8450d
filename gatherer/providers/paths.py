"""Where an element stands in the body of a notification.

A path is the steps from the body to a part of it: the key of an object as a text, the index in an array as a
number that counts from 0. `()` is the whole body. Three rules make every part reachable:

- A body of several lines of JSON is an array of its lines; empty lines do not count.
- A form is an object of its parameters. A parameter with several values is an array.
- A step from a text leads into the JSON in that text, or the lines of JSON, or the form.

As text, a path is `$` with `.key` and `[index]`: `$.entry[0].changes[1].value.statuses[2]`. A key that starts with a
digit, or has other characters than ASCII letters, digits and `_`, is written as JSON in brackets: `$["a key"]`. Two paths
never have the same text.
"""

import json
from functools import lru_cache
from typing import Any, Final, TypeAlias

from gatherer.providers.payload import UnreadableBodyError, load_form, load_json, load_lines

Path: TypeAlias = tuple[str | int, ...]
Paths: TypeAlias = tuple[Path, ...]

WHOLE_BODY: Final[Path] = ()


def path_text(path: Path) -> str:
    """Return `path` as text."""
    return "$" + "".join(map(_step_text, path))


@lru_cache(maxsize=256)  # a path has few and always the same steps, and a body may have many rejections
def _step_text(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if step.isascii() and step.isidentifier():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"


def load_body(body: bytes) -> Any:
    """Return the value that the paths of `body` start from, safe to store as :func:`load_json`'s.

    Raises:
        UnreadableBodyError: it is neither JSON nor lines of JSON nor a form.

    """
    try:
        return load_json(body)
    except UnreadableBodyError:
        lines = load_lines(body)
        if any(type(line) in (dict, list) for line in lines):
            return lines
        return load_form(body)


def resolve(value: Any, path: Path) -> Any:
    """Return the part of `value` to which `path` leads. `value` is that of :func:`load_body`, or a part of it.

    Raises:
        LookupError: there is no such part.

    """
    for number, step in enumerate(path):
        if type(value) is str:
            value = _load_text(value)
        if isinstance(value, dict) if isinstance(step, str) else isinstance(value, list):
            value = value[step]
        else:
            raise LookupError(f"{path_text(path[:number])} has no part {step!r}")
    return value


def _load_text(text: str) -> Any:
    try:
        return load_body(text.encode())
    except UnreadableBodyError:
        return None
