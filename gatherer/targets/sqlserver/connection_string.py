"""ODBC connection strings: put together, taken apart, and shown without their secrets."""

from collections.abc import Iterable
from typing import Final

# ODBC's own list of what has a meaning in a connection string. Such a value stands in braces.
_SPECIAL: Final = frozenset("[]{}(),;?*=!@")
_SECRET: Final = frozenset({"pwd", "password", "accesstoken", "clientsecret"})
_SERVER: Final = ("server", "address", "addr", "networkaddress", "data source")
_DATABASE: Final = ("database", "initial catalog")

Pairs = list[tuple[str, str]]


def quote(value: str) -> str:
    """Return `value` as ODBC wants it: in braces where a character has a meaning, closing braces doubled.

    Raises:
        ValueError: it has a NUL in it, at which every driver would stop reading.

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
    """Return the keywords and values of a connection string, values without their braces.

    Raises:
        ValueError: it is none. The message has no part of the string in it.

    """
    pairs: Pairs = []
    at = 0
    while at < len(text):
        if text[at] in "; \t\r\n":
            at += 1
            continue
        equals = text.find("=", at)
        if equals < 0 or not text[at:equals].strip():
            raise ValueError("it is no ODBC connection string: a keyword without a value")
        name = text[at:equals].strip()
        value, at = _value(text, equals + 1)
        pairs.append((name, value))
    return pairs


def _value(text: str, at: int) -> tuple[str, int]:
    """Return the value that begins at `at`, and where the next keyword may begin."""
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
    raise ValueError("it is no ODBC connection string: a brace is never closed")


def get(pairs: Pairs, *names: str) -> str | None:
    """Return the value of the first keyword in `pairs` that is one of `names`, whatever its case."""
    wanted = {name.lower() for name in names}
    return next((value for name, value in pairs if name.lower() in wanted), None)


def server(pairs: Pairs) -> str:
    """Return which server `pairs` lead to, for people."""
    return get(pairs, *_SERVER) or get(pairs, "dsn", "filedsn") or "?"


def database(pairs: Pairs) -> str:
    """Return which database `pairs` lead to, for people."""
    return get(pairs, *_DATABASE) or "the login's default database"


def secrets(pairs: Pairs) -> list[str]:
    """Return the values in `pairs` that must never be shown."""
    return [value for name, value in pairs if name.lower().replace(" ", "") in _SECRET and value]
