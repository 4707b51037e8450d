"""Notifications outside an inbox: as lines of JSON with everything that is known of them, or as bare bodies."""

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
    """Return `notification` as one line of JSON, without a line end; its bytes survive whatever they are.

    `sha256` is of the body, so that a line which a mail program has mangled is noticed.
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
    """Return the notification that `line` holds, ready to be stored again.

    Raises:
        ValueError: it holds none, or not what was exported; the text is a clause that says why.

    """
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(content, dict):
        raise ValueError("is no JSON object")
    received_at = timestamps.parse(content.get("received_at"))
    if received_at is None:
        raise ValueError("has no received_at")
    for name in ("endpoint", "provider"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise ValueError(f"has no {name}")
    for name in _OPTIONAL:
        if not isinstance(content.get(name), str | None):
            raise ValueError(f"has a {name} that is no text")
    body = _body(content)
    if content.get("sha256", "") not in ("", hashlib.sha256(body).hexdigest()):
        raise ValueError("has been changed since it was exported: the checksum of its body is another one")
    texts = [content["endpoint"], content["provider"], *(content.get(name) for name in _OPTIONAL)]
    if any(text is not None and not _is_storable(text) for text in texts):
        raise ValueError("holds half of a character")
    endpoint, provider, content_type, headers, remote = texts
    moment = timestamps.to_milliseconds(received_at)
    return NotificationRow(moment, endpoint, provider, remote, content_type, headers, body)


def _body(content: dict[str, Any]) -> bytes:
    text, encoded = content.get("body"), content.get("body_base64")
    try:
        if isinstance(text, str) and encoded is None:
            return text.encode()
        if isinstance(encoded, str) and text is None:
            return base64.b64decode(encoded, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise ValueError("has a body that cannot be read") from None
    raise ValueError("has no body, or two")


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def rows_of_lines(name: str, lines: Iterable[bytes]) -> Iterator[NotificationRow]:
    """Yield the notifications in `lines`, skipping empty ones; `name` says where they come from.

    Raises:
        ConfigurationError: a line holds none.

    """
    for number, line in enumerate(lines, start=1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            continue
        try:
            yield from_line(text)
        except ValueError as problem:
            raise ConfigurationError(f"{name}, line {number} {problem}; nothing was imported") from None


def write_bodies(notifications: Iterable[Notification], folder: Path) -> int:
    """Write each body into `folder` as a file of its own, with the time at which it was received.

    Raises:
        OSError: one cannot be written, or is there already.

    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    count = 0
    for notification in notifications:
        path = folder / f"{notification.id:012d}.body"
        path.touch(mode=0o600, exist_ok=False)  # never over the body of another inbox
        path.write_bytes(notification.body)
        moment = notification.received_at.timestamp()
        os.utime(path, (moment, moment))
        count += 1
    return count


def row_of_body(
    path: Path, *, endpoint: str, provider: str, received_at: datetime | None = None
) -> NotificationRow:
    """Return the bytes of the file `path` as a notification, received when the file was last written.

    Raises:
        OSError: it cannot be read.

    """
    body = path.read_bytes()
    moment = timestamps.to_milliseconds(received_at) if received_at else path.stat().st_mtime_ns // 1_000_000
    return NotificationRow(moment, endpoint, provider, None, None, None, body)
