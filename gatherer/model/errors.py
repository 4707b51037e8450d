"""Errors that a person can act on. Each class is one exit code; its text is the one line they read."""


class GathererError(Exception):
    """Something the command line reports as one line, without a traceback."""

    exit_code = 3


class ConfigurationError(GathererError):
    """The configuration or the command's options are wrong: change them, then run again."""

    exit_code = 2


class InboxError(GathererError):
    """The inbox cannot be used and running again will not help: a person has to look."""


class TargetError(GathererError):
    """The target cannot be used and running again will not help: a person has to look."""


class TemporaryError(GathererError):
    """Not possible just now; nothing is lost, and the same command may work later (EX_TEMPFAIL)."""

    exit_code = 75
