"""The one rule by which two deliveries of one fact become one record.

It is commutative, associative and idempotent, so that rows do not depend on the order of arrival: None is filled, and
where two deliveries contradict each other the smaller value in binary order wins, per group of columns that belong
together. The upsert of the SQLite target is the same rule in SQL.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, TypeVar

import msgspec

from gatherer.model.records import Record, Rejected, Response

R = TypeVar("R", bound=Record)

# Where a fact was received first. Every redelivery has other values here, and changes nothing by them.
RECEIPT: Final = ("received_at", "inbox_id", "notification_id", "endpoint", "provider")

# Columns that only make sense together. The first one decides which delivery wins; if it is equal, the next one does…
TOGETHER: Final[tuple[tuple[str, ...], ...]] = (
    ("occurred_at_source", "occurred_at"),
    RECEIPT,
    ("errors", "error_code", "error_title", "error_details"),
)

# What a person wrote. A target blanks it when it has become too old, and then never fills it again.
TEXT: Final = ("reply_text", "reply_payload", "details")
# Columns that can mention a person in a record about another person.
MENTIONING: Final = (*TEXT, "client_reference")


def blanked(record: Response) -> Response:
    """Return `record` without what the person wrote."""
    return msgspec.structs.replace(record, **dict.fromkeys(TEXT))


def merge(left: R, right: R) -> R:
    """Return the record that two deliveries of one fact, `left` and `right`, become. Both must have the same key."""
    changes: dict[str, Any] = {}
    for group in _groups(type(left)):
        left_values = [getattr(left, name) for name in group]
        right_values = [getattr(right, name) for name in group]
        if _rank(right_values) < _rank(left_values):
            changes.update(zip(group, right_values, strict=True))
    return msgspec.structs.replace(left, **changes) if changes else left


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
    by_key: dict[bytes, R] = {}
    for record in records:
        key = record.key
        first = by_key.setdefault(key, record)
        if first is not record:
            by_key[key] = merge(first, record)
    return list(by_key.values())


def merge_rejections(first: Rejected, second: Rejected) -> Rejected:
    """Return the one rejection for two deliveries of the same key: the earlier receipt, and the content type of both."""
    earlier = min(first, second, key=_receipt)
    types = content_types((first, second))
    return msgspec.structs.replace(earlier, content_type=types[earlier.body_key])


def content_types(rejections: Iterable[Rejected]) -> dict[bytes, str | None]:
    """Return the content type of each rejected body by its key: of several the first in binary order, any before none.

    One body can arrive with different types. The SQL of both targets has the same rule: the order of arrival plays no part.
    """
    types: dict[bytes, str | None] = {}
    for rejected in rejections:
        known = types.get(rejected.body_key)
        if known is None or (rejected.content_type is not None and rejected.content_type < known):
            types[rejected.body_key] = rejected.content_type
    return types


def _receipt(rejected: Rejected) -> tuple[datetime, str, int, str]:
    return rejected.received_at, rejected.inbox_id, rejected.notification_id, rejected.endpoint
