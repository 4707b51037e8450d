"""The format in which a machine sends notifications to another: frames with a checksum.

A frame is a head of 40 bytes and a payload:

    4 bytes   kind of the payload: "GNB1", a batch of notifications, or "GNE1", the end of the response
    4 bytes   length of the payload, the most significant byte first
    32 bytes  SHA-256 of those 8 bytes and the payload

The payload of a batch is a zlib stream of a MessagePack array, with one array for each notification: id,
received at (ms since 1970, UTC), endpoint, provider, body (binary), content type, headers (a JSON object as
text), remote address, and the digest of the notification as received, if a person was erased from it (binary);
the last four may be nil. The payload of the end is a MessagePack map: `inbox_id`,
the identity of the inbox; `count`, the number of notifications in the response; `last_id`, the id of the last of
them, nil if there is none. A response without an end frame was cut off; the frames before that are complete.

JSON responses have no frames: the client checks them by the header `Content-Digest`.
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
MAX_PAYLOAD_BYTES: Final = 2**28  # compressed or not; a larger payload counts as damaged
_BATCH: Final = b"GNB1"
_END: Final = b"GNE1"
_START: Final = struct.Struct(">4sI")
_HEAD_BYTES: Final = _START.size + hashlib.sha256().digest_size
_ZLIB_LEVEL: Final = 1  # a tenth of the bytes of JSON, for a few seconds per million notifications


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of the end frame: a summary of the response, which the client compares with what it received."""

    inbox_id: str
    count: int
    last_id: int | None


class CorruptFrameError(Exception):
    """The response is damaged or incomplete."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_rows: Final = msgspec.msgpack.Decoder(list[Row]).decode
_decode_end: Final = msgspec.msgpack.Decoder(End).decode


def digest(content: bytes) -> str:
    """Return the value of the header `Content-Digest` (RFC 9530) for `content`."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def of_batch(rows: Sequence[Row]) -> bytes:
    """Return the frame of a batch of notifications."""
    return _frame(_BATCH, zlib.compress(_encode(rows), _ZLIB_LEVEL))


def of_end(end: End) -> bytes:
    """Return the frame that ends a response."""
    return _frame(_END, _encode(end))


def _frame(kind: bytes, payload: bytes) -> bytes:
    start = _START.pack(kind, len(payload))
    return start + _checksum(start, payload) + payload


def _checksum(start: bytes, payload: bytes) -> bytes:
    digest = hashlib.sha256(start)
    digest.update(payload)
    return digest.digest()


def read(receive: Callable[[int], bytes], *, inbox_id: str, after: int) -> Iterator[list[Row]]:
    """Yield the batches of one response, and return after its end frame.

    Args:
        receive: returns the next bytes of the response: as many as requested, or fewer at its end.
        inbox_id: the identity of the inbox that the request named.
        after: the id after which the request asked for notifications.

    Raises:
        CorruptFrameError: the response was cut off or is damaged. The batches yielded before are valid.

    """
    count, last_id = 0, after
    while True:
        head = _read_exactly(receive, _HEAD_BYTES)
        start, checksum = head[: _START.size], head[_START.size :]
        kind, length = _START.unpack(start)
        if kind not in (_BATCH, _END) or length > MAX_PAYLOAD_BYTES:
            raise CorruptFrameError("not a response of gatherer")
        payload = _read_exactly(receive, length)
        if _checksum(start, payload) != checksum:
            raise CorruptFrameError("the checksum is wrong")
        try:
            if kind == _END:
                end = _decode_end(payload)
                break
            rows = _decode_rows(_decompress(payload))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise CorruptFrameError(str(error)) from None
        for row in rows:
            if row[0] <= last_id:
                raise CorruptFrameError("the notifications are out of order")
            last_id = row[0]
        count += len(rows)
        yield rows
    if (end.inbox_id, end.count, end.last_id) != (inbox_id, count, last_id if count else None):
        raise CorruptFrameError("the end frame does not match the batches before it")


def _read_exactly(receive: Callable[[int], bytes], length: int) -> bytes:
    """Return the next `length` bytes."""
    content = receive(length)
    while len(content) < length:
        more = receive(length - len(content))
        if not more:
            raise CorruptFrameError("it was cut off")
        content += more
    return content


def _decompress(payload: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    content = decompressor.decompress(payload, MAX_PAYLOAD_BYTES)
    if not decompressor.eof or decompressor.unused_data:
        raise CorruptFrameError("a batch is too large or incomplete")
    return content
