"""Erasing people and telling what is held about them, from the configuration to the verbs."""

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gatherer import __version__, config
from gatherer.app.control import submit
from gatherer.app.resources import open_inbox, open_target
from gatherer.app.run_lock import alone
from gatherer.app.suppression import decoder, erased_people, file_of, hashing_of
from gatherer.config import Configuration
from gatherer.model import phones, timestamps
from gatherer.model.errors import ConfigurationError, TemporaryError
from gatherer.model.person import Erasure, Person
from gatherer.privacy import separating
from gatherer.privacy.erased import Erased

if TYPE_CHECKING:
    from gatherer.inbox.base import Inbox
    from gatherer.inbox.redaction import InboxRedaction
    from gatherer.privacy.tracing import Found
    from gatherer.targets.base import Target

AT_ONCE: Final = 200  # notifications that are asked for in one request of another process
ROUNDS: Final = 3  # of looking for what has arrived meanwhile

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
    known = frozenset[str]().union(*(phones.spellings(phone) for phone in found.values() if phone))
    return Person(phones=known, user_ids=frozenset(user_ids))


@contextmanager
def open_people(configuration: Configuration, *, dry_run: bool) -> Iterator["People"]:
    """Open all inboxes and the target, for the duration of the block.

    With `dry_run` people can only be looked at. Otherwise no run begins meanwhile on this machine.

    Raises:
        ConfigurationError: nobody could be erased with this configuration.
        TemporaryError: a run is in progress.
        GathererError: something cannot be opened.

    """
    if not dry_run:
        hashing_of(configuration)
        _check_admin_tokens(configuration)
    with ExitStack() as resources:
        if not dry_run:
            resources.enter_context(alone(configuration))
        inboxes = {
            name: resources.enter_context(open_inbox(configuration, name))
            for name in configuration.named_inboxes
        }
        target = resources.enter_context(open_target(configuration, dry_run=dry_run))
        erased = None if dry_run else erased_people(configuration, target)
        yield People(configuration, target, inboxes, erased)


class People:
    """Whoever inboxes and target know of."""

    def __init__(
        self,
        configuration: Configuration,
        target: "Target",
        inboxes: "dict[str, Inbox]",
        erased: Erased | None,
    ) -> None:
        self._configuration = configuration
        self._target = target
        self._inboxes = inboxes
        self._erased = erased

    def trace(self, person: Person, *, progress: Progress = lambda done, total: None) -> "Found":
        """Return everything that is held about `person`. See `tracing.trace`."""
        from gatherer.privacy.tracing import trace

        return trace(
            self._target,
            self._inboxes,
            person,
            decoder(self._configuration),
            until=timestamps.LATEST,
            progress=progress,
        )

    def erase(self, found: "Found", *, reference: str | None = None) -> None:
        """Erase the person of whom all that was `found`, and what has arrived since.

        Raises:
            GathererError: something cannot be written just now, or by this account. To be repeated then, and can be.

        """
        for _ in range(ROUNDS):
            self._erase(found, reference)
            found = self.trace(found.person)
            if not found.counts:
                return
        raise TemporaryError("more about the person keeps arriving: repeat the command")

    def _erase(self, found: "Found", reference: str | None) -> None:
        from gatherer.privacy import tombstones
        from gatherer.privacy.erase import erase, redeliverable

        erased_at = timestamps.now()
        remembered = replace(found.person, message_ids=found.person.message_ids | redeliverable(found))
        buried = hashing_of(self._configuration).bury(remembered, erased_at)
        tombstones.append(file_of(self._configuration), buried)
        rows = {table: len(some) + len(found.mentions.get(table, ())) for table, some in found.rows.items()}
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
        erase(
            self._target,
            found,
            decode=decoder(self._configuration, self._erased),
            erased=self._erased,
            redact=self._redact,
            tombstones=buried,
            erasure=erasure,
        )

    def _redact(self, name: str, redactions: "list[InboxRedaction]") -> None:
        from gatherer.inbox.redaction import to_json_values
        from gatherer.inbox.remote.inbox import RemoteInbox

        settings, inbox = self._configuration.named_inboxes[name], self._inboxes[name]
        if isinstance(inbox, RemoteInbox):
            inbox.redact(redactions)
        elif isinstance(settings, config.Inbox):
            for start in range(0, len(redactions) or 1, AT_ONCE):
                submit(
                    self._configuration,
                    settings,
                    "redact",
                    to_json_values(redactions[start : start + AT_ONCE]),
                )


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
