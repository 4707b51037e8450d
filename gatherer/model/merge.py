"""The one rule by which two deliveries of one fact become one record.

It is commutative, associative and idempotent, so that rows do not depend on the order of arrival: what
is None gets filled, and where two deliveries contradict each other the smaller value in binary order
wins, per group of columns that belong together. The targets' upserts say the same in SQL.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from gatherer.model.records import Record, Response

R = TypeVar("R", bound=Record)

# Columns that only make sense together. The first tells which side wins where it differs, then the next…
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("occurred_at_source", "occurred_at"),
    ("received_at", "inbox_id", "notification_id", "endpoint", "provider"),
    ("errors", "error_code", "error_title", "error_details"),
)

# What a person wrote. A target blanks it when it has become too old, and then never fills it again.
TEXT: Final = ("reply_text", "reply_payload", "details")
# Where people can be mentioned in what is about somebody else.
MENTIONING: Final = (*TEXT, "client_reference")


def blanked(record: Response) -> Response:
    """Return `record` without what the person wrote."""
    return msgspec.structs.replace(record, **dict.fromkeys(TEXT))


def merge(one: R, other: R) -> R:
    """Return the record that both deliveries of one fact amount to. Both must have the same key."""
    changes: dict[str, Any] = {}
    for group in _groups(type(one)):
        mine = [getattr(one, name) for name in group]
        theirs = [getattr(other, name) for name in group]
        if _rank(theirs) < _rank(mine):
            changes.update(zip(group, theirs, strict=True))
    return msgspec.structs.replace(one, **changes) if changes else one


@cache
def _groups(table: type[Record]) -> list[tuple[str, ...]]:
    """Return all columns of `table` in groups; most stand alone."""
    names = table.__struct_fields__
    together = [group for group in TOGETHER if set(group) <= set(names)]
    grouped = {name for group in together for name in group}
    return together + [(name,) for name in names if name not in grouped]


def _rank(values: Sequence[Any]) -> tuple[tuple[bool, Any], ...]:
    """Order None after every value, so that it never wins and is always filled."""
    return tuple((value is None, 0 if value is None else value) for value in values)


def fold(records: Iterable[R]) -> list[R]:
    """Return one record per key, each the merge of all that share it, in order of first appearance."""
    folded: dict[bytes, R] = {}
    for record in records:
        key = record.key
        known = folded.setdefault(key, record)
        if known is not record:
            folded[key] = merge(known, record)
    return list(folded.values())
