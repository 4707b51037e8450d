"""Rows on their way to the server and back: JSON texts of a bounded size, and what SQL Server can store."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from typing import Any, Final, TypeVar

import msgspec

from gatherer.model.records import Record, Rejected
from gatherer.targets import sql_datetime

ROWS: Final = 2000  # of one statement: the locks of a larger one may be turned into a lock of the table
CHARACTERS: Final = 4_000_000  # of one statement's JSON, so that memory does not depend on what people write

_CONTENT_TYPE_CHARACTERS: Final = 1000

Row = tuple[Any, ...]
T = TypeVar("T")
encode = msgspec.json.Encoder().encode


def chunks(
    values: Sequence[T], as_json: Callable[[T], bytes], *, brackets: str = "[]"
) -> Iterator[tuple[str, Sequence[T]]]:
    """Yield `values` in parts for one statement each, as JSON and as they are."""
    texts: list[bytes] = []
    size = start = 0
    for at, value in enumerate(values):
        text = as_json(value)
        if texts and (len(texts) == ROWS or size + len(text) > CHARACTERS):
            yield _joined(texts, brackets), values[start:at]
            texts, size, start = [], 0, at
        texts.append(text)
        size += len(text)
    if texts:
        yield _joined(texts, brackets), values[start:]


def _joined(texts: Sequence[bytes], brackets: str) -> str:
    return brackets[0] + b",".join(texts).decode() + brackets[1]


def to_json(value: object) -> str:
    """Return `value` as JSON, ready to be a parameter."""
    return encode(value).decode()


def as_row(record: Record) -> Row:
    """Return the columns of `record` in the order of its fields, as they are staged."""
    values = msgspec.structs.astuple(record)
    key, provider, endpoint, inbox_id, number, received_at, occurred_at, *rest = values
    return (
        key.hex(),
        provider,
        endpoint,
        inbox_id,
        number,
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


def from_row(table: type[Record], values: Sequence[Any]) -> Record:
    """Return the record of which `values` are the columns, as the server returns them, whatever comes after those."""
    named = dict(zip(table.__struct_fields__, values, strict=False))
    for name in ("received_at", "occurred_at"):
        named[name] = named[name].replace(tzinfo=UTC)
    return table(**named)


def body_as_json(refusal: Rejected) -> bytes:
    """Return the bytes that `refusal` was about as one member of a JSON object."""
    name = refusal.body_key.hex() + (refusal.content_type or "")[:_CONTENT_TYPE_CHARACTERS]
    return encode(name) + b":" + encode(refusal.body.hex())


def storable(refusal: Rejected) -> Rejected:
    """Return `refusal` without what is no text to SQL Server. In records, the decoders see to that."""
    return msgspec.structs.replace(
        refusal,
        path=_text(refusal.path),
        reason=_text(refusal.reason),
        content_type=refusal.content_type and _text(refusal.content_type),
    )


def _text(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\ufffd")
