"""What a person leaves in rows, as JSON lists: what every engine looks for when it has to find somebody."""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from gatherer.model import phones
from gatherer.model.merge import MENTIONING
from gatherer.model.person import Person
from gatherer.model.records import TABLES, OtherEvent, Response
from gatherer.targets.base import Texts

# What tells when a row occurred, whom it is about and whom it mentions.
_TELLING: Final = (
    "id", "key", "occurred_at", "phone", "phone_raw", "user_id", "message_id", "about_message_id", "group_id",
    *MENTIONING,
)  # fmt: skip
TELLING: Final = {
    **{
        record.table: tuple(name for name in _TELLING if name in ("id", *record.__struct_fields__))
        for record in (Response, OtherEvent)
    },
    "message_map": ("id", "message_id", "phone", "sent_at", "inserted_at"),
}
WRITTEN_AT: Final = {
    table: "changed_at" if "key" in names else "inserted_at" for table, names in TELLING.items()
}
FOUND_IN: Final = tuple(TELLING)  # the tables that are about people
_ERASABLE: Final = frozenset({*(table.table for table in TABLES), "message_map"})
# Of the digits of a phone number, as providers and the site write it.
_PREFIXES: Final = ("", "+", "00", "+00", "whatsapp:", "whatsapp:+", "tel:", "tel:+")


class Traces(NamedTuple):
    """Lists of text as JSON, so that each is one parameter however long it is."""

    phones: str  # in every way of writing them
    user_ids: str
    message_ids: str
    fragments: (
        str  # what texts have somewhere in them, without what stands between the digits of numbers there
    )


def of(person: Person) -> Traces:
    """Return what to look for."""
    digits = sorted(phone.removeprefix("+") for phone in person.phones)
    return Traces(
        phones=json.dumps([prefix + number for number in digits for prefix in _PREFIXES]),
        user_ids=json.dumps(sorted(person.user_ids)),
        message_ids=json.dumps(sorted(person.message_ids)),
        fragments=json.dumps(
            [*digits, *(bare for one in sorted(person.user_ids) if (bare := phones.bare(one)))]
        ),
    )


def check(rows: Iterable[str], texts: Texts) -> None:
    """Make sure that rows of the tables `rows` may be erased, and `texts` be written.

    Raises:
        ValueError: one of them holds nothing about people, or goes with something else.

    """
    if unknown := {*rows, *texts} - _ERASABLE:
        raise ValueError(f"no rows of {', '.join(sorted(unknown))} can be erased")
    columns = {name for table in texts.values() for row in table.values() for name in row}
    if unknown := columns - set(MENTIONING):
        raise ValueError(f"{', '.join(sorted(unknown))}: nobody can be mentioned there")
