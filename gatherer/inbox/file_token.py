"""Binds the write-ahead log of an inbox to its file, so that SQLite never moves a log into another file.

SQLite moves the content of `inbox.db-wal` into the file that stands at `inbox.db`, whichever it is. After a kill -9, an
operator can copy a backup to `inbox.db` and leave the log: pages of the replaced file would then overwrite pages of the
backup. So the file holds a random token, which `inbox.db.token` repeats. Each writer changes both when it opens
the inbox, and each backup gets its own token. If the tokens differ, the file and its log are checked together before
SQLite may write: a snapshot of both, restored without `inbox.db.token`, is right, and every other log is put aside.

A copy of the file alone that a program made while `serve` was running has the right token, and is not recognised. Such
a copy is no backup.
"""

import logging
import secrets
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gatherer.files import atomic
from gatherer.model.errors import InboxError

log = logging.getLogger(__name__)

SUFFIX: Final = ".token"
_LOG_SUFFIXES: Final = ("-wal", "-shm")


def put_foreign_log_aside(path: Path, table: str) -> Path | None:
    """Rename the write-ahead log of the file at `path` if it belongs to another file; return its new path, or None.

    Call this before SQLite opens the file for writing, while the lock of the inbox is held. If the tokens differ, the whole
    file is checked, which takes minutes per GB.

    Args:
        path: of the inbox or the quarantine.
        table: of one row, with the column file_token.

    Raises:
        InboxError: the log belongs to another file, and the file itself is damaged.
        OSError: a file cannot be read or renamed.

    """
    write_ahead_log = Path(f"{path}-wal")
    if not write_ahead_log.exists() or not write_ahead_log.stat().st_size:
        return None
    tokens, token = _expected_tokens(path), _read_token(path, table)
    if not tokens or token is None or token in tokens:
        return None
    log.warning(
        "%s is not the file that the last writer left there: checking it, which takes minutes per GB", path
    )
    if _is_consistent(path, table, token):
        log.warning("the write-ahead log of %s belongs to it: continuing with both", path)
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    aside = Path(f"{path}.other_{stamp}-wal")
    write_ahead_log.rename(aside)
    Path(f"{path}-shm").unlink(missing_ok=True)
    atomic.sync_folder(path.parent)
    log.error(
        "another file was put in the place of %s, and the write-ahead log beside it belongs to the replaced file. "
        "The log is kept as %s. `gatherer inbox restore` is the safe way to restore a backup",
        path,
        aside.name,
    )
    with closing(_open_alone(path)) as connection:
        problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if problem != "ok":
        raise InboxError(f"the inbox {path}, which replaces another file, is damaged: {problem}")
    return aside


def renew(connection: sqlite3.Connection, path: Path, table: str) -> None:
    """Give the file at `path` a new token, so that no earlier copy of it has the present one.

    Both tokens are valid until the new one is in the file itself: a kill in between must not make the log foreign.

    Args:
        connection: writes the file. Its write-ahead log is empty, unless a reader prevents that.
        path: of the inbox or the quarantine.
        table: of one row, with the column file_token.

    Raises:
        sqlite3.Error: the file cannot be written.
        OSError: the file with the token cannot be written.

    """
    old = connection.execute(f"SELECT file_token FROM {table}").fetchone()[0]
    new = secrets.token_hex(16)
    in_file = _read_token(path, table)
    _write_tokens(path, {old, new} | ({in_file} if in_file is not None else set()))
    connection.execute(f"UPDATE {table} SET file_token = ?", (new,))
    if not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        _write_tokens(path, {new})


def forget(path: Path) -> None:
    """Delete the file with the token of the inbox at `path`.

    Raises:
        OSError: it cannot be deleted.

    """
    Path(f"{path}{SUFFIX}").unlink(missing_ok=True)


def _expected_tokens(path: Path) -> set[str]:
    """Return the tokens that the file at `path` may have; none if that is not known."""
    try:
        return set(Path(f"{path}{SUFFIX}").read_text(encoding="ascii").split())
    except (FileNotFoundError, UnicodeDecodeError):
        return set()


def _write_tokens(path: Path, tokens: set[str]) -> None:
    # No secret: the accounts of the group of the inbox have to read it.
    with atomic.atomic_write(Path(f"{path}{SUFFIX}"), mode=0o644) as draft:
        draft.write("".join(f"{token}\n" for token in sorted(tokens)))


def _read_token(path: Path, table: str) -> str | None:
    """Return the token in the file itself, without its log; None if the file cannot be read without its log."""
    try:
        with closing(_open_alone(path)) as connection:
            row = connection.execute(f"SELECT file_token FROM {table}").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _is_consistent(path: Path, table: str, token: str) -> bool:
    """Whether the file and its log, read together, are undamaged and have the `token` of the file alone."""
    try:
        # A connection with mode=ro never moves the log into the file.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute(f"SELECT file_token FROM {table}").fetchone() != (token,):
                return False
            return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _open_alone(path: Path) -> sqlite3.Connection:
    # immutable=1 ignores the write-ahead log.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
