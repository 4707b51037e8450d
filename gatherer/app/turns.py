"""Who may write the target just now: one pass at a time on a machine, or one erasure."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from gatherer import locks
from gatherer.config import Configuration
from gatherer.errors import TargetError, TemporaryError


@contextmanager
def turn(configuration: Configuration) -> Iterator[None]:
    """Be the only one for the duration of the block.

    Raises:
        locks.Held: somebody else is.
        GathererError: the lock cannot be written.

    """
    lock = configuration.target.lock
    with ExitStack() as held:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locks.exclusive(lock))
        except OSError as error:
            kind = TemporaryError if error.errno == errno.ENOSPC else TargetError
            raise kind(
                f"{lock} cannot be written: {error.strerror or error}. The account that gathers needs to "
                "write the folder of the target"
            ) from None
        yield
