"""Values that are longer than their column, and the form in which a target stores them.

The form depends on the declared width alone, not on the engine. A text becomes its longest prefix that fits. An id
becomes a shorter prefix, `#` and 32 hexadecimal digits of its hash, so that different ids stay different::

    wamid.HBgLMTU1NTAwMDExMTEVAgARGBI…#0A3F8C…

SQL can build it as well: the hash is what `HASHBYTES('SHA2_256', …)` returns for an `nvarchar`. The whole value goes into
the details of the record.
"""

import re
from collections.abc import Callable, MutableSequence
from functools import cache
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final, NamedTuple, get_args, get_origin

import msgspec

from gatherer.model.records import Record, Rejected, Response, Width

DETAIL: Final = "long_values"  # in the details: the whole values by the name of their column
# Columns whose values are gatherer's own words, or names that the configuration limits.
_OWN: Final = frozenset({"provider", "endpoint", "inbox_id", "occurred_at_source", "kind"})
_DIGITS: Final = 32  # hexadecimal, of the hash

_SHORT: Final = 64  # characters: no column that a provider fills is narrower
# Passes from quote to quote over texts of at most _SHORT bytes, without a look at each byte.
_SHORT_TEXTS: Final = re.compile(rb"(?s:.{0,%d}\")*+" % _SHORT)

_encode = msgspec.json.Encoder(order="sorted").encode


def units(text: str) -> int:
    """Return the length of `text` in UTF-16 code units, in which SQL Server counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def stored_text(text: str, width: Width) -> str:
    """Return `text` as a column of `width` stores it: unchanged if it fits. The stored form stays as it is."""
    if 2 * len(text) <= width.units or units(text) <= width.units:
        return text
    encoded = text.encode("utf-16-le", "surrogatepass")
    if not width.is_id:
        return _prefix(encoded, width.units)
    return f"{_prefix(encoded, width.units - _DIGITS - 1)}#{sha256(encoded).hexdigest()[:_DIGITS].upper()}"


def _prefix(encoded: bytes, count: int) -> str:
    """Return at most `count` units of a text in UTF-16LE, without half of a surrogate pair at the end."""
    return encoded[: 2 * count].decode("utf-16-le", "ignore")


class _Columns(NamedTuple):
    """The texts of a table that have a width, in the order of the fields."""

    values: Callable[[Record], tuple[str | None, ...]]
    lengths: tuple[int, ...]  # in characters: a text of no more fits, also if each is a surrogate pair
    widths: tuple[tuple[str, Width], ...]


@cache
def _columns(table: type[Record]) -> _Columns:
    widths = tuple(
        (field.name, width)
        for field in msgspec.structs.fields(table)
        if field.name not in _OWN and (width := _width(field.type)) is not None
    )
    return _Columns(
        values=attrgetter(*(name for name, _ in widths)),
        lengths=tuple(width.units // 2 for _, width in widths),
        widths=widths,
    )


def _width(annotation: Any) -> Width | None:
    """Return the width that the `annotation` of a text declares; None for anything else."""
    if str not in (annotation, *(part for part in _parts(annotation))):
        return None
    return next((part for part in _parts(annotation) if isinstance(part, Width)), None)


def _parts(annotation: Any) -> list[Any]:
    if get_origin(annotation) is None:
        return [annotation]
    return [part for argument in get_args(annotation) for part in _parts(argument)]


def width(table: type[Record], name: str) -> Width:
    """Return the width of the column `name` of `table`, which has one."""
    return dict(_columns(table).widths)[name]


def may_be_long(body: bytes, facts: MutableSequence[Record | Rejected]) -> bool:
    """Return whether a text in the JSON `body`, or a client reference in `facts`, which it was decoded to, can be long.

    A text has no more UTF-16 units than bytes, and every text is between two quotes or has none, as a form. Client
    references are looked at because they can be JSON that was composed of short texts.
    """
    match = _SHORT_TEXTS.match(body)
    if match is None or len(body) - match.end() > _SHORT:
        return True
    for fact in facts:
        if (
            type(fact) is Response
            and (reference := fact.client_reference) is not None
            and len(reference) > _SHORT
        ):
            return True
    return False


def fit(facts: MutableSequence[Record | Rejected], detail_characters: int) -> None:
    """Replace each record in `facts` of which a value is longer than its column by one that fits.

    Args:
        facts: what one notification is decoded to.
        detail_characters: how many characters of whole values may be added to details in all. The elements of a body can
            share a long value: each would keep a copy of it.

    """
    forms: dict[tuple[str, Width], str] = {}  # a value that many elements share is hashed once
    for i, fact in enumerate(facts):
        if isinstance(fact, Rejected):
            continue
        columns = _columns(type(fact))
        changes: dict[str, str] = {}
        whole: dict[str, str] = {}
        for value, length, (name, width) in zip(
            columns.values(fact),
            columns.lengths,
            columns.widths,
            strict=True,
        ):
            if value is None or len(value) <= length:
                continue
            if (form := forms.get((value, width))) is None:
                form = forms[value, width] = stored_text(value, width)
            if form is not value:
                changes[name], whole[name] = form, value
        if not changes:
            continue
        detail_characters -= sum(map(len, whole.values()))
        if detail_characters >= 0:
            changes["details"] = _with_detail(getattr(fact, "details", None), whole)
        facts[i] = msgspec.structs.replace(fact, **changes)


def _with_detail(details: str | None, whole: dict[str, str]) -> str:
    """Return `details` as a JSON object that has the `whole` values as well."""
    try:
        content = msgspec.json.decode(details or "{}")
    except (msgspec.DecodeError, RecursionError):
        content = details
    if not isinstance(content, dict):  # a mapping of the configuration made them something else
        content = {"details": content}
    return _encode(content | {DETAIL: whole}).decode()
