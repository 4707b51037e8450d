"""The query for the rows about a person: identifiers as JSON lists, and the tables and columns to search."""

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from gatherer.model import phones
from gatherer.model.merge import MENTIONING
from gatherer.model.person import Person
from gatherer.model.records import TABLES, MessageIdPair, OtherEvent, Response
from gatherer.targets.base import Texts
from gatherer.targets.columns import ORIGINAL, tables

# The columns that hold when a fact occurred, which person it is about, and which people it mentions.
_COLUMNS: Final = (
    "id", "key", "occurred_at", "phone", "phone_raw", "user_id", "message_id", "provider_message_id",
    "about_message_id", *ORIGINAL.values(), "group_id", *MENTIONING,
)  # fmt: skip
PERSON_COLUMNS: Final = {
    **{
        table.table: tuple(
            name for name in _COLUMNS if name in {column.name for column in tables()[table.table]}
        )
        for table in (Response, OtherEvent, MessageIdPair)
    },
    "message_map": ("id", "message_id", "phone", "sent_at", "inserted_at"),
}
# By table: the column that holds when a row was last written.
WRITTEN_AT: Final = {
    table: "changed_at" if "key" in names else "inserted_at" for table, names in PERSON_COLUMNS.items()
}
PERSON_TABLES: Final = tuple(PERSON_COLUMNS)
_ERASABLE: Final = frozenset({*(table.table for table in TABLES), "message_map"})
# What providers and the site write before the digits of a phone number.
_PREFIXES: Final = ("", "+", "00", "+00", "whatsapp:", "whatsapp:+", "tel:", "tel:+")


class PersonQuery(NamedTuple):
    """Lists of text as JSON, so that each is one parameter of a statement, of any length."""

    phones: str  # with every prefix
    user_ids: str
    message_ids: str
    fragments: str  # digits and ids to search for in texts from which separators were removed


def person_query(person: Person) -> PersonQuery:
    """Return the query for `person`."""
    digits = sorted(phone.removeprefix("+") for phone in person.phones)
    return PersonQuery(
        phones=json.dumps([prefix + number for number in digits for prefix in _PREFIXES]),
        user_ids=json.dumps(sorted(person.user_ids)),
        message_ids=json.dumps(sorted(person.message_ids)),
        fragments=json.dumps(
            [*digits, *(bare for user_id in sorted(person.user_ids) if (bare := phones.bare(user_id)))]
        ),
    )


def check(rows: Iterable[str], texts: Texts) -> None:
    """Check that an erasure may delete rows of the tables `rows`, and may write `texts`.

    Raises:
        ValueError: a table holds nothing about people, or a column cannot mention people.

    """
    if unknown := {*rows, *texts} - _ERASABLE:
        raise ValueError(f"an erasure cannot delete rows of {', '.join(sorted(unknown))}")
    columns = {name for table in texts.values() for row in table.values() for name in row}
    if unknown := columns - set(MENTIONING):
        raise ValueError(f"an erasure cannot change {', '.join(sorted(unknown))}: no text about people")
