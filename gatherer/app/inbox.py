"""Keeping an inbox: looking at it, taking notifications out and back in, purging, copying, checking."""

import contextlib
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatherer import providers
from gatherer.app.output_path import dated_file
from gatherer.app.resources import inbox_retention, open_inbox, open_writer
from gatherer.config import Configuration
from gatherer.inbox.base import Bounds, Selection
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError
from gatherer.model.notification import Notification

if TYPE_CHECKING:
    from gatherer.inbox.integrity_check import CheckResult
    from gatherer.inbox.reader import LocalInbox
    from gatherer.inbox.retention import PurgeStep
    from gatherer.inbox.writer import InboxWriter, NotificationRow


def select(configuration: Configuration, selection: Selection) -> Iterator[Notification]:
    """Yield the notifications that `selection` chooses, oldest first, without those that were erased."""
    with open_inbox(configuration) as inbox:
        for batch in inbox.select(selection, Bounds()):
            yield from (one for one in batch if not one.is_erased)


def show(configuration: Configuration, number: int) -> Notification:
    """Return the notification `number`.

    Raises:
        ConfigurationError: the inbox does not hold it.

    """
    with open_inbox(configuration) as inbox:
        found = inbox.get(number)
        if found is None:
            raise ConfigurationError(
                f"the inbox holds no notification {number}: its ids go from {inbox.first_id()} to {inbox.last_id()}"
            )
        return found


def to_line(notification: Notification) -> str:
    """Return `notification` as one line of JSON. See `copies.to_line`."""
    from gatherer.inbox import ndjson

    return ndjson.to_line(notification)


def export_bodies(configuration: Configuration, selection: Selection, folder: Path) -> int:
    """Write the bodies of what `selection` chooses into `folder`; return how many."""
    from gatherer.inbox import ndjson

    try:
        return ndjson.write_bodies(select(configuration, selection), folder)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or folder} cannot be written: {error.strerror}") from None


def import_lines(configuration: Configuration, files: Iterable[Path]) -> int:
    """Append the notifications in `files`, lines of JSON, to the inbox; all of them or none. `-` is stdin.

    Raises:
        ConfigurationError: `serve` is running, a file cannot be read, or holds something else.
        TemporaryError: the inbox cannot be written just now.

    """
    from gatherer.inbox import ndjson

    def arrivals() -> "Iterator[NotificationRow]":
        for path in files:
            if str(path) == "-":
                yield from ndjson.rows_of_lines("standard input", sys.stdin.buffer)
                continue
            with _readable(path), path.open("rb") as lines:
                yield from ndjson.rows_of_lines(str(path), lines)

    return _append(configuration, arrivals())


def import_bodies(
    configuration: Configuration,
    files: Iterable[Path],
    *,
    endpoint: str,
    provider: str | None = None,
    received_at: datetime | None = None,
) -> int:
    """Append the bytes of each of `files` to the inbox as a notification received at `endpoint`; all or none.

    Raises:
        ConfigurationError: as above, or the provider is not known.
        TemporaryError: the inbox cannot be written just now.

    """
    from gatherer.inbox import ndjson

    known = {one.name: one.provider for one in configuration.endpoint}
    name = provider or known.get(endpoint)
    if name is None:
        raise ConfigurationError(
            f"there is no endpoint {endpoint!r} in the configuration: say its --provider"
        )
    providers.get(name)

    def arrivals() -> "Iterator[NotificationRow]":
        for path in files:
            with _readable(path):
                yield ndjson.row_of_body(path, endpoint=endpoint, provider=name, received_at=received_at)

    return _append(configuration, arrivals())


def purge(configuration: Configuration) -> "list[PurgeStep]":
    """Purge what may go, now. Only while `serve` is stopped: it does so by itself.

    Raises:
        ConfigurationError: `serve` is running.
        TemporaryError: the inbox cannot be written just now.

    """
    from gatherer.inbox.maintenance import purge_now

    with _writer(configuration) as writer:
        return purge_now(writer, inbox_retention(configuration.inbox))


def consumers(configuration: Configuration) -> list[dict[str, Any]]:
    """Return who reads the inbox, and how far each has got, as plain values."""
    from gatherer.inbox import consumers as known

    with open_inbox(configuration) as inbox:
        last, identity = inbox.last_id(), inbox.identity
    return [
        {
            "consumer": one.name,
            "state": {identity: "reads it", "": "unreadable: nothing is purged"}.get(
                one.inbox_id, "of another inbox"
            ),
            "acknowledged": one.notification_id,
            "behind": last - one.notification_id if one.inbox_id == identity else None,
            "acknowledged_at": timestamps.iso(one.acknowledged_at) if one.inbox_id else None,
        }
        for one in known.read_all(configuration.inbox.path.resolve())
    ]


def forget_consumer(configuration: Configuration, name: str) -> None:
    """Forget the consumer `name`: what it has not read may be purged then.

    Raises:
        ConfigurationError: there is no such consumer, or this account may not change that.

    """
    from gatherer.inbox import consumers as known

    path = configuration.inbox.path.resolve()
    try:
        if known.forget(path, name):
            return
    except OSError as error:
        raise ConfigurationError(f"{known.folder(path)} cannot be written: {error.strerror}") from None
    listed = ", ".join(one.name for one in known.read_all(path)) or "none"
    raise ConfigurationError(f"the inbox has no consumer {name!r}; it has: {listed}")


def backup(configuration: Configuration, destination: Path) -> tuple[Path, int]:
    """Copy the inbox to a new file, also while `serve` runs; return which, and its size in bytes.

    Times in the name are filled in as in strftime.

    Raises:
        ConfigurationError: no file can have that name, or one has it.

    """
    from gatherer.inbox.backup import backup as copy

    path = dated_file("FILE", destination)
    with open_local_inbox(configuration) as inbox:
        return path, copy(inbox, path)


def check(configuration: Configuration) -> "CheckResult":
    """Look through the whole inbox, also while `serve` runs.

    Raises:
        InboxError: it cannot be read at all.

    """
    from gatherer.inbox import integrity_check

    with open_local_inbox(configuration) as inbox:
        return inbox.query(integrity_check.check)


@contextlib.contextmanager
def open_local_inbox(configuration: Configuration) -> "Iterator[LocalInbox]":
    """Open the inbox file on this machine for reading, for the duration of the block."""
    from gatherer.inbox.reader import LocalInbox

    with closing(LocalInbox(configuration.inbox.path)) as inbox:
        yield inbox


@contextlib.contextmanager
def _writer(configuration: Configuration) -> "Iterator[InboxWriter]":
    """Open the inbox as `serve` would, which therefore must not be running."""
    path = configuration.inbox.path
    if not path.exists():
        raise InboxError(f"there is no inbox at {path}; `gatherer serve` creates it")
    with closing(open_writer(configuration.inbox)) as writer:
        yield writer


def _append(configuration: Configuration, arrivals: "Iterable[NotificationRow]") -> int:
    from gatherer.inbox import sqlite_file
    from gatherer.inbox.retention import transaction
    from gatherer.inbox.writer import InboxUnavailableError

    def work(connection: sqlite3.Connection) -> int:
        with transaction(connection):
            return connection.executemany(sqlite_file.INBOX.insert(1), arrivals).rowcount

    with _writer(configuration) as writer:
        try:
            return max(0, writer.perform(work).result())
        except (InboxUnavailableError, sqlite3.Error) as problem:
            raise TemporaryError(f"nothing was imported, the inbox cannot be written: {problem}") from problem


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; nothing was imported") from None
