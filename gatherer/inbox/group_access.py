"""An inbox that the accounts of a group share: `serve` runs under one of them, `gather` under another.

POSIX only. On Windows the folder's access control list says who may do what, and files inherit it.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final

from gatherer.inbox import consumers
from gatherer.model.errors import ConfigurationError

FILE_MODE: Final = 0o660
FOLDER_MODE: Final = 0o2770  # what is made in it belongs to the group as well
# SQLite gives -wal and -shm the mode of the file itself; those that are there already need it as well.
_SUFFIXES: Final = ("", "-wal", "-shm", ".lock", ".lock.holder")


def share(inbox: Path, group: str) -> None:
    """Let the accounts of `group` read and write the inbox file `inbox`, its folder and what belongs to it.

    What is so already is left alone, so that it may belong to another account of the group.

    Raises:
        ConfigurationError: there is no such group, or this account may not give it the files.
        OSError: the files cannot be made.

    """
    if sys.platform == "win32":
        raise ConfigurationError(
            "[inbox] group is not for Windows: leave it out, and give the accounts rights on the folder with icacls "
            "(docs/administrator-windows.rst shows how)"
        )
    number = _number(group)
    folder = inbox.parent
    if folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX):
        raise ConfigurationError(
            f"{folder} is open to everybody: an inbox with a group needs a folder of its own"
        )
    _give(folder, number, group, FOLDER_MODE)
    consumers.folder(inbox).mkdir(mode=FOLDER_MODE, exist_ok=True)  # by us, as both accounts have to write it
    _give(consumers.folder(inbox), number, group, FOLDER_MODE)
    for suffix in _SUFFIXES:
        path = Path(f"{inbox}{suffix}")
        if suffix.startswith(".") and not path.exists():
            path.touch(mode=FILE_MODE)
        if path.exists():
            _give(path, number, group, FILE_MODE)


def _number(group: str) -> int:
    if sys.platform == "win32":
        raise AssertionError
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigurationError(f"[inbox] group: this machine has no group {group!r}") from None


def _give(path: Path, number: int, group: str, mode: int) -> None:
    """Give `path` to the group, unless it is so already. Opens nothing: that could drop SQLite's locks."""
    if sys.platform == "win32":
        raise AssertionError
    there = path.stat()
    try:
        if there.st_gid != number:
            os.chown(path, -1, number)
        if stat.S_IMODE(there.st_mode) != mode or there.st_gid != number:
            path.chmod(mode)  # again after a change of group, which may have cost the bit that passes it on
    except PermissionError:
        raise ConfigurationError(
            f"{path} cannot be given to the group {group}: it belongs to another account, or this one is not in the "
            f"group. Once, as root: chgrp {group} {path} && chmod {mode:o} {path}"
        ) from None
