"""From bytes to plain Python values, losing nothing that a provider has been seen to send."""

import json
import math
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

import msgspec

REPLACEMENT: Final = "\ufffd"
_DIGITS_AN_INT_MAY_HAVE: Final = 4300  # Python refuses to read or write longer ones; they stay text

_decode = msgspec.json.Decoder().decode


class UnreadableBodyError(Exception):
    """The body is not JSON. The text says why, in one sentence."""


def load_json(body: bytes, *, line: int = 1) -> Any:
    """Return the JSON value in `body`, safe to store: no lone surrogate and no NUL in any text.

    Duplicate keys: the last one counts. Numbers beyond every range stay text. `line` is the number of the first line of
    `body` in the file or request that it is from; errors count from it.

    Raises:
        UnreadableBodyError: not UTF-8, not JSON, or nested too deeply.

    """
    try:
        value = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # msgspec refuses a lone surrogate, a BOM or a huge number, all of which Meta or a relay can
        # send. Only such a body pays for the slower, more patient decoder.
        value = _load_patiently(body, line)
    else:
        if b"\\" not in body or b"\\u0000" not in body:  # one byte is found much faster than six
            return value
    try:
        return _clean(value)
    except RecursionError:
        raise UnreadableBodyError("the JSON is nested too deeply") from None


MOST_LINES: Final = (
    10_000  # ten times the updates that Meta puts into one request; bounds the time that junk takes
)


def load_lines(body: bytes) -> list[Any]:
    """Return the JSON value in each line of `body`; a line that cannot be read is its `UnreadableBodyError`.

    For relays that collect requests and forward their bodies one per line. Empty lines do not count. Nothing is
    returned for a body of more lines than any relay collects.
    """
    values: list[Any] = []
    if body.count(b"\n") > MOST_LINES:
        return values
    for number, line in enumerate(body.splitlines(), start=1):
        if line.strip():
            try:
                values.append(load_json(line, line=number))
            except UnreadableBodyError as problem:
                values.append(problem)
    return values


def load_form(body: bytes) -> dict[str, str | list[str]]:
    """Return the parameters of an `application/x-www-form-urlencoded` body, safe to store as :func:`load_json`'s.

    A parameter that comes several times with different values is the list of them, in the order of the body.

    Raises:
        UnreadableBodyError: empty, not UTF-8 (also where it is percent-encoded), or JSON.

    """
    try:
        text = body.decode("utf-8-sig").strip()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise UnreadableBodyError("the form is not UTF-8") from None
    if not text:
        raise UnreadableBodyError("the body is empty")
    if text[0] in "{[":
        raise UnreadableBodyError("the body is JSON, not a form")
    parameters: dict[str, dict[str, None]] = {}  # inside, an ordered set
    for name, value in pairs:  # decoded from UTF-8, so there is no lone surrogate to clean
        name, value = name.replace("\x00", REPLACEMENT), value.replace("\x00", REPLACEMENT)
        parameters.setdefault(name, {})[value] = None
    return {
        name: next(iter(values)) if len(values) == 1 else list(values) for name, values in parameters.items()
    }


def _load_patiently(body: bytes, line: int) -> Any:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(body) > 1 and 0 in body[:2]):
        raise UnreadableBodyError("the body is UTF-16 or UTF-32; JSON on the web is UTF-8")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableBodyError(f"the body is not UTF-8 (byte {error.start})") from None
    try:
        return _decode_patiently(text)
    except RecursionError:
        raise UnreadableBodyError("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise UnreadableBodyError("the body is empty") from None
        place = f"line {line + error.lineno - 1}, column {error.colno}"
        raise UnreadableBodyError(f"the body is not JSON: {error.msg} at {place}") from None


def _refuse(word: str) -> NoReturn:
    raise UnreadableBodyError(f"the body is not JSON: it contains {word}")


def _parse_float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _parse_int(text: str) -> int | str:
    digits = len(text) - text.startswith("-")
    return int(text) if digits <= _DIGITS_AN_INT_MAY_HAVE else text


# Made once: a body may have a line in it for each two bytes, and every one may come here.
_decode_patiently = json.JSONDecoder(
    strict=False, parse_constant=_refuse, parse_float=_parse_float, parse_int=_parse_int
).decode


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): _clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def clean_text(text: str) -> str:
    """Return `text` with lone surrogates and NUL, which SQL Server cannot keep, as U+FFFD."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\x00", REPLACEMENT)
