"""`gatherer quarantine`: list, show, release and discard requests in quarantine, while `serve` runs or not."""

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
    """Return the requests in quarantine, oldest first: only `ids`, and only those to `endpoint`, if given."""
    from gatherer.inbox import quarantine

    return quarantine.entries(_path(configuration), ids, endpoint)


def quarantined_body(configuration: Configuration, id: int) -> bytes:  # noqa: A002
    """Return the body of the request `id` in quarantine, byte for byte as received.

    Raises:
        ConfigurationError: the quarantine does not hold it.

    """
    from gatherer.inbox import quarantine

    body = quarantine.body(_path(configuration), id)
    if body is None:
        raise ConfigurationError(f"there is no request {id} in quarantine")
    return body


def dispose(configuration: Configuration, action: Literal["release", "discard"], ids: Sequence[int]) -> int:
    """Release or discard the requests `ids`, and return how many. Raises the errors of `control.submit`."""
    return submit(configuration, configuration.inbox, action, list(ids))


def _path(configuration: Configuration) -> Path:
    from gatherer.inbox import quarantine

    return quarantine.path_of(configuration.inbox.path.resolve())
