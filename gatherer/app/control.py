"""Submits an action to the writer of an inbox: a running `serve` or, if none runs, this process."""

import asyncio
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

from gatherer import config
from gatherer.app.resources import open_quarantine, open_writer
from gatherer.config import Configuration
from gatherer.model.errors import InboxError, TemporaryError

ANSWER_SECONDS: Final = 30  # to wait for the answer of a running `serve`
POLL_SECONDS: Final = 0.2  # between two checks for the answer


def submit(configuration: Configuration, inbox: config.Inbox, action: str, values: Any) -> int:
    """Have the writer of `inbox` perform `action`, and return how many rows were changed.

    Args:
        configuration: with or without its secrets.
        inbox: the settings of an inbox on this machine.
        action: the name of the action.
        values: its argument, which JSON can carry.

    Raises:
        TemporaryError: the writer cannot perform it at present, or has not answered within 30 seconds.
        InboxError: this account may not write to the folder of the request files.

    """
    from gatherer.inbox import control
    from gatherer.inbox.committer import InboxInUseError
    from gatherer.inbox.queue import InboxUnavailableError

    path = inbox.path.resolve()
    try:
        answer = control.submit(path, action, values)
        try:
            return _wait_for_answer(configuration, inbox, answer)
        except InboxUnavailableError as unavailable:
            raise TemporaryError(f"the action {action} failed: {unavailable}") from None
        except (InboxInUseError, TemporaryError):
            control.withdraw(answer)
            raise
    except OSError as error:
        raise InboxError(
            f"{control.folder(path)} cannot be used: {error.strerror or error}. "
            "Run this command under the account of serve"
        ) from None


def _wait_for_answer(configuration: Configuration, inbox: config.Inbox, answer: Path) -> int:
    """Return the answer in the file `answer`; if no `serve` runs, perform the pending actions in this process."""
    from gatherer.inbox import control
    from gatherer.inbox.actions import actions_of
    from gatherer.inbox.committer import InboxInUseError

    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        changed = control.fetch_answer(answer)
        if changed is not None:
            return changed
        try:
            with ExitStack() as resources:
                writer = resources.enter_context(closing(open_writer(inbox)))
                quarantine = open_quarantine(configuration, inbox)
                if quarantine is not None:
                    resources.callback(quarantine.close)
                asyncio.run(control.perform_pending(writer.path, actions_of(writer, quarantine)))
        except (
            InboxInUseError
        ):  # a `serve` has the inbox and will answer, or briefly another of these commands
            time.sleep(POLL_SECONDS)
    raise TemporaryError(f"serve has not answered within {ANSWER_SECONDS} s; its log may say why")
