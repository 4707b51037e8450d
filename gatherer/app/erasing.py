"""Erasing people and telling what is held about them, from the configuration to the verbs."""

import getpass
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer import __version__, config, example, locks, phones, separating, timestamps
from gatherer.app.asking import ask
from gatherer.app.opening import open_inbox, open_target
from gatherer.app.turns import turn
from gatherer.config import Configuration
from gatherer.erasure import Erased, Erasure, Hashing, Person, latest
from gatherer.errors import ConfigurationError, TemporaryError

if TYPE_CHECKING:
    from gatherer.inbox.base import Inbox
    from gatherer.inbox.scrubbing import Scrubbing
    from gatherer.targets.base import Target
    from gatherer.tracing import Found

log = logging.getLogger(__name__)

FILE_NAME: Final = "tombstones.ndjson"
AT_ONCE: Final = 1000  # notifications that are asked for in one request of another process

Progress = Callable[[int, int], None]


def person_of(numbers: Sequence[str], user_ids: Sequence[str]) -> Person:
    """Return the person who is known by these, as somebody has typed them.

    Raises:
        ConfigurationError: one of them is none.

    """
    found = {number: phones.e164(number.strip()) for number in numbers}
    if any(phone is None or number.strip().startswith("0") for number, phone in found.items()):
        raise ConfigurationError("a phone number needs its country code, as in +4917012345678")
    if any(len(user_id) < separating.SHORTEST for user_id in user_ids):
        raise ConfigurationError(f"a user id has at least {separating.SHORTEST} characters")
    return Person(phones=frozenset(phone for phone in found.values() if phone), user_ids=frozenset(user_ids))


def erased_people(configuration: Configuration, target: "Target", *, dry_run: bool = False) -> Erased | None:
    """Return everybody who was erased, after making the target and the file of tombstones agree on who that is.

    A target that does not know of somebody was restored from an older copy: the person is taken out of it again.
    None: nobody was, and there is no key.

    Raises:
        ConfigurationError: somebody was erased, and the key is missing, or another one.
        GathererError: the target or the file cannot be read or written.

    """
    from gatherer import tombstones

    path = _file(configuration)
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
    if new_to_target and not dry_run:
        from gatherer.erase import sweep

        swept = sweep(target, hashing, new_to_target).removed
        log.warning(
            "%s did not know of %d erased phone numbers, user ids and messages: it was restored from a copy, or "
            "they were erased meanwhile; %d rows about them were removed",
            target.name,
            len(new_to_target),
            swept,
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


@contextmanager
def open_people(configuration: Configuration, *, dry_run: bool) -> Iterator["People"]:
    """Open all inboxes and the target, for the duration of the block.

    With `dry_run` people can only be looked at. Otherwise no pass runs meanwhile on this machine.

    Raises:
        ConfigurationError: nobody could be erased with this configuration.
        TemporaryError: a pass is running.
        GathererError: something cannot be opened.

    """
    if not dry_run:
        hashing_of(configuration)
        _check_admin_tokens(configuration)
    with ExitStack() as resources:
        if not dry_run:
            try:
                resources.enter_context(turn(configuration))
            except locks.Held as held:
                raise TemporaryError(f"a pass is running: {held.holder}; try again when it is over") from None
        inboxes = {
            name: resources.enter_context(open_inbox(configuration, name))
            for name in configuration.named_inboxes
        }
        target = resources.enter_context(open_target(configuration, dry_run=dry_run))
        if not dry_run:
            erased_people(configuration, target)
        yield People(configuration, target, inboxes)


class People:
    """Whoever inboxes and target know of."""

    def __init__(self, configuration: Configuration, target: "Target", inboxes: "dict[str, Inbox]") -> None:
        self._configuration = configuration
        self._target = target
        self._inboxes = inboxes

    def trace(self, person: Person, *, progress: Progress = lambda done, total: None) -> "Found":
        """Return everything that is held about `person`. See `tracing.trace`."""
        from gatherer.tracing import trace

        return trace(self._target, self._inboxes, person, until=timestamps.LATEST, progress=progress)

    def erase(self, found: "Found", *, reference: str | None = None) -> None:
        """Erase the person of whom all that was `found`. What is interrupted has to be repeated, and can be.

        Raises:
            GathererError: something cannot be written just now, or by this account.

        """
        from gatherer import tombstones
        from gatherer.erase import erase

        erased_at = timestamps.now()
        buried = hashing_of(self._configuration).bury(found.person, erased_at)
        tombstones.append(_file(self._configuration), buried)
        rows = {table: len(some) for table, some in found.rows.items()}
        responses = rows.pop("response", 0)
        erasure = Erasure(
            erased_at=erased_at,
            host=socket.gethostname(),
            account=_account(),
            version=__version__,
            reference=reference,
            identifiers=len(found.person.phones | found.person.user_ids),
            notifications=found.notifications,
            responses=responses,
            other_rows=sum(rows.values()) + len(found.rejected),
        )
        erase(self._target, found, scrub=self._scrub, tombstones=buried, erasure=erasure)

    def _scrub(self, name: str, scrubbings: "list[Scrubbing]") -> None:
        from gatherer.inbox.remote import RemoteInbox
        from gatherer.inbox.scrubbing import to_plain

        settings, inbox = self._configuration.named_inboxes[name], self._inboxes[name]
        if isinstance(inbox, RemoteInbox):
            inbox.scrub(scrubbings)
        elif isinstance(settings, config.Inbox):
            for start in range(0, len(scrubbings) or 1, AT_ONCE):
                ask(self._configuration, settings, "scrub", to_plain(scrubbings[start : start + AT_ONCE]))


def _account() -> str:
    """Return the name of the account that this runs under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # none of that name, as in a container
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _check_admin_tokens(configuration: Configuration) -> None:
    for name, settings in configuration.named_inboxes.items():
        if isinstance(settings, config.OfferedInbox) and settings.admin_token is None:
            raise ConfigurationError(
                f"inbox {name}: people can be erased there only with an admin_token, which is one of the "
                "admin_tokens in the [pull] of that machine"
            )


def _file(configuration: Configuration) -> Path:
    return configuration.privacy.tombstones or configuration.target.state_folder / FILE_NAME
