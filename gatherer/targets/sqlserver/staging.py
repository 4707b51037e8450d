"""Rows on their way to the server and back: as JSON texts of a bounded size, with text that SQL Server can store."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any, Final, TypeVar

import msgspec

from gatherer.model.records import Record, Rejected
from gatherer.targets import sql_datetime

ROWS: Final = 2000  # of one statement: the locks of a larger one may be turned into a lock of the table
CHARACTERS: Final = 4_000_000  # of one statement's JSON, so that long texts do not need more memory

_CONTENT_TYPE_CHARACTERS: Final = 1000

Row = tuple[Any, ...]
T = TypeVar("T")
encode = msgspec.json.Encoder().encode


def chunks(
    values: Sequence[T], as_json: Callable[[T], bytes], *, brackets: str = "[]"
) -> Iterator[tuple[str, Sequence[T]]]:
    """Yield `values` in chunks for one statement each: as JSON text, and as they are.

    `as_json` returns one value as JSON; `brackets` are put around each chunk.
    """
    texts: list[bytes] = []
    size = start = 0
    for index, value in enumerate(values):
        text = as_json(value)
        if texts and (len(texts) == ROWS or size + len(text) > CHARACTERS):
            yield _joined(texts, brackets), values[start:index]
            texts, size, start = [], 0, index
        texts.append(text)
        size += len(text)
    if texts:
        yield _joined(texts, brackets), values[start:]


def _joined(texts: Sequence[bytes], brackets: str) -> str:
    return brackets[0] + b",".join(texts).decode() + brackets[1]


def to_json(value: object) -> str:
    """Return `value` as JSON for a parameter."""
    return encode(value).decode()


def as_row(record: Record) -> Row:
    """Return the columns of `record` in the order of its fields, as they are staged."""
    values = msgspec.structs.astuple(record)
    key, provider, endpoint, inbox_id, notification_id, received_at, occurred_at, *rest = values
    return (
        key.hex(),
        provider,
        endpoint,
        inbox_id,
        notification_id,
        sql_datetime.text(received_at),
        sql_datetime.text(occurred_at),
        *rest,
    )


def rejected_as_row(rejected: Rejected) -> Row:
    """Return the columns of `rejected` in the order of its fields, as they are staged."""
    return (
        rejected.key.hex(),
        rejected.provider,
        rejected.endpoint,
        rejected.inbox_id,
        rejected.notification_id,
        sql_datetime.text(rejected.received_at),
        rejected.path,
        str(rejected.reason_class),
        rejected.reason,
        rejected.body_key.hex(),
    )


def as_json(record: Record) -> bytes:
    """Return the staged columns of `record` as a JSON array."""
    return encode(as_row(record))


def rejected_as_json(rejected: Rejected) -> bytes:
    """Return the staged columns of `rejected` as a JSON array."""
    return encode(rejected_as_row(rejected))


def from_row(table: type[Record], row: Sequence[Any]) -> Record:
    """Return the record of which `row`, as the server returns it, begins with the columns in the order of the fields."""
    values = dict(zip(table.__struct_fields__, row, strict=False))
    for name in ("received_at", "occurred_at"):
        values[name] = values[name].replace(tzinfo=UTC)
    return table(**values)


def body_as_json(rejected: Rejected) -> bytes:
    """Return the body of the rejected notification as one member of a JSON object, named after its key and type."""
    name = rejected.body_key.hex() + (rejected.content_type or "")[:_CONTENT_TYPE_CHARACTERS]
    return encode(name) + b":" + encode(rejected.body.hex())


def storable(rejected: Rejected) -> Rejected:
    """Return `rejected` with texts that SQL Server can store. The decoders make sure of that in records."""
    return msgspec.structs.replace(
        rejected,
        path=_text(rejected.path),
        reason=_text(rejected.reason),
        content_type=rejected.content_type and _text(rejected.content_type),
    )


def _text(text: str) -> str:
    """Return `text` with U+FFFD in place of lone surrogates and U+0000."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")
