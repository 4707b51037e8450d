"""ODBC connection strings: build, parse, and find the secrets in them."""

from collections.abc import Iterable
from typing import Final

# Characters with a meaning in a connection string, by the ODBC reference. Values with one of them need braces.
_SPECIAL: Final = frozenset("[]{}(),;?*=!@")
_SECRET: Final = frozenset({"pwd", "password", "accesstoken", "clientsecret"})
_SERVER: Final = ("server", "address", "addr", "networkaddress", "data source")
_DATABASE: Final = ("database", "initial catalog")

Pairs = list[tuple[str, str]]


def quote(value: str) -> str:
    """Return `value` for a connection string: if necessary in braces, with closing braces doubled.

    Raises:
        ValueError: `value` contains NUL, at which every driver stops reading.

    """
    if "\x00" in value:
        raise ValueError("a connection string cannot hold the character NUL")
    if value != value.strip() or _SPECIAL & set(value):
        return "{" + value.replace("}", "}}") + "}"
    return value


def build(pairs: Iterable[tuple[str, str]]) -> str:
    """Return `pairs` of keyword and value as one connection string."""
    return "".join(f"{name}={quote(value)};" for name, value in pairs)


def parse(text: str) -> Pairs:
    """Return the keywords and values of the connection string `text`, values without their braces.

    Raises:
        ValueError: `text` is not valid. The message repeats no part of it.

    """
    pairs: Pairs = []
    at = 0
    while at < len(text):
        if text[at] in "; \t\r\n":
            at += 1
            continue
        equals = text.find("=", at)
        if equals < 0 or not text[at:equals].strip():
            raise ValueError("not a valid ODBC connection string: a keyword has no value")
        name = text[at:equals].strip()
        value, at = _value(text, equals + 1)
        pairs.append((name, value))
    return pairs


def _value(text: str, at: int) -> tuple[str, int]:
    """Return the value that begins at index `at`, and the index after it."""
    while at < len(text) and text[at] == " ":
        at += 1
    if at == len(text) or text[at] != "{":
        end = text.find(";", at)
        end = len(text) if end < 0 else end
        return text[at:end].strip(), end
    value, at = "", at + 1
    while (end := text.find("}", at)) >= 0:
        value += text[at:end]
        if text[end : end + 2] != "}}":
            return value, end + 1
        value, at = value + "}", end + 2
    raise ValueError("not a valid ODBC connection string: a brace is not closed")


def get(pairs: Pairs, *names: str) -> str | None:
    """Return the value of the first keyword in `pairs` that is one of `names`, in any case; None if there is none."""
    keywords = {name.lower() for name in names}
    return next((value for keyword, value in pairs if keyword.lower() in keywords), None)


def server(pairs: Pairs) -> str:
    """Return the server in `pairs`, for messages."""
    return get(pairs, *_SERVER) or get(pairs, "dsn", "filedsn") or "?"


def database(pairs: Pairs) -> str:
    """Return the database in `pairs`, for messages."""
    return get(pairs, *_DATABASE) or "the login's default database"


def secrets(pairs: Pairs) -> list[str]:
    """Return the values in `pairs` that no message may show."""
    return [value for name, value in pairs if name.lower().replace(" ", "") in _SECRET and value]
