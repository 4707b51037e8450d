"""Who may write the target just now: one run at a time on a machine, or one erasure."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gatherer.config import Configuration
from gatherer.files.lock import LockHeldError, exclusive
from gatherer.model.errors import TargetError, TemporaryError


@contextmanager
def turn(configuration: Configuration) -> Iterator[None]:
    """Be the only one for the duration of the block.

    Raises:
        LockHeldError: somebody else is.
        GathererError: the lock cannot be written.

    """
    lock = configuration.target.lock
    with ExitStack() as held:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(exclusive(lock))
        except OSError as error:
            kind = TemporaryError if error.errno == errno.ENOSPC else TargetError
            raise kind(
                f"{lock} cannot be written: {error.strerror or error}. The account that gathers needs to "
                "write the folder of the target"
            ) from None
        yield


@contextmanager
def alone(configuration: Configuration) -> Iterator[None]:
    """Be the only one for the duration of the block, for what a person does now and then.

    Raises:
        TemporaryError: somebody else is.
        GathererError: the lock cannot be written.

    """
    with ExitStack() as held:
        try:
            held.enter_context(turn(configuration))
        except LockHeldError as other:
            raise TemporaryError(
                f"a run is in progress, or something else that writes: {other.holder}; try again when it is over"
            ) from None
        yield
