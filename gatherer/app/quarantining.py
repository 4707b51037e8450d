"""What a person does with the quarantine: look, release, discard; beside a running `serve` or without one."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer.app.writing import open_quarantine, open_writer
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError, InboxError, TemporaryError

if TYPE_CHECKING:
    from gatherer.inbox.errands import Action
    from gatherer.inbox.quarantine import Kept

PATIENCE_SECONDS: Final = 30  # with a `serve` that is to do it


def quarantined(
    configuration: Configuration, *, ids: Sequence[int] | None = None, endpoint: str | None = None
) -> "list[Kept]":
    """Return what is in quarantine, oldest first."""
    from gatherer.inbox import quarantine

    return quarantine.kept(_path(configuration), ids, endpoint)


def quarantined_body(configuration: Configuration, id: int) -> bytes:  # noqa: A002
    """Return the exact bytes of one post in quarantine.

    Raises:
        ConfigurationError: it is not there.

    """
    from gatherer.inbox import quarantine

    found = quarantine.body(_path(configuration), id)
    if found is None:
        raise ConfigurationError(f"there is no post {id} in quarantine")
    return found


def dispose(configuration: Configuration, action: "Action", ids: Sequence[int]) -> int:
    """Release or discard the posts `ids`, and return how many there were.

    A running `serve`, the only one that may write then, is asked to do it; otherwise it is done here.

    Raises:
        TemporaryError: it could not be done just now, or `serve` has not done it for half a minute.
        InboxError: this account may not.

    """
    from gatherer.inbox import errands
    from gatherer.inbox.committing import AlreadyServed
    from gatherer.inbox.queue import InboxUnavailable

    path = _path(configuration)
    try:
        place = errands.ask(path, action, ids)
        try:
            return _await_answer(configuration, place)
        except InboxUnavailable as unavailable:
            raise TemporaryError(f"the posts stay in quarantine: {unavailable}") from None
        except (AlreadyServed, TemporaryError):
            errands.withdraw(place)
            raise
    except OSError as error:
        raise InboxError(
            f"{errands.folder(path)} cannot be used: {error.strerror or error}. Run this under the account of serve"
        ) from None


def _await_answer(configuration: Configuration, place: Path) -> int:
    import asyncio  # late: every command imports this module, and most do without

    from gatherer.inbox import errands
    from gatherer.inbox.committing import AlreadyServed

    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        done = errands.answer(place)
        if done is not None:
            return done
        try:
            with closing(open_writer(configuration)) as writer:
                store = open_quarantine(configuration)
                if store is not None:
                    with closing(store):
                        asyncio.run(errands.do_pending(store, writer))
        except AlreadyServed:
            time.sleep(0.2)  # by a `serve` that will do it, or for a moment by another of these commands
    raise TemporaryError(f"serve has not done it within {PATIENCE_SECONDS} s; its log may say why")


def _path(configuration: Configuration) -> Path:
    from gatherer.inbox import quarantine

    return quarantine.path_of(configuration.inbox.path.resolve())
