"""Who reads an inbox, and how far each has got: one small file per consumer, in a folder beside the inbox.

Advisory: what is purged goes by them, what is gathered never does; a lost file only delays purging. Each
file is replaced as a whole, so that whoever reads it sees the old or the new one.
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
    """A target, or another reader, that has everything up to one notification."""

    name: str
    inbox_id: str  # of which inbox: a file that replaced another begins anew
    notification_id: int
    acknowledged_at: datetime


def folder(inbox: Path) -> Path:
    """Return where the consumers of the inbox file `inbox` are kept."""
    return inbox.with_name(inbox.name + ".consumers")


def is_name(name: str) -> bool:
    """Return whether `name` can be a consumer's: letters, digits and _ . - only, as it names a file."""
    return _NAME.fullmatch(name) is not None


def acknowledge(inbox: Path, name: str, inbox_id: str, notification_id: int) -> None:
    """Write down that the consumer `name` has all notifications up to `notification_id`.

    Raises:
        ValueError: that is no name.
        OSError: the folder cannot be written.

    """
    if not is_name(name):
        raise ValueError(f"{name!r} is no name of a consumer")
    place = folder(inbox)
    place.mkdir(mode=0o700, exist_ok=True)  # where a group shares it, `serve` has made it
    content = {
        "inbox_id": inbox_id,
        "notification_id": notification_id,
        "acknowledged_at": timestamps.iso(timestamps.now()),
    }
    # The mode of the folder, not the umask, decides: a `serve` under another account has to read the file.
    mode = place.stat().st_mode & 0o666
    with atomic_write(place / f"{name}.json", mode=mode, durable=False) as draft:
        draft.write(json.dumps(content))


def reached(found: Iterable[Consumer], inbox_id: str) -> tuple[int, datetime]:
    """Return up to which notification every consumer of the inbox `inbox_id` has it, and since when they say so.

    0 if there is no consumer. One whose file cannot be read may be one of them: then it is 0 as well.
    """
    concerned = [one for one in found if one.inbox_id in (inbox_id, "")]
    return (
        min((one.notification_id for one in concerned), default=0),
        min((one.acknowledged_at for one in concerned), default=timestamps.EARLIEST),
    )


def known(inbox: Path) -> list[Consumer]:
    """Return the consumers of `inbox` by name. A file that cannot be read counts as one that has nothing."""
    found = []
    for path in sorted(folder(inbox).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            moment = timestamps.parse(content["acknowledged_at"]) or timestamps.EARLIEST
            consumer = Consumer(path.stem, str(content["inbox_id"]), int(content["notification_id"]), moment)
        except (OSError, ValueError, LookupError, TypeError):
            consumer = Consumer(path.stem, "", 0, timestamps.EARLIEST)
        found.append(consumer)
    return found


def forget(inbox: Path, name: str) -> bool:
    """Forget the consumer `name`, which is gone; return whether it was known."""
    if not is_name(name):
        return False
    try:
        (folder(inbox) / f"{name}.json").unlink()
    except FileNotFoundError:
        return False
    return True
