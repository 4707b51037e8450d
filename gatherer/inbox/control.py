"""The control channel of an inbox on this machine: small request files beside it, for the one process that writes it.

A command leaves `<id>.request`. The process that holds the lock of the inbox, a running `serve` or the command
itself, performs the action and leaves `<id>.answer`. After a crash the next start performs the request again, which
is harmless: a notification that is stored twice becomes the same rows.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gatherer.files.atomic import atomic_write
from gatherer.inbox.actions import Action
from gatherer.inbox.queue import InboxUnavailableError

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5  # between looks for new requests
STALE_SECONDS: Final = 3600  # age at which an answer that no command fetched is removed


def folder(inbox: Path) -> Path:
    """Return the folder of the request files of the inbox file `inbox`."""
    return inbox.with_name(inbox.name + ".requests")


def make_folder(inbox: Path) -> None:
    """Make that folder, for this account alone, unless it exists.

    Raises:
        OSError: it cannot be made.

    """
    folder(inbox).mkdir(mode=0o700, exist_ok=True)


def submit(inbox: Path, action: str, values: Any) -> Path:
    """Leave the request to perform `action` with `values`, which JSON can carry; return the path of the answer.

    Raises:
        OSError: the folder cannot be written.

    """
    make_folder(inbox)
    request = folder(inbox) / f"{uuid.uuid4().hex}.request"
    _write(request, {"action": action, "values": values})
    return request.with_suffix(".answer")


def fetch_answer(path: Path) -> int | None:
    """Return the answer at `path`, how many rows were changed, and remove it; None: there is none yet.

    Raises:
        OSError: it cannot be read.
        InboxUnavailableError: the action failed, for the reason given.

    """
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    if "error" in content:
        raise InboxUnavailableError(content["error"])
    return int(content["changed"])


def withdraw(answer: Path) -> None:
    """Remove the request whose answer would be at the path `answer`."""
    answer.with_suffix(".request").unlink(missing_ok=True)


async def run(inbox: Path, actions: Mapping[str, Action]) -> None:
    """Perform every request about the file `inbox`, until cancelled; `actions` are those that can be requested."""
    with suppress(OSError):  # an account that cannot make the folder gets no requests either
        make_folder(inbox)
    while True:
        await perform_pending(inbox, actions)
        await asyncio.sleep(POLL_SECONDS)


async def perform_pending(inbox: Path, actions: Mapping[str, Action]) -> None:
    """Perform the requests that are there now. The answer to a request that fails is the reason; nothing is raised."""
    try:
        paths = sorted(folder(inbox).iterdir())
    except OSError:
        return
    for path in paths:
        if path.suffix == ".request":
            await _perform(path, actions)
        else:
            _remove_if_stale(path)


async def _perform(request: Path, actions: Mapping[str, Action]) -> None:
    answer: dict[str, object]
    try:
        content = json.loads(request.read_text(encoding="utf-8"))
        name = content["action"]
        changed = await actions[name](content["values"])
        answer = {"changed": changed}
        log.info("request file: %s changed %d rows", name, changed)
    except InboxUnavailableError as unavailable:
        answer = {"error": f"the inbox cannot be written at present: {unavailable}"}
    except Exception as error:  # noqa: BLE001 - an invalid request must not end `serve`
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        _write(request.with_suffix(".answer"), answer)
        request.unlink(missing_ok=True)
    except OSError as error:
        log.error("the request file %s cannot be answered: %s", request.name, error.strerror)


def _write(path: Path, content: dict[str, object]) -> None:
    # Not durable: the event loop must not wait for the disk, and the command that waits can submit again.
    with atomic_write(path, durable=False) as draft:
        draft.write(json.dumps(content))


def _remove_if_stale(path: Path) -> None:
    with suppress(OSError):  # another process has removed it, or will
        if time.time() - path.stat().st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)
