"""Having something done by the one writer of the inbox: a running `serve` or, where there is none, ourselves."""

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gatherer import config
from gatherer.app.resources import open_quarantine, open_writer
from gatherer.config import Configuration
from gatherer.model.errors import InboxError, TemporaryError

if TYPE_CHECKING:
    from gatherer.inbox.control import Action
    from gatherer.inbox.quarantine import Quarantine
    from gatherer.inbox.writer import InboxWriter

PATIENCE_SECONDS: Final = 30  # with a `serve` that is to do it


def actions_of(writer: "InboxWriter", quarantine: "Quarantine | None") -> "Mapping[str, Action]":
    """Return what can be asked of those who hold `writer` and, where there is one, `quarantine`."""
    from gatherer.inbox import redaction

    async def release(ids: Any) -> int:
        return await quarantine.release(_numbers(ids), writer) if quarantine is not None else 0

    async def discard(ids: Any) -> int:
        return await quarantine.discard(_numbers(ids)) if quarantine is not None else 0

    async def redact(values: Any) -> int:
        return await redaction.redact(writer, redaction.from_json_values(values))

    return {"release": release, "discard": discard, "redact": redact}


def submit(configuration: Configuration, inbox: config.Inbox, action: str, what: Any) -> int:
    """Have `action` done to `inbox` with `what`, values that JSON can carry; return with how many it was done.

    Raises:
        TemporaryError: it could not be done just now, or `serve` has not done it for half a minute.
        InboxError: this account may not.

    """
    from gatherer.inbox import control
    from gatherer.inbox.committer import InboxInUseError
    from gatherer.inbox.queue import InboxUnavailableError

    path = inbox.path.resolve()
    try:
        place = control.submit(path, action, what)
        try:
            return _await_answer(configuration, inbox, place)
        except InboxUnavailableError as unavailable:
            raise TemporaryError(f"it was not done: {unavailable}") from None
        except (InboxInUseError, TemporaryError):
            control.withdraw(place)
            raise
    except OSError as error:
        raise InboxError(
            f"{control.folder(path)} cannot be used: {error.strerror or error}. Run this under the account of serve"
        ) from None


def _await_answer(configuration: Configuration, inbox: config.Inbox, place: Path) -> int:
    import asyncio

    from gatherer.inbox import control
    from gatherer.inbox.committer import InboxInUseError

    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        done = control.answer(place)
        if done is not None:
            return done
        try:
            with ExitStack() as resources:
                writer = resources.enter_context(closing(open_writer(inbox)))
                quarantine = open_quarantine(configuration, inbox)
                if quarantine is not None:
                    resources.callback(quarantine.close)
                asyncio.run(control.do_pending(writer.path, actions_of(writer, quarantine)))
        except InboxInUseError:
            time.sleep(0.2)  # by a `serve` that will do it, or for a moment by another of these commands
    raise TemporaryError(f"serve has not done it within {PATIENCE_SECONDS} s; its log may say why")


def _numbers(values: Any) -> list[int]:
    return [int(value) for value in values]
