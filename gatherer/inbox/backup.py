"""A backup of an inbox, made while `serve` keeps writing it."""

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gatherer.files import atomic
from gatherer.inbox.reader import LocalInbox
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError, output_error


def backup(inbox: LocalInbox, destination: Path) -> int:
    """Copy `inbox` to the new file `destination`; return its size.

    The copy is consistent, checked before it gets its name, and complete in itself: it needs no -wal.
    Everything is copied in one read transaction: a copy in several steps would start again with each new
    notification. Meanwhile the write-ahead log grows by what arrives.

    Raises:
        ConfigurationError: the file exists.
        OutputError: it cannot be written there.
        InboxError: the copy is damaged, and so probably is the inbox.
        TemporaryError: the disk is full, or the inbox locked.

    """
    if destination.exists():
        raise _exists(destination)
    with _translate_errors(destination):
        # Created exclusively, under a name that no other account can know beforehand: others may write the folder.
        descriptor, name = tempfile.mkstemp(dir=destination.parent, prefix=".inbox-", suffix=".unfinished")
        os.close(descriptor)
    unfinished = Path(name)
    try:
        result = inbox.query(lambda connection: _copy(connection, unfinished, destination))
        if result != "ok":
            raise InboxError(f"the copy of the inbox is damaged ({result}): run `gatherer inbox check`")
        with _translate_errors(destination):
            atomic.publish(unfinished, destination, replace=False)
            return destination.stat().st_size
    finally:
        with contextlib.suppress(OSError):
            for suffix in ("", "-journal"):
                Path(f"{unfinished}{suffix}").unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, unfinished: Path, destination: Path) -> str:
    """Copy the database of `source` to the empty file `unfinished`; return the result of SQLite's check of it, such as "ok".

    Errors name the file `destination`, which the operator asked for.

    Raises:
        TemporaryError: the disk is full.
        sqlite3.Error: the source cannot be read.

    """
    with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as copy:
        try:
            source.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode = DELETE")
            # The log of the inbox does not belong to the copy.
            copy.execute("UPDATE inbox SET file_token = lower(hex(randomblob(16)))")
            return str(copy.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                raise TemporaryError(f"{destination} cannot be written: the disk is full") from error
            raise


def _exists(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} exists: a backup never replaces another file")


@contextlib.contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise output_error(path, error) from None
