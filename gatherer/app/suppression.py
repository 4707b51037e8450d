"""Who was erased, as the target and a file beside it remember: both are made to agree before each run."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer.app.resources import opt_out_words
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
CLOCKS_DIFFER: Final = timedelta(days=1)  # of machines that gather into one target, at most


def erased_people(configuration: Configuration, target: "Target", *, dry_run: bool = False) -> Erased | None:
    """Return everybody who was erased, after making the target and the file of tombstones agree on who that is.

    A target that does not know of somebody was restored from an older copy: the person is taken out of it again.
    None: nobody was, and there is no key.

    Raises:
        ConfigurationError: somebody was erased, and the key is missing, or another one.
        GathererError: the target or the file cannot be read or written.

    """
    from gatherer.privacy import tombstones

    path = file_of(configuration)
    in_target, in_file = latest(target.tombstones()), latest(tombstones.read(path))
    known = latest([*in_target.values(), *in_file.values()])
    if not known:
        return None
    hashing = hashing_of(configuration)
    if any(one.key_id != hashing.key_id for one in known.values()):
        raise ConfigurationError(
            "privacy.key: people were erased under another key, and would come back: put that one back"
        )
    new_to_target = [one for key, one in known.items() if in_target.get(key) != one]
    new_to_file = [one for key, one in known.items() if in_file.get(key) != one]
    if (new_to_target or new_to_file) and not dry_run:
        from gatherer.privacy.erase import sweep

        # Also where the target knows them: a run here may have begun before somebody else erased them there.
        new = list(latest([*new_to_target, *new_to_file]).values())
        since = timestamps.EARLIEST if new_to_target else min(one.erased_at for one in new) - CLOCKS_DIFFER
        removed = sweep(target, hashing, new, decoder(configuration), since=since).removed
        if new_to_target:
            log.warning(
                "%s did not know of %d erased phone numbers, user ids and messages: it was restored from a copy, they "
                "were erased meanwhile, or `gatherer privacy erase` was interrupted and has to be repeated for the inboxes; "
                "%d rows about them were removed",
                target.name,
                len(new_to_target),
                removed,
            )
        elif removed:
            log.warning(
                "%s: %d rows about people who were erased by another machine meanwhile were removed",
                target.name,
                removed,
            )
    if new_to_file and not dry_run:
        tombstones.append(path, new_to_file)
    return Erased(hashing, known.values())


def hashing_of(configuration: Configuration) -> Hashing:
    """Return what makes tombstones.

    Raises:
        ConfigurationError: there is no key.

    """
    key = configuration.privacy.key
    if key is None:
        raise ConfigurationError(
            "privacy.key is missing: without it, people who are erased cannot be known again. Where nobody was "
            f'erased yet, any will do that nobody can guess, as in:\n[privacy]\nkey = "{example.token()}"'
        )
    return Hashing(key.reveal())


def decoder(configuration: Configuration, erased: Erased | None = None) -> "Decode":
    """Return what makes records of notifications as a run would, none of people who were `erased`."""
    from gatherer.pipeline.decode import decode_batch

    words = opt_out_words(configuration)
    return lambda notifications: decode_batch(notifications, frozenset(), opt_out_words=words, erased=erased)


def file_of(configuration: Configuration) -> Path:
    """Return the file of tombstones."""
    return configuration.privacy.tombstones or configuration.target.state_folder / FILE_NAME
