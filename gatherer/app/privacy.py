"""`gatherer privacy`: find what inboxes and target hold about a person, and erase it."""

import getpass
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from gatherer import __version__, config
from gatherer.app.control import submit
from gatherer.app.resources import open_inbox, open_target
from gatherer.app.run_lock import require_run_lock
from gatherer.app.suppression import (
    decoder,
    sync_suppression_list,
    tombstone_file,
    tombstone_hashing,
)
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

REDACTIONS_PER_REQUEST: Final = 200  # to the process that writes the inbox
MAX_ROUNDS: Final = 3  # of erasing what has arrived since the last round

Progress = Callable[[int, int], None]  # called with how many notifications are searched, of how many


def parse_person(numbers: Sequence[str], user_ids: Sequence[str]) -> Person:
    """Return the person with these phone numbers and user ids, as the operator has typed them.

    Raises:
        ConfigurationError: a number has no country code, or a user id is too short.

    """
    parsed = {number: phones.e164(number.strip()) for number in numbers}
    if any(phone is None or number.strip().startswith("0") for number, phone in parsed.items()):
        raise ConfigurationError("a phone number needs its country code, as in +4917012345678")
    if any(len(user_id) < separating.SHORTEST for user_id in user_ids):
        raise ConfigurationError(f"a user id has at least {separating.SHORTEST} characters")
    spellings = frozenset[str]().union(*(phones.spellings(phone) for phone in parsed.values() if phone))
    return Person(phones=spellings, user_ids=frozenset(user_ids))


@contextmanager
def open_stores(configuration: Configuration, *, dry_run: bool) -> Iterator["Stores"]:
    """Open all inboxes and the target for the duration of the block.

    With `dry_run` they can only be searched. Otherwise no other run, replay or erasure begins on this machine.

    Raises:
        ConfigurationError: the configuration lacks the privacy key or an admin token, which erasing needs.
        TemporaryError: a run is in progress.
        GathererError: an inbox or the target cannot be opened.

    """
    if not dry_run:
        tombstone_hashing(configuration)
        _check_admin_tokens(configuration)
    with ExitStack() as resources:
        if not dry_run:
            resources.enter_context(require_run_lock(configuration))
        inboxes = {
            name: resources.enter_context(open_inbox(configuration, name))
            for name in configuration.named_inboxes
        }
        target = resources.enter_context(open_target(configuration, dry_run=dry_run))
        erased = None if dry_run else sync_suppression_list(configuration, target)
        yield Stores(configuration, target, inboxes, erased)


class Stores:
    """Everything that holds data about people: the inboxes and the target."""

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

    def search(self, person: Person, *, progress: Progress = lambda done, total: None) -> "Found":
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
        """Erase what was `found` about a person, and what has arrived since.

        Args:
            found: the result of `search`.
            reference: what the operator calls this erasure, for the table `erasure`.

        Raises:
            GathererError: an inbox, the target or the file of tombstones cannot be written. Erasing again is
                safe, and completes what was interrupted.

        """
        for _ in range(MAX_ROUNDS):
            self._erase_once(found, reference)
            found = self.search(found.person)
            if not found.counts:
                return
        raise TemporaryError("more about the person keeps arriving: repeat the command")

    def _erase_once(self, found: "Found", reference: str | None) -> None:
        from gatherer.privacy import tombstones
        from gatherer.privacy.erase import erase, redeliverable

        erased_at = timestamps.now()
        person = replace(found.person, message_ids=found.person.message_ids | redeliverable(found))
        new_tombstones = tombstone_hashing(self._configuration).bury(person, erased_at)
        tombstones.append(tombstone_file(self._configuration), new_tombstones)
        erase(
            self._target,
            found,
            decode=decoder(self._configuration, self._erased),
            erased=self._erased,
            redact=self._redact,
            tombstones=new_tombstones,
            erasure=_erasure(found, erased_at, reference),
        )

    def _redact(self, name: str, redactions: "list[InboxRedaction]") -> None:
        """Redact notifications of the inbox `name` through the process that writes it."""
        from gatherer.inbox.actions import REDACT
        from gatherer.inbox.redaction import to_json_values
        from gatherer.inbox.remote.inbox import RemoteInbox

        settings, inbox = self._configuration.named_inboxes[name], self._inboxes[name]
        if isinstance(inbox, RemoteInbox):
            inbox.redact(redactions)
        elif isinstance(settings, config.Inbox):
            for start in range(0, len(redactions) or 1, REDACTIONS_PER_REQUEST):
                chunk = redactions[start : start + REDACTIONS_PER_REQUEST]
                submit(self._configuration, settings, REDACT, to_json_values(chunk))


def _erasure(found: "Found", erased_at: datetime, reference: str | None) -> Erasure:
    """Return the row of the table `erasure`: how much was erased, without the person."""
    rows = {table: len(found.rows[table]) + len(found.mentions.get(table, ())) for table in found.rows}
    responses = rows.pop("response", 0)
    return Erasure(
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


def _account() -> str:
    """Return the name of the operating system's account that runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the account has no name, as in a container
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _check_admin_tokens(configuration: Configuration) -> None:
    """Raise ConfigurationError if a remote inbox has no admin token."""
    for name, settings in configuration.named_inboxes.items():
        if isinstance(settings, config.OfferedInbox) and settings.admin_token is None:
            raise ConfigurationError(
                f"inbox {name}: erasing a person there needs an admin_token, which is one of the "
                "admin_tokens in the [pull] of that machine"
            )
