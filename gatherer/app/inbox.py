"""`gatherer inbox`: read, export and import notifications; purge, back up and check the inbox; list its consumers."""

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
from gatherer.app.resources import check_endpoint, inbox_retention, open_inbox, open_writer
from gatherer.config import Configuration
from gatherer.inbox.base import Bounds, Selection
from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError, output_error
from gatherer.model.notification import Notification

if TYPE_CHECKING:
    from gatherer.inbox.integrity_check import CheckResult
    from gatherer.inbox.reader import LocalInbox
    from gatherer.inbox.restore import RestoreResult
    from gatherer.inbox.retention import PurgeStep
    from gatherer.inbox.writer import InboxWriter, NotificationRow


def select(configuration: Configuration, selection: Selection) -> Iterator[Notification]:
    """Yield the selected notifications, oldest first, without those that were erased.

    Raises:
        ConfigurationError: the endpoint of the selection is unknown.

    """
    with open_inbox(configuration) as inbox:
        check_endpoint(configuration, inbox, selection.endpoint)
        for batch in inbox.select(selection, Bounds()):
            yield from (notification for notification in batch if not notification.is_erased)


def show(configuration: Configuration, number: int) -> Notification:
    """Return the notification `number`.

    Raises:
        ConfigurationError: the inbox does not hold it.

    """
    with open_inbox(configuration) as inbox:
        notification = inbox.get(number)
        if notification is None:
            raise ConfigurationError(
                f"the inbox holds no notification {number}: its ids go from {inbox.first_id()} to {inbox.last_id()}"
            )
        return notification


def to_line(notification: Notification) -> str:
    """Return `notification` as one line of JSON. See `ndjson.to_line`."""
    from gatherer.inbox import ndjson

    return ndjson.to_line(notification)


def export_bodies(configuration: Configuration, selection: Selection, folder: Path) -> int:
    """Write the bodies of the selected notifications into `folder`, each to its own file; return how many.

    Raises:
        ConfigurationError: a file exists already.
        OutputError: a file cannot be written.
        TemporaryError: the disk is full.

    """
    from gatherer.inbox import ndjson

    try:
        return ndjson.write_bodies(select(configuration, selection), folder)
    except FileExistsError as error:
        raise ConfigurationError(f"{error.filename} exists: an export never replaces another file") from None
    except OSError as error:
        raise output_error(error.filename or folder, error) from None


def import_lines(configuration: Configuration, files: Iterable[Path]) -> int:
    """Append the notifications in `files`, as NDJSON, to the inbox, all or none; return how many. `-` is stdin.

    Raises:
        ConfigurationError: `serve` is running, a file cannot be read, or a line is not a notification.
        TemporaryError: the inbox cannot be written at present.

    """
    from gatherer.inbox import ndjson

    def rows() -> "Iterator[NotificationRow]":
        for path in files:
            if str(path) == "-":
                yield from ndjson.rows_of_lines("standard input", sys.stdin.buffer)
                continue
            with _readable(path), path.open("rb") as lines:
                yield from ndjson.rows_of_lines(str(path), lines)

    return _append(configuration, rows())


def import_bodies(
    configuration: Configuration,
    files: Iterable[Path],
    *,
    endpoint: str,
    provider: str | None = None,
    received_at: datetime | None = None,
) -> int:
    """Append each of `files` to the inbox as the body of a notification, all or none; return how many.

    Args:
        configuration: with or without its secrets.
        files: each has one body.
        endpoint: at which the notifications count as received.
        provider: whose decoder reads them; None: that of the endpoint in the configuration.
        received_at: when they count as received; None: when each file was last written.

    Raises:
        ConfigurationError: `serve` is running, a file cannot be read, or the provider is not known.
        TemporaryError: the inbox cannot be written at present.

    """
    from gatherer.inbox import ndjson

    providers_by_endpoint = {configured.name: configured.provider for configured in configuration.endpoint}
    name = provider or providers_by_endpoint.get(endpoint)
    if name is None:
        raise ConfigurationError(f"there is no endpoint {endpoint!r} in the configuration: add --provider")
    providers.get(name)

    def rows() -> "Iterator[NotificationRow]":
        for path in files:
            with _readable(path):
                yield ndjson.row_of_body(path, endpoint=endpoint, provider=name, received_at=received_at)

    return _append(configuration, rows())


def purge(configuration: Configuration) -> "list[PurgeStep]":
    """Purge notifications as `[inbox]` says, while `serve`, which purges by itself, is stopped. Return the steps.

    Raises:
        ConfigurationError: `serve` is running.
        TemporaryError: the inbox cannot be written at present.

    """
    from gatherer.inbox.maintenance import purge_now

    with _writer(configuration) as writer:
        return purge_now(writer, inbox_retention(configuration.inbox))


def consumers(configuration: Configuration) -> list[dict[str, Any]]:
    """Return the consumers of the inbox, and how far each has read, as values that JSON can carry."""
    from gatherer.inbox.consumers import read_all

    with open_inbox(configuration) as inbox:
        last_id, identity = inbox.last_id(), inbox.identity
    return [
        {
            "consumer": consumer.name,
            "state": {identity: "reads this inbox", "": "unreadable: nothing is purged"}.get(
                consumer.inbox_id, "read another inbox"
            ),
            "acknowledged": consumer.notification_id,
            "behind": last_id - consumer.notification_id if consumer.inbox_id == identity else None,
            "acknowledged_at": timestamps.iso(consumer.acknowledged_at) if consumer.inbox_id else None,
        }
        for consumer in read_all(configuration.inbox.path.resolve())
    ]


def forget_consumer(configuration: Configuration, name: str) -> None:
    """Forget the consumer `name`, so that `serve` may purge what it has not read.

    Raises:
        ConfigurationError: there is no such consumer.
        InboxError: this account may not write the folder.

    """
    from gatherer.inbox.consumers import folder, forget, read_all

    path = configuration.inbox.path.resolve()
    try:
        if forget(path, name):
            return
    except OSError as error:
        raise InboxError(f"{folder(path)} cannot be written: {error.strerror}") from None
    names = ", ".join(consumer.name for consumer in read_all(path)) or "none"
    raise ConfigurationError(f"the inbox has no consumer {name!r}; it has: {names}")


def backup(configuration: Configuration, destination: Path) -> tuple[Path, int]:
    """Copy the inbox to a new file, also while `serve` runs; return its path and its size in bytes.

    Times in the name are filled in as in strftime.

    Raises:
        ConfigurationError: the file exists already.
        OutputError: the file cannot be written.
        GathererError: the inbox cannot be read, or the disk is full.

    """
    from gatherer.inbox.backup import backup as back_up

    path = dated_file("FILE", destination)
    with open_local_inbox(configuration) as inbox:
        return path, back_up(inbox, path)


def restore(configuration: Configuration, file: Path) -> "RestoreResult":
    """Put a copy of the backup `file` in the place of the inbox, while `serve` is stopped.

    Raises:
        ConfigurationError: `serve` is running, or `file` is not a backup of an inbox.
        GathererError: `file` is damaged, or the inbox cannot be written.

    """
    from gatherer.inbox.restore import restore as put_in_place

    return put_in_place(configuration.inbox.path, file, group=configuration.inbox.group)


def check(configuration: Configuration) -> "CheckResult":
    """Check the whole inbox for damage and missing notifications, also while `serve` runs.

    Raises:
        InboxError: the inbox cannot be opened.

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
    """Open the inbox for writing, for the duration of the block.

    Raises:
        ConfigurationError: `serve`, the only other writer, is running.

    """
    path = configuration.inbox.path
    if not path.exists():
        raise InboxError(f"there is no inbox at {path}; `gatherer serve` creates it")
    with closing(open_writer(configuration.inbox)) as writer:
        yield writer


def _append(configuration: Configuration, rows: "Iterable[NotificationRow]") -> int:
    """Append `rows` to the inbox in one transaction; return how many."""
    from gatherer.inbox import sqlite_file
    from gatherer.inbox.retention import transaction
    from gatherer.inbox.writer import InboxUnavailableError

    def work(connection: sqlite3.Connection) -> int:
        with transaction(connection):
            return connection.executemany(sqlite_file.INBOX.insert(1), rows).rowcount

    with _writer(configuration) as writer:
        try:
            return max(0, writer.perform(work).result())
        except (InboxUnavailableError, sqlite3.Error) as error:
            raise TemporaryError(f"nothing was imported: the inbox cannot be written: {error}") from error


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise an OSError of the block, which reads `path`, as ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; nothing was imported") from None
