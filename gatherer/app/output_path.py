"""Names of files that people give, with times in them."""

from pathlib import Path

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError


def dated_file(option: str, name: Path) -> Path:
    """Return the file that `name`, given as `option`, is with the present time filled in as in strftime.

    Raises:
        ConfigurationError: it is a folder, or cannot be the name of a file.

    """
    path = Path(filled(option, str(name)))
    try:
        is_folder = not path.name or path.is_dir()
    except OSError as error:
        raise ConfigurationError(f"{option}: {path} cannot be a file: {error.strerror or error}") from None
    if is_folder:
        raise ConfigurationError(f"{option}: {path} is a folder; write the name of a file")
    return path


def filled(option: str, text: str) -> str:
    """Return the present time in the form of `text`, given as `option`, as strftime has it.

    Raises:
        ConfigurationError: no time can be written like that.

    """
    try:
        text.encode()  # bytes that were none of UTF-8 reach us as lone surrogates, which go into no file
        return timestamps.now().strftime(text)
    except ValueError as error:  # Windows refuses directives that it does not know
        raise ConfigurationError(f"{option} {text!r} is no text with times as in strftime: {error}") from None
