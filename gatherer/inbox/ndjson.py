"""Export and import of notifications: as NDJSON with every field, or as files that hold a body alone."""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gatherer.inbox.writer import NotificationRow
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.model.notification import Notification

_OPTIONAL: Final = ("content_type", "headers", "remote")


def to_line(notification: Notification) -> str:
    """Return `notification` as one line of JSON, without a line end. A body that is not UTF-8 is encoded as Base64.

    `sha256` is the checksum of the body: `from_line` refuses a line that a mail program, for example, has changed.
    """
    content: dict[str, Any] = {
        "id": notification.id,
        "inbox_id": notification.inbox_id,
        "received_at": timestamps.iso(notification.received_at),
        "endpoint": notification.endpoint,
        "provider": notification.provider,
        **{name: getattr(notification, name) for name in _OPTIONAL},
        "sha256": hashlib.sha256(notification.body).hexdigest(),
    }
    try:
        content["body"] = notification.body.decode()
    except UnicodeDecodeError:
        content["body_base64"] = base64.b64encode(notification.body).decode()
    return json.dumps(content)  # ASCII: the same in every encoding


def from_line(line: str | bytes) -> NotificationRow:
    """Return the notification in `line`, ready to be stored.

    Raises:
        ValueError: the line is not a notification, or was changed after the export. The text says why.

    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not valid JSON") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    received_at = timestamps.parse(content.get("received_at"))
    if received_at is None:
        raise ValueError("received_at is missing or not a time")
    for name in ("endpoint", "provider"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise ValueError(f"{name} is missing or not a string")
    for name in _OPTIONAL:
        if not isinstance(content.get(name), str | None):
            raise ValueError(f"{name} is not a string")
    body = _body(content)
    if content.get("sha256", "") not in ("", hashlib.sha256(body).hexdigest()):
        raise ValueError("the body does not match sha256: the line was changed after the export")
    texts = [content["endpoint"], content["provider"], *(content.get(name) for name in _OPTIONAL)]
    if any(text is not None and not _is_storable(text) for text in texts):
        raise ValueError("a string contains an unpaired surrogate")
    endpoint, provider, content_type, headers, remote = texts
    received_ms = timestamps.to_milliseconds(received_at)
    return NotificationRow(received_ms, endpoint, provider, remote, content_type, headers, body)


def _body(content: dict[str, Any]) -> bytes:
    text, encoded = content.get("body"), content.get("body_base64")
    try:
        if isinstance(text, str) and encoded is None:
            return text.encode()
        if isinstance(encoded, str) and text is None:
            return base64.b64decode(encoded, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise ValueError("the body cannot be decoded") from None
    raise ValueError("expected either body or body_base64, as a string")


def _is_storable(text: str) -> bool:
    """Return whether `text` can be encoded as UTF-8: JSON escapes can leave half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rows_of_lines(name: str, lines: Iterable[bytes]) -> Iterator[NotificationRow]:
    """Yield the notifications in `lines`. Empty lines are skipped. `name`, of the file, is for the error message.

    Raises:
        ConfigurationError: a line is not a notification.

    """
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            continue
        try:
            yield from_line(text)
        except ValueError as error:
            raise ConfigurationError(f"{name}, line {number}: {error}; nothing was imported") from None


def write_bodies(notifications: Iterable[Notification], folder: Path) -> int:
    """Write each body to its own file in `folder`, and return how many. A file has the time of receipt as its mtime.

    Raises:
        OSError: a file cannot be written, or exists already.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    count = 0
    for notification in notifications:
        path = folder / f"{notification.id:012d}.body"
        path.touch(mode=0o600, exist_ok=False)  # never over the body of another inbox
        path.write_bytes(notification.body)
        received_at = notification.received_at.timestamp()
        os.utime(path, (received_at, received_at))
        count += 1
    return count


def row_of_body(
    path: Path, *, endpoint: str, provider: str, received_at: datetime | None = None
) -> NotificationRow:
    """Return the content of the file `path` as the body of a notification.

    Args:
        path: of the file.
        endpoint: at which the notification counts as received.
        provider: whose decoder reads it.
        received_at: when it counts as received; None: when the file was last written.

    Raises:
        OSError: the file cannot be read.
        ConfigurationError: the time of receipt is outside 2009…2100. An export with it could not be imported.

    """
    body = path.read_bytes()
    if received_at is not None:
        received_ms = timestamps.to_milliseconds(received_at)
    else:
        received_ms = path.stat().st_mtime_ns // 1_000_000
    earliest, latest = map(timestamps.to_milliseconds, (timestamps.EARLIEST, timestamps.LATEST))
    if not earliest <= received_ms < latest:
        advice = "give --received-at" if received_at is None else "--received-at is wrong"
        raise ConfigurationError(
            f"{path}: the time of receipt must be from 2009 to 2099: {advice}; nothing was imported"
        )
    return NotificationRow(received_ms, endpoint, provider, None, None, None, body)
