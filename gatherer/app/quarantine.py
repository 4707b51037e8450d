"""What a person does with the quarantine: look, release, discard; beside a running `serve` or without one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gatherer.app.control import submit
from gatherer.config import Configuration
from gatherer.model.errors import ConfigurationError

if TYPE_CHECKING:
    from gatherer.inbox.quarantine import QuarantineEntry


def quarantined(
    configuration: Configuration, *, ids: Sequence[int] | None = None, endpoint: str | None = None
) -> "list[QuarantineEntry]":
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


def dispose(configuration: Configuration, action: Literal["release", "discard"], ids: Sequence[int]) -> int:
    """Release or discard the posts `ids`, and return how many there were. See `asking.ask`."""
    return submit(configuration, configuration.inbox, action, list(ids))


def _path(configuration: Configuration) -> Path:
    from gatherer.inbox import quarantine

    return quarantine.path_of(configuration.inbox.path.resolve())
