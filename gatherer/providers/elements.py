"""Careful reading of single JSON values: what is expected, what is tolerated, what is an error."""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from gatherer.model.phones import e164
from gatherer.model.records import Reason
from gatherer.providers.base import ElementError

_EXACT_BELOW: Final = 2**53  # beyond it a float no longer tells neighbouring ids apart
# A business-scoped user id: US.13491208655302741918, or US.ENT.… of a parent business
_USER_ID: Final = re.compile(r"[A-Z]{2}\.(?:ENT\.)?[A-Za-z0-9]{1,128}", re.ASCII)
business_e164 = lru_cache(maxsize=256)(e164)  # for our own numbers: they are few, and in every body
_encode = msgspec.json.Encoder(order="sorted").encode


def identifier(value: object, name: str) -> str:
    """Return `value` as the id that makes an element a fact. `name` says in the error what was looked for.

    A whole number becomes its digits.

    Raises:
        ElementError: it is missing or empty, or something else than a text or a whole number.

    """
    if type(value) is str and value:
        return value
    if value is None or value == "":
        raise ElementError(f"{name} is missing", Reason.MISSING_ID)
    return _digits(value, name)


def reference(value: object, name: str = "an id") -> str | None:
    """Return `value` as an id that may be missing; '' counts as missing.

    Raises:
        ElementError: it is there, but something else than a text or a whole number.

    """
    if value is None:
        return None
    if type(value) is str:
        return value or None
    return _digits(value, name)


def text(value: object) -> str | None:
    """Return `value` as text; None unless it is a text or a number."""
    if type(value) is str:
        return value
    if type(value) is int or type(value) is float:
        return str(value)
    return None


def mapping(value: object) -> dict[str, Any]:
    """Return `value` if it is an object, else an empty one."""
    return value if type(value) is dict else {}


def dig(value: object, path: str) -> Any:
    """Return what stands in `value` at the `path` of keys with dots, or None where a step is missing.

    On the way, a list stands for its first element.
    """
    for name in path.split("."):
        if type(value) is list and value:
            value = value[0]
        value = mapping(value).get(name)
    return value


def items(value: object) -> list[Any]:
    """Return the elements of `value`: a list as it is, nothing for None, and anything else as the one."""
    if type(value) is list:
        return value
    return [] if value is None else [value]


def integer(value: object) -> int | None:
    """Return `value`, a number or numeric text, as an integer that fits 63 bits; None if that is not possible."""
    if type(value) is str:
        try:
            value = int(value)
        except ValueError:
            return None
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def number(value: object) -> float | None:
    """Return `value`, a number or numeric text, as a float; None if that is not possible."""
    if type(value) is str or type(value) is int or type(value) is float:
        try:
            result = float(value)
        except (ValueError, OverflowError):
            return None
        return result if abs(result) < float("inf") else None
    return None


def flag(value: object) -> bool | None:
    """Return `value` as true or false; the texts `true` and `false` count. None if it is neither."""
    if type(value) is str:
        return {"true": True, "false": False}.get(value.lower())
    return value if type(value) is bool else None


def as_json(value: object) -> str:
    """Return `value` as compact JSON with sorted keys: the same fact in any order is the same text."""
    return _encode(value).decode()


def verbatim(value: object) -> str | None:
    """Return `value` as the text it is, or as JSON where it is something else; None for nothing and for ''."""
    return text(value) or (None if value is None or value == "" else as_json(value))


def remainder(content: object, *in_columns: str) -> Any:
    """Return what columns do not hold of `content`: all but the texts and numbers under the names `in_columns`."""
    if type(content) is not dict:
        return content
    rest = {
        name: part
        for name, part in content.items()
        if name not in in_columns or type(part) in (dict, list, bool)  # which no text column can hold
    }
    return rest or None


def object_of(**parts: object) -> str | None:
    """Return those `parts` that are not None as one JSON object; None if all are."""
    present = {name: part for name, part in parts.items() if part is not None}
    return as_json(present) if present else None


def is_user_id(value: str) -> bool:
    """Return whether `value` has the form of a business-scoped user id (BSUID)."""
    return _USER_ID.fullmatch(value) is not None


def person_ids(address: str | None, user_id: str | None = None) -> tuple[str | None, str | None]:
    """Return the phone of a person as it was written, and the person's user id; None for what is missing.

    Args:
        address: what stands where the phone belongs. Where WhatsApp withholds the phone, some services write the
            user id in its place; it is never a phone.
        user_id: the user id, where the sender of the webhook has a place of its own for it.

    """
    if address and "." in address and is_user_id(address):
        return None, user_id or address
    return address or None, user_id or None


def person_columns(number: object, user_id: str | None = None) -> dict[str, str | None]:
    """Return the columns that say who a person is, for providers that write one address per person.

    Args:
        number: the address, as :func:`person_ids` takes it.
        user_id: the user id, where the provider has a place of its own for it.

    Raises:
        ElementError: `number` is neither text nor a whole number.

    """
    raw = reference(number, "a number")
    phone = e164(raw)
    if phone is None:  # no user id is a phone, so only another address can be one
        raw, user_id = person_ids(raw, user_id)
    return {"phone": phone, "phone_raw": raw, "user_id": user_id or None}


def _digits(value: object, name: str) -> str:
    if type(value) is int:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) < _EXACT_BELOW:
        return str(int(value))  # 1.5e15 written by a relay: never an exponent in an id
    raise ElementError(f"{name} is {describe(value)}, not a text or a whole number")


def describe(value: object) -> str:
    """Return what `value` is, for an error, as in “a list”."""
    names = {
        dict: "an object",
        list: "a list",
        bool: "a boolean",
        int: "a number",
        float: "a fraction",
        str: "a text",
        type(None): "null",
    }
    return names.get(type(value), type(value).__name__)
