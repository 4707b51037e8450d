"""The consumers of an inbox, and how far each has read: one small file per consumer, in a folder beside the inbox.

Advisory: purging depends on the files, gathering does not; a lost file only delays purging. A file is replaced
atomically, so that a reader sees the old or the new one.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from gatherer.files.atomic import atomic_write
from gatherer.model import timestamps

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


class Consumer(NamedTuple):
    """A target that has everything up to one notification."""

    name: str
    inbox_id: str  # of the inbox: in one that replaced it, the consumer starts again
    notification_id: int
    acknowledged_at: datetime


def folder(inbox: Path) -> Path:
    """Return the folder of the files of the consumers of the inbox file `inbox`."""
    return inbox.with_name(inbox.name + ".consumers")


def is_name(name: str) -> bool:
    """Return whether `name` is valid for a consumer: letters, digits and _ . - only, as it names a file."""
    return _NAME.fullmatch(name) is not None


def acknowledge(inbox: Path, name: str, inbox_id: str, notification_id: int) -> None:
    """Record that the consumer `name` has all notifications up to `notification_id`.

    Raises:
        ValueError: the name is not valid.
        OSError: the folder cannot be written.

    """
    if not is_name(name):
        raise ValueError(f"{name!r} is not a valid name of a consumer")
    directory = folder(inbox)
    directory.mkdir(mode=0o700, exist_ok=True)  # where a group shares it, `serve` has made it
    content = {
        "inbox_id": inbox_id,
        "notification_id": notification_id,
        "acknowledged_at": timestamps.iso(timestamps.now()),
    }
    # The mode of the folder, not the umask, decides: a `serve` under another account has to read the file.
    mode = directory.stat().st_mode & 0o666
    with atomic_write(directory / f"{name}.json", mode=mode, durable=False) as draft:
        draft.write(json.dumps(content))


def acknowledged_by_all(consumers: Iterable[Consumer], inbox_id: str) -> tuple[int, datetime]:
    """Return the highest id that every consumer of the inbox `inbox_id` has acknowledged, and the earliest time of that.

    0 if there is no consumer. 0 as well if a file cannot be read: it may be that of a consumer of this inbox.
    """
    readers = [consumer for consumer in consumers if consumer.inbox_id in (inbox_id, "")]
    return (
        min((consumer.notification_id for consumer in readers), default=0),
        min((consumer.acknowledged_at for consumer in readers), default=timestamps.EARLIEST),
    )


def read_all(inbox: Path) -> list[Consumer]:
    """Return the consumers of `inbox`, sorted by name. One whose file cannot be read has acknowledged nothing."""
    consumers = []
    for path in sorted(folder(inbox).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            acknowledged_at = timestamps.parse(content["acknowledged_at"]) or timestamps.EARLIEST
            consumer = Consumer(
                path.stem, str(content["inbox_id"]), int(content["notification_id"]), acknowledged_at
            )
        except (OSError, ValueError, LookupError, TypeError):
            consumer = Consumer(path.stem, "", 0, timestamps.EARLIEST)
        consumers.append(consumer)
    return consumers


def forget(inbox: Path, name: str) -> bool:
    """Remove the consumer `name`; return whether there was one of that name."""
    if not is_name(name):
        return False
    try:
        (folder(inbox) / f"{name}.json").unlink()
    except FileNotFoundError:
        return False
    return True
