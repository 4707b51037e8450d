"""Access of a group to an inbox, so that `serve` and `gather` can run under two accounts of that group.

POSIX only. On Windows the access control list of the folder decides, and its files inherit it.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from gatherer.inbox import consumers
from gatherer.model.errors import ConfigurationError

FILE_MODE: Final = 0o660
FOLDER_MODE: Final = 0o2770  # set-group-ID: new files in the folder belong to the group as well
# SQLite creates -wal and -shm with the mode of the database; existing ones have to be changed.
_SUFFIXES: Final = ("", "-wal", "-shm", ".lock", ".lock.holder")


def share(inbox: Path, group: str) -> None:
    """Let the accounts of `group` read and write the inbox file `inbox`, the files beside it and the folder.

    Files that have the right group and mode are not touched: they may belong to another account of the group.

    Raises:
        ConfigurationError: there is no such group, or this account may not give files to it.
        OSError: the files cannot be created.

    """
    if sys.platform == "win32":
        raise ConfigurationError(
            "[inbox] group has no effect on Windows: leave it out, and grant the accounts access to the folder with "
            "icacls (docs/administrator-windows.rst shows how)"
        )
    group_id = _group_id(group)
    folder = inbox.parent
    if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX):
        raise ConfigurationError(
            f"every account can write to {folder}: an inbox with a group needs a private folder"
        )
    _give(folder, group_id, group, FOLDER_MODE)
    # Created here, not by the first consumer, because both accounts have to write to it.
    consumers.folder(inbox).mkdir(mode=FOLDER_MODE, exist_ok=True)
    _give(consumers.folder(inbox), group_id, group, FOLDER_MODE)
    for suffix in _SUFFIXES:
        path = Path(f"{inbox}{suffix}")
        if suffix.startswith(".") and not path.exists():
            path.touch(mode=FILE_MODE)
        if path.exists():
            _give(path, group_id, group, FILE_MODE)


def _group_id(group: str) -> int:
    if sys.platform == "win32":
        raise AssertionError
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigurationError(f"[inbox] group: this machine has no group {group!r}") from None


def _give(path: Path, group_id: int, group: str, mode: int) -> None:
    """Give `path` to the group and set its mode. It is not opened: closing it would drop SQLite's locks."""
    if sys.platform == "win32":
        raise AssertionError
    status = path.stat()
    try:
        if status.st_gid != group_id:
            os.chown(path, -1, group_id)
        if stat.S_IMODE(status.st_mode) != mode or status.st_gid != group_id:
            path.chmod(mode)  # also after chown, which may clear the set-group-ID bit
    except PermissionError:
        raise ConfigurationError(
            f"{path} cannot be given to the group {group}: another account owns it, or this account is not in the "
            f"group. Run once as root: chgrp {group} {path} && chmod {mode:o} {path}"
        ) from None
