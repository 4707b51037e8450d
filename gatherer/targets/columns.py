"""The columns of the tables with facts, read from the fields of the record types.

The upserts of both engines are rendered from them, and `gatherer schema check` compares the tables with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from gatherer.model.records import TABLES, Record, Rejected, Width

DataType = Literal["bytes", "text", "integer", "real", "boolean", "time"]

_TYPES: Final[dict[type, DataType]] = {
    bytes: "bytes",
    str: "text",
    int: "integer",
    float: "real",
    bool: "boolean",
    datetime: "time",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    type: DataType
    width: int | None = None  # the most bytes or UTF-16 units it stores; None: unlimited, or not a text
    nullable: bool = False


_ID: Final = Column(name="id", type="integer")  # counts up, so that new rows go to the end of the table
# The column in which a target keeps the id that a notification told, where it has put WhatsApp's id in its place.
ORIGINAL: Final = {"message_id": "original_message_id", "about_message_id": "original_about_id"}
_INSERTED_AT: Final = Column(name="inserted_at", type="time")
_CHANGED_AT: Final = Column(name="changed_at", type="time")
# The number of the transaction of the last insert or update, for incremental readers.
_COMMIT_NUMBER: Final = Column(name="commit_number", type="integer")
# When the text of an answer was removed because it had become too old.
_BLANKED_AT: Final = Column(name="blanked_at", type="time", nullable=True)
# Its number before that, for readers to whom a row without its text is not a new one.
_TOLD_COMMIT_NUMBER: Final = Column(name="told_commit_number", type="integer", nullable=True)
# When a later success resolved the rejection.
_RESOLVED_AT: Final = Column(name="resolved_at", type="time", nullable=True)


@cache
def columns(table: type[Record] | type[Rejected]) -> tuple[Column, ...]:
    """Return the columns that the fields of `table` declare, in the order of the fields."""
    return tuple(
        _column(field.name, field.type)
        for field in msgspec.structs.fields(table)
        if table is not Rejected or field.name not in Rejected.body_fields
    )


@cache
def tables() -> dict[str, tuple[Column, ...]]:
    """Return all columns of each table with facts by its name: the declared ones, and those that targets add."""
    written = {
        record.table: (_ID, *columns(record), _INSERTED_AT, _CHANGED_AT, _COMMIT_NUMBER) for record in TABLES
    }
    originals = (Column(name=name, type="text", width=450, nullable=True) for name in ORIGINAL.values())
    written["response"] += (_BLANKED_AT, _TOLD_COMMIT_NUMBER, *originals)
    written[Rejected.table] = (_ID, *columns(Rejected), _INSERTED_AT, _RESOLVED_AT)
    return written


def _column(name: str, annotation: Any) -> Column:
    """Return the column `name` that a field with `annotation` declares."""
    parts = tuple(_parts(annotation))
    widths = [part.units for part in parts if isinstance(part, Width)]
    (type_,) = {_type(part) for part in parts if part is not NoneType and not isinstance(part, Width)}
    return Column(name=name, type=type_, width=widths[0] if widths else None, nullable=NoneType in parts)


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the types and the width in `annotation`, which may be a union and annotated."""
    if get_origin(annotation) is Literal or not get_args(annotation):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _parts(part)


def _type(annotation: Any) -> DataType:
    if get_origin(annotation) is Literal or issubclass(annotation, StrEnum):
        return "text"
    return _TYPES[annotation]
