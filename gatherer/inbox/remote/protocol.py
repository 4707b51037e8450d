"""Notifications on their way from one machine to another: frames that can be told from damaged ones.

A frame is a head of 40 bytes and a payload:

    4 bytes   what the payload is: "GNB1", a batch of notifications, or "GNE1", the end of the answer
    4 bytes   length of the payload, the most significant byte first
    32 bytes  SHA-256 over those 8 bytes and the payload

The payload of a batch is a zlib stream of a MessagePack array, with one array for each notification: id,
received at (ms since 1970, UTC), endpoint, provider, body (binary), content type, headers (a JSON object as
text), remote address, and the digest of what was received if something was erased from it since (binary);
the last four may be nil. The payload of the end is a MessagePack map: `inbox_id`,
the identity of the inbox; `count`, how many notifications the answer has; `last_id`, the id of the last of
them, nil if there is none. An answer without an end was cut off. Whatever came before is whole.

What is JSON goes without frames: the header `Content-Digest` says whether it has arrived as it was sent.
"""

import base64
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from gatherer.inbox.base import Row

VERSION: Final = 1
MEDIA_TYPE: Final = "application/vnd.gatherer.notifications"
LARGEST: Final = 2**28  # bytes of a payload, also when it is unpacked: what is larger is damaged
_BATCH: Final = b"GNB1"
_END: Final = b"GNE1"
_START: Final = struct.Struct(">4sI")
_HEAD_BYTES: Final = _START.size + hashlib.sha256().digest_size
_LEVEL: Final = 1  # of zlib: a tenth of the bytes of JSON, at the price of a few seconds per million


class End(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole answer was."""

    inbox_id: str
    count: int
    last_id: int | None


class CorruptFrameError(Exception):
    """This is not what was sent, or not all of it."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_rows: Final = msgspec.msgpack.Decoder(list[Row]).decode
_decode_end: Final = msgspec.msgpack.Decoder(End).decode


def digest(content: bytes) -> str:
    """Return the header `Content-Digest` (RFC 9530) of `content`."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def of_batch(rows: Sequence[Row]) -> bytes:
    """Return the frame of a batch of notifications."""
    return _frame(_BATCH, zlib.compress(_encode(rows), _LEVEL))


def of_end(end: End) -> bytes:
    """Return the frame that ends an answer."""
    return _frame(_END, _encode(end))


def _frame(kind: bytes, payload: bytes) -> bytes:
    start = _START.pack(kind, len(payload))
    return start + _checksum(start, payload) + payload


def _checksum(start: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(start)
    digest.update(payload)
    return digest.digest()


def read(receive: Callable[[int], bytes], *, inbox_id: str, after: int) -> Iterator[list[Row]]:
    """Yield the batches of one answer, and return once its end has come.

    Args:
        receive: returns the next bytes of the answer, as many as it is told, fewer only at its end.
        inbox_id: the inbox that was asked.
        after: the id after which notifications were asked for.

    Raises:
        CorruptFrameError: the answer was cut off, or it is not what was sent. What has been yielded is whole.

    """
    count, last_id = 0, after
    while True:
        head = _exactly(receive, _HEAD_BYTES)
        start, checksum = head[: _START.size], head[_START.size :]
        kind, length = _START.unpack(start)
        if kind not in (_BATCH, _END) or length > LARGEST:
            raise CorruptFrameError("this is no answer of gatherer's")
        payload = _exactly(receive, length)
        if _checksum(start, payload) != checksum:
            raise CorruptFrameError("the checksum is wrong")
        try:
            if kind == _END:
                end = _decode_end(payload)
                break
            rows = _decode_rows(_unpacked(payload))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise CorruptFrameError(str(error)) from None
        for row in rows:
            if row[0] <= last_id:
                raise CorruptFrameError("the notifications are out of order")
            last_id = row[0]
        count += len(rows)
        yield rows
    if (end.inbox_id, end.count, end.last_id) != (inbox_id, count, last_id if count else None):
        raise CorruptFrameError("it does not have what its end says")


def _exactly(receive: Callable[[int], bytes], length: int) -> bytes:
    """Return the next `length` bytes."""
    found = receive(length)
    while len(found) < length:
        more = receive(length - len(found))
        if not more:
            raise CorruptFrameError("it was cut off")
        found += more
    return found


def _unpacked(payload: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    unpacked = unpacking.decompress(payload, LARGEST)
    if not unpacking.eof or unpacking.unused_data:
        raise CorruptFrameError("a batch is too large, or not whole")
    return unpacked
