"""The tombstones of erased people in a file beside the target: a target that is restored from a copy has lost its own.

One line of JSON for each, only ever appended.
"""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError, TargetError
from gatherer.model.person import Scope, Tombstone

log = logging.getLogger(__name__)


def read(path: Path) -> list[Tombstone]:
    """Return the tombstones in the file `path`; none if it is not there.

    Raises:
        ConfigurationError: it cannot be read.

    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"the tombstones {path} cannot be read: {error.strerror or error}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_parsed(json.loads(line)))
        except (ValueError, LookupError, TypeError, RecursionError):
            # Cut off while it was written: that command did not end, and has been repeated since, or has to be.
            log.warning(
                "%s, line %d is no tombstone: was `gatherer privacy erase` interrupted?", path, number
            )
    return found


def append(path: Path, tombstones: Iterable[Tombstone]) -> None:
    """Return when `tombstones` are on disk, in the file `path`, which this account alone can read.

    Raises:
        TargetError: it cannot be written.

    """
    lines = "".join(_line(one) for one in tombstones)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch(mode=0o600)
        with path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # the line before was cut off
                    lines = "\n" + lines
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TargetError(f"the tombstones {path} cannot be written: {error.strerror or error}") from None


def _line(one: Tombstone) -> str:
    values = {
        "identifier": one.identifier.hex(),
        "scope": one.scope,
        "erased_at": timestamps.iso(one.erased_at),
        "key_id": one.key_id,
    }
    return json.dumps(values) + "\n"


def _parsed(values: dict[str, Any]) -> Tombstone:
    erased_at = timestamps.parse(values["erased_at"])
    if erased_at is None or values["scope"] not in get_args(Scope):
        raise ValueError
    return Tombstone(bytes.fromhex(values["identifier"]), values["scope"], erased_at, str(values["key_id"]))
