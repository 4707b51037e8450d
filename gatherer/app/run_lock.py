"""The lock of the target: on one machine, one run, replay or erasure writes at a time."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gatherer.config import Configuration
from gatherer.files.lock import LockHeldError, exclusive
from gatherer.model.errors import TargetError, TemporaryError


@contextmanager
def hold_run_lock(configuration: Configuration) -> Iterator[None]:
    """Hold the lock of the configured target for the duration of the block.

    Raises:
        LockHeldError: another process holds it.
        TemporaryError: the disk is full.
        TargetError: the lock file cannot be written.

    """
    path = configuration.target.lock
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(path))
        except OSError as error:
            error_class = TemporaryError if error.errno == errno.ENOSPC else TargetError
            raise error_class(
                f"{path} cannot be written: {error.strerror or error}. The account that gathers needs to "
                "write the folder of the target"
            ) from None
        yield


@contextmanager
def require_run_lock(configuration: Configuration) -> Iterator[None]:
    """Hold the lock as `hold_run_lock` does, for a command that cannot be skipped when the lock is held.

    Raises:
        TemporaryError: another process holds it, or the disk is full.
        TargetError: the lock file cannot be written.

    """
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_run_lock(configuration))
        except LockHeldError as held:
            raise TemporaryError(
                f"a run is in progress, or another command that writes the target: {held.holder}; "
                "repeat the command when it has finished"
            ) from None
        yield
