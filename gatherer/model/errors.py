"""Errors that the operator can act on. Each class has an exit code; its text is the line that the operator reads."""

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


class TemporaryError(GathererError):
    """Not possible at present; nothing is lost, and the same command may succeed later (EX_TEMPFAIL)."""

    exit_code = 75
