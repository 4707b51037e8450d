"""The people around a message: WhatsApp's `contacts[]`, and how a receipt or an answer finds its own."""

import re
from typing import Any, Final

import msgspec

from gatherer.model.phones import e164
from gatherer.providers.elements import items, reference, text

CONTACT: Final = frozenset({"profile", "wa_id", "user_id"})
_USER_ID: Final = re.compile(r"[A-Z]{2}\.\S+")  # a business-scoped user id: US.13491208655302741918


class Person(msgspec.Struct, frozen=True, gc=False):
    """What one element of `contacts[]` says. Every part is absent in real traffic, also `profile`."""

    wa_id: str | None = None  # digits; may differ from the message's `from` (Brazil, Mexico, Argentina)
    user_id: str | None = None  # business-scoped user id (BSUID), since April 2026
    profile_name: str | None = None
    more: dict[str, Any] | None = None  # username, parent_user_id, identity_key_hash, what Meta adds next


People = dict[str, Person]
NOBODY: Final = Person()
NO_PEOPLE: Final[People] = {}
_ONLY: Final = ""  # no phone and no user id, so nobody else's place


def read_people(contacts: object) -> People:
    """Return `contacts[]` by `wa_id` and by `user_id`, because they are not in the order of the elements."""
    people: People = {}
    for contact in contacts if type(contacts) is list else items(contacts):
        if type(contact) is dict:
            person = _read(contact)
            if person.wa_id:
                people[person.wa_id] = person
            if person.user_id:
                people[person.user_id] = person
    return people


def _read(contact: dict[str, Any]) -> Person:
    profile = contact.get("profile")
    name = None
    more = None
    if type(profile) is dict:
        name = text(profile.get("name"))
        if len(profile) > 1:
            more = {word: profile[word] for word in profile if word != "name"}
    if not CONTACT.issuperset(contact):
        more = {word: contact[word] for word in contact if word not in CONTACT} | (more or {})
    return Person(text(contact.get("wa_id")), text(contact.get("user_id")), name, more)


def find(people: People, phone: str | None, user_id: str | None) -> Person:
    """Return the person with that phone or user id, or :data:`NOBODY`."""
    return people.get(phone or _ONLY) or people.get(user_id or _ONLY) or NOBODY


def find_sender(people: People, phone: str | None, user_id: str | None) -> Person:
    """Return the person who sent a message; where nobody fits, the one whom :func:`the_only` found."""
    person = find(people, phone, user_id)
    if person is NOBODY:
        only = people.get(_ONLY, NOBODY)
        if None in (user_id, only.user_id):  # two user ids that differ are two people
            return only
    return person


def the_only(people: People) -> People:
    """Return `people` so that, if it is one person, :func:`find_sender` finds them by any number.

    For the sender of the only message of a value: in Brazil, Mexico and Argentina `from` and `wa_id` differ
    by a digit.
    """
    persons = list({id(person): person for person in people.values()}.values())
    return people | {_ONLY: persons[0]} if len(persons) == 1 else people


def person_columns(number: object, user_id: str | None = None) -> dict[str, str | None]:
    """Return the columns that say who a person is, for providers that write one address per person.

    Args:
        number: the phone; where WhatsApp withholds it, some providers write the user id in its place.
        user_id: the user id, where the provider has a place of its own for it.

    Raises:
        ElementError: `number` is neither text nor a whole number.

    """
    raw = reference(number, "a number")
    if raw is not None and _USER_ID.fullmatch(raw):
        raw, user_id = None, user_id or raw
    return {"phone": e164(raw), "phone_raw": raw, "user_id": user_id}
