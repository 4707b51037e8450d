"""Files that appear whole, or not at all."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gatherer.model.errors import TargetError


@contextmanager
def atomic_write(path: Path) -> Iterator[Callable[[str], object]]:
    """Let the block write a file that appears at `path` whole, or not at all. Yields what to call with text.

    Raises:
        TargetError: it cannot be written.

    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                yield file.write
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror or error}") from None


def give_name(part: Path, path: Path) -> None:
    """Give the file `part` the name `path`, unless another has it, even one that appears just now.

    Raises:
        FileExistsError: another has it.
        OSError: the file cannot be written there.

    """
    if os.name == "nt":
        part.rename(path)  # there it refuses by itself
        return
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # some network drives have no links: the name is taken first, by an empty file
        path.touch(exist_ok=False)
        part.replace(path)
