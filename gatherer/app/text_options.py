"""The options that say how text is written or read: the time zone of its times, and what separates its fields."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from gatherer.model.errors import ConfigurationError


def time_zone(name: str) -> tzinfo:
    """Return the IANA time zone `name`.

    Raises:
        ConfigurationError: there is no such zone.

    """
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r}; write an IANA name such as Europe/London"
        ) from None


def delimiter(text: str | None) -> str | None:
    """Return the character that `text` names: itself, or a tab for the word tab. None stays None.

    Raises:
        ConfigurationError: it is not one character that can separate fields.

    """
    character = "\t" if text == "tab" else text
    if character is None or (
        len(character) == 1 and (character.isprintable() or text == "tab") and text != '"'
    ):
        return character
    raise ConfigurationError(f'--delimiter {text!r}: write one character, as in ";", or the word tab')
