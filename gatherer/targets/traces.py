"""What a person leaves in rows, as JSON lists: what every engine looks for when it has to find somebody."""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from gatherer.erasure import Person
from gatherer.records import TABLES

FOUND_IN: Final = ("response", "other_event", "message_map")  # the tables that are about people
_ERASABLE: Final = frozenset({*(table.table for table in TABLES), "message_map"})
_PREFIXES: Final = ("", "+", "whatsapp:+", "00")  # of the digits of a phone number, as providers write it


class Traces(NamedTuple):
    """Lists of text as JSON, so that each is one parameter however long it is."""

    phones: str  # in every way of writing them
    user_ids: str
    message_ids: str
    fragments: str  # what details have somewhere in them


def of(person: Person) -> Traces:
    """Return what to look for."""
    digits = sorted(phone.removeprefix("+") for phone in person.phones)
    return Traces(
        phones=json.dumps([prefix + number for number in digits for prefix in _PREFIXES]),
        user_ids=json.dumps(sorted(person.user_ids)),
        message_ids=json.dumps(sorted(person.message_ids)),
        fragments=json.dumps([*digits, *sorted(person.user_ids)]),
    )


def check(tables: Iterable[str]) -> None:
    """Make sure that rows of `tables` may be erased.

    Raises:
        ValueError: one of them holds nothing about people, or goes with something else.

    """
    if unknown := set(tables) - _ERASABLE:
        raise ValueError(f"no rows of {', '.join(sorted(unknown))} can be erased")
