"""Errors that the operator can act on. Each class has an exit code; its text is the line that the operator reads."""

import errno
from pathlib import Path
from typing import Final

DEFECT_EXIT_CODE: Final = (
    70  # EX_SOFTWARE: after an exception that is not a GathererError, a defect of gatherer
)


class GathererError(Exception):
    """An error that the command line reports as one line, without a traceback."""

    exit_code = 3


class ConfigurationError(GathererError):
    """The configuration or the command's options are wrong: change them, then run again."""

    exit_code = 2


class InboxError(GathererError):
    """The inbox cannot be used and running again will not help: the operator has to act."""


class TargetError(GathererError):
    """The target cannot be used and running again will not help: the operator has to act."""


class OutputError(GathererError):
    """The file that the command is to write cannot be written, for example for want of a right."""


class TemporaryError(GathererError):
    """Not possible at present; nothing is lost, and the same command may succeed later (EX_TEMPFAIL)."""

    exit_code = 75


def output_error(file: Path | str, error: OSError) -> GathererError:
    """Return the error for the output `file`, which cannot be written because of `error`.

    It is a `TemporaryError` if the disk is full, else an `OutputError`.
    """
    error_class = TemporaryError if error.errno == errno.ENOSPC else OutputError
    return error_class(f"{file} cannot be written: {error.strerror or error}")
