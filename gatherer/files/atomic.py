"""Atomic writes: a file appears at its path complete, or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Draft:
    """A text file that is being written under a temporary name."""

    def __init__(self, path: Path, mode: int | None) -> None:
        """Create the file at `path`, with the permissions `mode`; None: those that the umask leaves."""

        def open_private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o666 if mode is None else 0o600)

        self.path = path
        self.discarded = False
        # newline="": the caller writes the line ends, also on Windows.
        self._file = open(  # noqa: SIM115 - Path.open takes no opener; `close` closes the file
            path, "w", encoding="utf-8", newline="", opener=open_private
        )
        if mode is not None:
            path.chmod(mode)

    def write(self, text: str) -> None:
        """Append `text` to the draft."""
        self._file.write(text)

    def discard(self) -> None:
        """Delete the draft when the block ends, instead of giving it its name."""
        self.discarded = True

    def close(self) -> None:
        """Flush and close the file. Its content may not be on disk yet."""
        self._file.close()


@contextmanager
def atomic_write(
    path: Path, *, mode: int | None = None, replace: bool = True, durable: bool = True
) -> Iterator[Draft]:
    """Yield a draft that gets the name `path` when the block ends. If the block raises, the draft is deleted.

    Args:
        path: in a folder that exists.
        mode: the permissions of the file, independent of the umask; None: those that the umask leaves.
        replace: whether to replace an existing file at `path`.
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
        path: the name to give.
        replace: whether to replace an existing file at `path`.
        durable: whether the content and the name are on disk when this function returns.

    Raises:
        FileExistsError: there is a file at `path`, even if it was created a moment ago, and `replace` is false.
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
    """Give `part` the name `path`. Raises FileExistsError if there is a file at `path`."""
    if os.name == "nt":
        part.rename(path)  # on Windows this never replaces a file
        return
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # some network drives have no hard links: reserve the name with an empty file
        path.touch(exist_ok=False)
        part.replace(path)


def sync_folder(folder: Path) -> None:
    """Write the names in `folder` to disk. Otherwise a power failure could lose the name of a new file.

    Raises:
        OSError: the folder cannot be opened or synchronised.

    """
    if os.name == "nt":  # Windows cannot open a folder; NTFS writes names to its journal
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot do this
            raise
    finally:
        os.close(descriptor)
