"""The list of erased people: the target and a file beside it both hold it, and agree on it before each run."""

import logging
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer.app.resources import notification_decoder, opt_out_words
from gatherer.config import Configuration, example
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.model.person import Hashing
from gatherer.privacy.erased import Erased, latest

if TYPE_CHECKING:
    from gatherer.privacy.holding import Decode
    from gatherer.targets.base import Target

log = logging.getLogger(__name__)

FILE_NAME: Final = "tombstones.ndjson"
MAX_CLOCK_DIFFERENCE: Final = timedelta(days=1)  # between machines that gather into one target


def sync_suppression_list(
    configuration: Configuration, target: "Target", *, dry_run: bool = False
) -> Erased | None:
    """Make the target and the file of tombstones hold the same ones, and return the people who were erased.

    A target without a tombstone of the file was restored from an older copy: the rows about the person are
    removed from it again. With `dry_run` nothing is written.

    Returns:
        The erased people; None if there are none.

    Raises:
        ConfigurationError: people were erased, and the key is missing or another one.
        GathererError: the target or the file cannot be read or written.

    """
    from gatherer.privacy import tombstones

    path = tombstone_file(configuration)
    in_target, in_file = latest(target.tombstones()), latest(tombstones.read(path))
    known = latest([*in_target.values(), *in_file.values()])
    if not known:
        return None
    hashing = tombstone_hashing(configuration)
    if any(tombstone.key_id != hashing.key_id for tombstone in known.values()):
        raise ConfigurationError(
            "privacy.key: people were erased under another key, and would come back: put that key back"
        )
    new_to_target = [tombstone for key, tombstone in known.items() if in_target.get(key) != tombstone]
    new_to_file = [tombstone for key, tombstone in known.items() if in_file.get(key) != tombstone]
    if (new_to_target or new_to_file) and not dry_run:
        from gatherer.privacy.erase import sweep

        # Those new to the file as well: a run here may have begun before another machine erased them in the target.
        new = list(latest([*new_to_target, *new_to_file]).values())
        since = timestamps.EARLIEST
        if not new_to_target:
            since = min(tombstone.erased_at for tombstone in new) - MAX_CLOCK_DIFFERENCE
        removed = sweep(target, hashing, new, decoder(configuration), since=since).removed
        _log_sweep(target, new_to_target=len(new_to_target), removed=removed)
    if new_to_file and not dry_run:
        tombstones.append(path, new_to_file)
    return Erased(hashing, known.values())


def _log_sweep(target: "Target", *, new_to_target: int, removed: int) -> None:
    """Log a warning about `removed` rows, and about tombstones that were new to the target."""
    if new_to_target:
        log.warning(
            "%s did not know of %d erased phone numbers, user ids and messages: it was restored from a copy, they "
            "were erased meanwhile, or `gatherer privacy erase` was interrupted and has to be repeated for the inboxes; "
            "%d rows about them were removed",
            target.name,
            new_to_target,
            removed,
        )
    elif removed:
        log.warning(
            "%s: %d rows were removed about people whom another machine has erased meanwhile",
            target.name,
            removed,
        )


def tombstone_hashing(configuration: Configuration) -> Hashing:
    """Return what makes tombstones with the configured key.

    Raises:
        ConfigurationError: there is no key.

    """
    key = configuration.privacy.key
    if key is None:
        raise ConfigurationError(
            "privacy.key is missing: without it, gatherer cannot recognise people who were erased. If no person was "
            f'erased yet, add a random key, as in:\n[privacy]\nkey = "{example.token()}"'
        )
    return Hashing(key.reveal())


def tombstone_file(configuration: Configuration) -> Path:
    """Return the path of the file of tombstones."""
    return configuration.privacy.tombstones or configuration.target.state_folder / FILE_NAME


def decoder(configuration: Configuration, erased: Erased | None = None) -> "Decode":
    """Return a function that decodes notifications as a run does, and leaves out the people in `erased`."""
    from gatherer.pipeline.decode import decode_batch

    return partial(
        decode_batch,
        open_rejections=frozenset(),
        decode=notification_decoder(configuration),
        opt_out_words=opt_out_words(configuration),
        erased=erased,
        max_facts=sys.maxsize,
    )
