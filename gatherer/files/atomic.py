"""Files that appear at their path complete, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Draft:
    """A text file that is being written, and that has no name of its own yet."""

    def __init__(self, path: Path, mode: int | None) -> None:
        def open_private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o666 if mode is None else 0o600)

        self.path = path
        self.discarded = False
        # newline="": the caller decides about line ends, also on Windows.
        self._file = open(  # noqa: SIM115 - Path.open knows no opener; `close` closes it
            path, "w", encoding="utf-8", newline="", opener=open_private
        )
        if mode is not None:
            path.chmod(mode)

    def write(self, text: str) -> None:
        """Append `text` to the draft."""
        self._file.write(text)

    def discard(self) -> None:
        """Have no file appear when the block ends."""
        self.discarded = True

    def close(self) -> None:
        """Close the file; what was written is in the hands of the operating system."""
        self._file.close()


@contextmanager
def atomic_write(
    path: Path, *, mode: int | None = None, replace: bool = True, durable: bool = True
) -> Iterator[Draft]:
    """Yield a draft that gets the name `path` when the block ends. If the block raises, nothing appears.

    Args:
        path: in a folder that exists.
        mode: the permissions of the file, independent of the umask; None: those that the umask leaves.
        replace: whether the new file takes the place of one that is at `path` already.
        durable: whether the content and the name are on disk when the block has ended.

    Raises:
        FileExistsError: there is a file at `path`, and `replace` is false.
        OSError: the file cannot be written.

    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft = Draft(part, mode)
        try:
            yield draft
        finally:
            draft.close()
        if not draft.discarded:
            publish(part, path, replace=replace, durable=durable)
    finally:
        part.unlink(missing_ok=True)


def publish(part: Path, path: Path, *, replace: bool, durable: bool = True) -> None:
    """Give the complete file `part` the name `path`. `part` may still be there afterwards.

    Args:
        part: in the folder of `path`; closed.
        path: the name that it gets.
        replace: whether it takes the place of a file that has that name.
        durable: whether the content and the name are on disk when this returns.

    Raises:
        FileExistsError: a file has that name, even if it appeared this moment, and `replace` is false.
        OSError: the file cannot be written.

    """
    if durable:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
    if replace:
        part.replace(path)
    else:
        _give_name(part, path)
    if durable:
        sync_folder(path.parent)


def _give_name(part: Path, path: Path) -> None:
    if os.name == "nt":
        part.rename(path)  # Windows refuses by itself to replace a file
        return
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # some network drives have no links: an empty file takes the name first
        path.touch(exist_ok=False)
        part.replace(path)


def sync_folder(folder: Path) -> None:
    """Return when the names in `folder` are on disk: a power failure could take a new name with it otherwise.

    Raises:
        OSError: the folder cannot be opened or synchronised.

    """
    if os.name == "nt":  # a folder cannot be opened there; NTFS keeps a log of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # as some network file systems answer
            raise
    finally:
        os.close(descriptor)
