"""What a person asks to be done with the quarantine, as small files beside it: only its one writer may change it.

`gatherer quarantine` leaves `<id>.request`; whoever has the lock, a running `serve` or that command itself,
does what it says and leaves `<id>.answer`. A request that a crash interrupted is done again at the next
start, which does no harm.
"""

import asyncio
import json
import logging
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from gatherer.inbox.quarantine import Quarantine
from gatherer.inbox.queue import InboxUnavailable
from gatherer.inbox.writer import InboxWriter

log = logging.getLogger(__name__)

Action = Literal["release", "discard"]
LOOK_SECONDS: Final = 0.5  # between looks whether somebody wants something
STALE_SECONDS: Final = 3600  # an answer that nobody fetched


def folder(quarantine: Path) -> Path:
    """Return where requests about the quarantine file `quarantine` are left."""
    return quarantine.with_name(quarantine.name + ".requests")


def make_folder(quarantine: Path) -> None:
    """Make that folder, for this account alone.

    Raises:
        OSError: it cannot be made.

    """
    folder(quarantine).mkdir(mode=0o700, exist_ok=True)


def ask(quarantine: Path, action: Action, ids: Sequence[int]) -> Path:
    """Leave the request to do `action` with the posts `ids`; return where the answer will be.

    Raises:
        OSError: the folder cannot be written.

    """
    make_folder(quarantine)
    request = folder(quarantine) / f"{uuid.uuid4().hex}.request"
    _write(request, {"action": action, "ids": list(ids)})
    return request.with_suffix(".answer")


def answer(path: Path) -> int | None:
    """Fetch the answer left at `path`: with how many posts it was done. None: not yet.

    Raises:
        OSError: it cannot be read.
        InboxUnavailable: it could not be done, for the reason given.

    """
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if "problem" in content:
        raise InboxUnavailable(content["problem"])
    return int(content["done"])


def withdraw(path: Path) -> None:
    """Take the request back whose answer would be at `path`."""
    path.with_suffix(".request").unlink(missing_ok=True)


async def run(quarantine: Quarantine, inbox: InboxWriter) -> None:
    """Do whatever is asked, until cancelled."""
    while True:
        await do_pending(quarantine, inbox)
        await asyncio.sleep(LOOK_SECONDS)


async def do_pending(quarantine: Quarantine, inbox: InboxWriter) -> None:
    """Do what has been asked by now. What cannot be done is answered with the reason, never raised."""
    try:
        requests = sorted(folder(quarantine.path).iterdir())
    except OSError:
        return
    for request in requests:
        if request.suffix == ".request":
            await _do(request, quarantine, inbox)
        else:
            _remove_stale(request)


async def _do(request: Path, quarantine: Quarantine, inbox: InboxWriter) -> None:
    result: dict[str, object]
    try:
        content = json.loads(request.read_text(encoding="utf-8"))
        ids = [int(number) for number in content["ids"]]
        if content["action"] == "release":
            result = {"done": await quarantine.release(ids, inbox)}
        else:
            result = {"done": await quarantine.discard(ids)}
        log.info("quarantine: %s of %d posts done", content["action"], result["done"])
    except InboxUnavailable as unavailable:
        result = {"problem": f"cannot be written just now: {unavailable}"}
    except Exception as problem:  # noqa: BLE001 - a bad request must not end those who serve
        result = {"problem": f"{type(problem).__name__}: {problem}"}
    try:
        _write(request.with_suffix(".answer"), result)
        request.unlink(missing_ok=True)
    except OSError as error:
        log.error("the request %s cannot be answered: %s", request.name, error.strerror)


def _write(path: Path, content: dict[str, object]) -> None:
    """Let `path` appear with its whole content."""
    part = path.with_suffix(f".{os.getpid()}.new")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def _remove_stale(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
    except OSError:
        pass
