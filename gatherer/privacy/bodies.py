"""Bodies of notifications as plain values and back, whatever the provider, and texts that are JSON themselves."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

from gatherer.model.notification import body_key
from gatherer.providers.elements import as_json
from gatherer.providers.payload import UnreadableBodyError, load_form, load_json, load_lines

_PARAMETER: Final = re.compile(r"[\w.\[\]-]{0,100}")
_WORD_ENDS: Final = str.maketrans("\"'&,;:<>{}[]()=", " " * 15)
_OF_THE_DELIVERY: Final = frozenset(
    {"RetryCount"}
)  # parameters that say how often a form came, not what it says


def load(body: bytes) -> Any:
    """Return `body` as plain values: JSON, the parameters of a form, or a list of what stands in its lines.

    What cannot be read stays bytes: the whole, or a line of several. What a provider can read is read.
    """
    try:
        return load_json(body)
    except UnreadableBodyError:
        return _form(body) or _lines(body) or body


def dump(value: Any) -> bytes:
    """Return `value`, as `load` has returned it, as a body; an empty one if it is nested too deeply for that."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, _Form):
        return urlencode(value, doseq=True).encode()
    if isinstance(value, _Lines):
        return b"\n".join(dump(line) for line in value)
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b""


def digest(element: Any) -> bytes:
    """Return 16 bytes that identify `element` of a body, in whatever order and with whatever others it comes."""
    if isinstance(element, bytes):
        return body_key(element)
    if isinstance(element, _Form):
        element = {name: value for name, value in element.items() if name not in _OF_THE_DELIVERY}
    return body_key(written(element).encode("utf-8", "surrogatepass"))


def written(value: Any) -> str:
    """Return `value` as the JSON that decoding makes of it; an empty text if it is nested too deeply for that."""
    try:
        return as_json(value)
    except RecursionError:
        return ""
    except Exception:  # noqa: BLE001 - a number or text that goes beyond what decoding can write
        return dump(value).decode("utf-8", "replace")


def inside(text: str) -> dict[str, Any] | list[Any] | None:
    """Return what stands in `text` if it is a JSON object or array, and else None."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        value = load_json(text.encode("utf-8", "surrogatepass"))
    except UnreadableBodyError:
        return None
    return value if isinstance(value, dict | list) else None


class _Form(dict[str, "str | list[str]"]):
    """The parameters of a form; several values of one are a list."""


class _Lines(list[Any]):
    """What stands in the lines of a body, as relays collect posts."""


def _form(body: bytes) -> _Form | None:
    try:
        parameters = load_form(body)
    except UnreadableBodyError:
        return None
    return _Form(parameters) if b"=" in body and all(map(_PARAMETER.fullmatch, parameters)) else None


def _lines(body: bytes) -> _Lines | None:
    lines = [line for line in body.splitlines() if line.strip()]
    values = load_lines(body)
    if len(lines) < 2 or len(lines) != len(values):
        return None
    if not any(isinstance(value, dict | list) for value in values):
        return None
    return _Lines(
        line if isinstance(value, UnreadableBodyError) else value
        for line, value in zip(lines, values, strict=True)
    )


def words(body: bytes) -> Iterator[str]:
    """Yield what could be an identifier in what cannot be read."""
    for word in body.decode("utf-8", "replace").split():
        yield word
        yield from word.translate(_WORD_ENDS).split()
