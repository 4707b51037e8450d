"""Describes the credentials in a request: names and forms, never values. The operator configures the endpoint from it."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

# Headers that every client or proxy sends and that are not credentials.
_ORDINARY: Final = frozenset(
    [
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "expect",
        "forwarded",
        "from",
        "host",
        "keep-alive",
        "origin",
        "pragma",
        "priority",
        "referer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    ]
)
_SCHEMES: Final = ("bearer", "basic", "digest", "token", "apikey", "hmac", "negotiate", "aws4-hmac-sha256")
_FORMS: Final = (
    ("digits", re.compile(r"[0-9]+")),
    ("hexadecimal", re.compile(r"[0-9A-Fa-f]+")),
    ("letters and digits", re.compile(r"[0-9A-Za-z]+")),
    ("Base64", re.compile(r"[0-9A-Za-z+/]+={0,2}")),
    ("URL-safe Base64", re.compile(r"[0-9A-Za-z_-]+={0,2}")),
    ("a JSON web token", re.compile(r"[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+")),
)
_ALGORITHM: Final = re.compile(r"(sha1|sha256|sha512|md5|v0|v1)=(.*)", re.DOTALL)
_MAX_LINES: Final = 40
_MAX_NAME_LENGTH: Final = 100


def describe(headers: Iterable[tuple[str, str]], query: str, url_key: str) -> list[str]:
    """Return one line for each possible credential of a request, as in "Authorization: Bearer, 43 characters".

    Args:
        headers: names and values as received.
        query: the part of the URL after the ?.
        url_key: the part of the URL after the path of the endpoint.

    """
    lines = []
    if url_key.strip("/"):
        lines.append(f"URL key: {_form(url_key.strip('/'))}")
    parameters = [parameter for parameter in query.split("&") if parameter]
    lines += [
        f"URL parameter without a name: {_form(unquote_plus(parameter))}"
        for parameter in parameters
        if "=" not in parameter
    ]
    named = "&".join(parameter for parameter in parameters if "=" in parameter)
    lines += [
        f"URL parameter {_name(name)}: {_form(value)}"
        for name, value in parse_qsl(named, keep_blank_values=True, max_num_fields=None)[:_MAX_LINES]
    ]
    for name, value in headers:
        if name.lower() == "cookie":
            lines.append(f"Cookie: {_length(value)}")
        elif name.lower() not in _ORDINARY:
            lines.append(f"{_name(name)}: {_credentials(value)}")
    return lines[:_MAX_LINES]


def _name(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:_MAX_NAME_LENGTH]


def _credentials(value: str) -> str:
    """Return the form of a header value, after its scheme or algorithm."""
    scheme, space, rest = value.partition(" ")
    if space and scheme.lower() in _SCHEMES:
        return f"{scheme.capitalize()}, {_form(rest)}"
    algorithm = _ALGORITHM.fullmatch(value)
    if algorithm:
        return f"{algorithm[1]}=, {_form(algorithm[2])}"
    return _form(value)


def _form(value: str) -> str:
    """Return the length of `value`, and the kind of characters in it."""
    kind = next((f", {name}" for name, pattern in _FORMS if pattern.fullmatch(value)), "")
    return _length(value) + kind


def _length(value: str) -> str:
    return "empty" if not value else f"{len(value)} character{'s' * (len(value) != 1)}"
