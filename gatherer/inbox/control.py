"""What a person asks to be done with an inbox, as small files beside it: only its one writer may change it.

A command leaves `<id>.request`; whoever has the lock, a running `serve` or that command itself, does what it
says and leaves `<id>.answer`. A request that a crash interrupted is done again at the next start, which does
no harm.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gatherer.files.atomic import atomic_write
from gatherer.inbox.queue import InboxUnavailableError

log = logging.getLogger(__name__)

Action = Callable[[Any], Awaitable[int]]  # given what the request says; returns with how many it was done
LOOK_SECONDS: Final = 0.5  # between looks whether somebody wants something
STALE_SECONDS: Final = 3600  # an answer that nobody fetched


def folder(inbox: Path) -> Path:
    """Return where requests about the inbox file `inbox` are left."""
    return inbox.with_name(inbox.name + ".requests")


def make_folder(inbox: Path) -> None:
    """Make that folder, for this account alone.

    Raises:
        OSError: it cannot be made.

    """
    folder(inbox).mkdir(mode=0o700, exist_ok=True)


def submit(inbox: Path, action: str, what: Any) -> Path:
    """Leave the request to do `action` with `what`, values that JSON can carry; return where the answer will be.

    Raises:
        OSError: the folder cannot be written.

    """
    make_folder(inbox)
    request = folder(inbox) / f"{uuid.uuid4().hex}.request"
    with atomic_write(request, durable=False) as draft:
        draft.write(json.dumps({"action": action, "what": what}))
    return request.with_suffix(".answer")


def answer(path: Path) -> int | None:
    """Fetch the answer left at `path`: with how many it was done. None: not yet.

    Raises:
        OSError: it cannot be read.
        InboxUnavailableError: it could not be done, for the reason given.

    """
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if "problem" in content:
        raise InboxUnavailableError(content["problem"])
    return int(content["done"])


def withdraw(path: Path) -> None:
    """Take the request back whose answer would be at `path`."""
    path.with_suffix(".request").unlink(missing_ok=True)


async def run(inbox: Path, actions: Mapping[str, Action]) -> None:
    """Do whatever is asked about the file `inbox`, until cancelled; `actions` are what is done for which action."""
    with suppress(OSError):  # an account that may not make it here may not be asked either
        make_folder(inbox)
    while True:
        await do_pending(inbox, actions)
        await asyncio.sleep(LOOK_SECONDS)


async def do_pending(inbox: Path, actions: Mapping[str, Action]) -> None:
    """Do what has been asked by now. What cannot be done is answered with the reason, never raised."""
    try:
        requests = sorted(folder(inbox).iterdir())
    except OSError:
        return
    for request in requests:
        if request.suffix == ".request":
            await _do(request, actions)
        else:
            _remove_stale(request)


async def _do(request: Path, actions: Mapping[str, Action]) -> None:
    result: dict[str, object]
    try:
        content = json.loads(request.read_text(encoding="utf-8"))
        action = content["action"]
        result = {"done": await actions[action](content["what"])}
        log.info("done as asked: %s of %d", action, result["done"])
    except InboxUnavailableError as unavailable:
        result = {"problem": f"cannot be written just now: {unavailable}"}
    except Exception as problem:  # noqa: BLE001 - a bad request must not end those who serve
        result = {"problem": f"{type(problem).__name__}: {problem}"}
    try:
        with atomic_write(request.with_suffix(".answer"), durable=False) as draft:
            draft.write(json.dumps(result))
        request.unlink(missing_ok=True)
    except OSError as error:
        log.error("the request %s cannot be answered: %s", request.name, error.strerror)


def _remove_stale(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
    except OSError:
        pass
