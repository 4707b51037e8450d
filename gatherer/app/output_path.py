"""Paths of output files: the present time is filled into their names."""

from pathlib import Path

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError


def dated_file(option: str, name: Path) -> Path:
    """Return the path `name` with the present time filled in, as strftime does.

    Args:
        option: the option of the command line that gave `name`, for errors.
        name: a path that may contain directives such as %Y%m%d.

    Raises:
        ConfigurationError: the path is a folder, or not a valid file name.

    """
    path = Path(fill_in_time(option, str(name)))
    try:
        is_folder = not path.name or path.is_dir()
    except OSError as error:
        raise ConfigurationError(f"{option}: {path} cannot be a file: {error.strerror or error}") from None
    if is_folder:
        raise ConfigurationError(f"{option}: {path} is a folder; write the name of a file")
    return path


def fill_in_time(option: str, text: str) -> str:
    """Return `text` with the present time (UTC) filled in, as strftime does.

    Raises:
        ConfigurationError: `text` has an invalid directive, or is not UTF-8.

    """
    try:
        text.encode()  # arguments that are not UTF-8 contain lone surrogates, which no file can hold
        return timestamps.now().strftime(text)
    except ValueError as error:  # Windows refuses directives that it does not know
        raise ConfigurationError(
            f"{option} {text!r} is not a text with times as in strftime: {error}"
        ) from None
