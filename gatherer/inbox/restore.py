"""Puts a backup in the place of an inbox while `serve` is stopped."""

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gatherer.files import atomic, lock
from gatherer.files.migrations import IncompatibleFileError
from gatherer.inbox import file_token, filesystem, integrity_check, sqlite_file
from gatherer.inbox.committer import InboxInUseError
from gatherer.inbox.integrity_check import CheckResult
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError


@dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """What was restored."""

    content: CheckResult  # of the backup
    kept: Path | None  # the replaced inbox; None if there was no inbox


def restore(path: Path, backup: Path, *, group: str | None = None) -> RestoreResult:
    """Put a copy of `backup` in the place of the inbox at `path`; keep the replaced files under another name.

    The restored inbox gets a new identity. So the next run reads all of it, and ids that the replaced inbox has given to
    other notifications do no harm.

    A kill leaves the old inbox or the new one: repeat the command. While it runs, the disk needs room for a copy of the
    backup and one of the replaced inbox.

    Args:
        path: of the inbox; the file may be missing.
        backup: from `gatherer inbox backup`, or the file of an inbox that was stopped in an orderly way.
        group: the accounts of this group share the inbox.

    Raises:
        InboxInUseError: `serve` is running.
        ConfigurationError: `backup` is not a complete backup of an inbox, or the path is not suitable.
        InboxError: `backup` is damaged, or the files cannot be written.
        TemporaryError: the disk is full.

    """
    content = _check(path, backup)
    path = path.resolve()
    unfinished = path.with_name(path.name + ".unfinished")
    with _translate_errors(path), contextlib.ExitStack() as stack:
        filesystem.check(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stack.enter_context(lock.exclusive(path.with_name(path.name + ".lock")))
        stack.callback(unfinished.unlink, missing_ok=True)
        _copy(backup, unfinished)
        _empty_log(path)
        kept = _keep(path)
        file_token.forget(path)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        atomic.sync_folder(path.parent)
        atomic.publish(unfinished, path, replace=True)
        sqlite_file.create_private(path, group=group)
    return RestoreResult(content=content, kept=kept)


def _check(path: Path, backup: Path) -> CheckResult:
    """Check the whole file `backup`, and return its content."""
    write_ahead_log = Path(f"{backup}-wal")
    try:
        if not backup.is_file():
            raise ConfigurationError(f"there is no file {backup}")
        if path.exists() and path.samefile(backup):
            raise ConfigurationError(f"{backup} is the inbox itself")
        if write_ahead_log.exists() and write_ahead_log.stat().st_size:
            raise ConfigurationError(
                f"{backup} is not a complete backup: {write_ahead_log.name} holds a part of it. Make backups with "
                "`gatherer inbox backup`"
            )
        with closing(sqlite_file.open_readable(backup, resting=True)) as connection:
            content = integrity_check.check(connection)
    except IncompatibleFileError as error:
        raise ConfigurationError(f"{backup} {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{backup} cannot be read: {error.strerror or error}") from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            raise ConfigurationError(f"{backup} is not a gatherer inbox") from None
        raise InboxError(f"the backup {backup} is damaged: {error}; nothing was changed") from None
    if content.problems:
        raise InboxError(f"the backup {backup} is damaged: {content.problems[0]}; nothing was changed")
    return content


def _copy(backup: Path, unfinished: Path) -> None:
    """Copy `backup` to `unfinished`, with a new identity and a new token."""
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as target, backup.open("rb") as source:
        shutil.copyfileobj(source, target, 2**20)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute(
            "UPDATE inbox SET identity = lower(hex(randomblob(16))), file_token = lower(hex(randomblob(16)))"
        )


def _empty_log(path: Path) -> None:
    """Move the write-ahead log into the inbox at `path`, so that a kill cannot separate them.

    A log that belongs to another file is put aside. An inbox that cannot be opened keeps its log.
    """
    if path.exists():
        with contextlib.suppress(InboxError, IncompatibleFileError, sqlite3.Error):
            file_token.put_foreign_log_aside(path, sqlite_file.INBOX.about)
            with closing(sqlite_file.open_writable(path)) as connection:
                sqlite_file.truncate_log(connection)


def _keep(path: Path) -> Path | None:
    """Copy the inbox at `path` and its write-ahead log; return the path of the copy, None if there is no inbox."""
    if not path.exists():
        return None
    kept = Path(f"{path}.replaced_{datetime.now(UTC).strftime('%Y%m%dT%H%M%S%fZ')}")
    for suffix in ("", "-wal"):
        source, target = Path(f"{path}{suffix}"), Path(f"{kept}{suffix}")
        if source.exists():
            # No hard link: after a kill, the kept file would be the inbox that serve writes, beside an old log.
            shutil.copy2(source, target)
            with target.open("rb+") as file:
                os.fsync(file.fileno())
    atomic.sync_folder(path.parent)
    return kept


@contextlib.contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except lock.LockHeldError as held:
        raise InboxInUseError(
            f"the inbox {path} is in use by {held.holder}: stop `gatherer serve` first; nothing was changed"
        ) from None
    except (sqlite3.Error, OSError) as error:
        is_full = getattr(error, "errno", None) == errno.ENOSPC
        if is_full or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            raise TemporaryError(f"the disk of {path} is full: {error}") from error
        raise InboxError(f"the inbox {path} cannot be restored: {error}") from error
