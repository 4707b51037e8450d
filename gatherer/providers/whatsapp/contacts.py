"""WhatsApp's `contacts[]`, and by which ids a receipt or an answer finds the entry of its person."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from gatherer.providers.elements import items, person_ids, text
from gatherer.providers.paths import Path

CONTACT: Final = frozenset({"profile", "wa_id", "user_id"})


class Contact(msgspec.Struct, frozen=True, gc=False):
    """One entry of `contacts[]`. Every part is absent in real traffic, also `profile`."""

    wa_id: str | None = None  # digits; may differ from the message's `from` (Brazil, Mexico, Argentina)
    user_id: str | None = None  # business-scoped user id (BSUID), since April 2026
    profile_name: str | None = None
    more: dict[str, Any] | None = None  # username, parent_user_id, identity_key_hash, what Meta adds next
    path: Path | None = None  # of the entry; None only for NO_CONTACT


Contacts: TypeAlias = Mapping[str, Contact]
NO_CONTACT: Final = Contact()
NO_CONTACTS: Final[Contacts] = MappingProxyType({})  # a `{}` would be copied for every Origin
ONLY: Final = ""  # neither a phone nor a user id, so the key of no other contact


def read_contacts(entries: object, path: Path) -> Contacts:
    """Return the entries of `contacts[]` of the value at `path`, by `wa_id` and by `user_id`.

    They are not in the order of the elements. Of several entries with one id, the last counts.
    """
    contacts: dict[str, Contact] = {}
    for i, entry in enumerate(entries if type(entries) is list else items(entries)):
        if type(entry) is dict:
            contact = _read(entry, path + (("contacts",) if entries is entry else ("contacts", i)))
            if contact.wa_id:
                contacts[contact.wa_id] = contact
            if contact.user_id:
                contacts[contact.user_id] = contact
    return contacts


def _read(entry: dict[str, Any], path: Path) -> Contact:
    profile = entry.get("profile")
    name = None
    more = None
    if type(profile) is dict:
        name = text(profile.get("name"))
        if len(profile) > 1:
            more = {word: profile[word] for word in profile if word != "name"}
    if not CONTACT.issuperset(entry):
        more = {word: entry[word] for word in entry if word not in CONTACT} | (more or {})
    wa_id, user_id = person_ids(text(entry.get("wa_id")), text(entry.get("user_id")))
    return Contact(wa_id, user_id, name, more, path)


def with_only_contact(contacts: Contacts) -> Contacts:
    """Return `contacts` so that, if they are of one person, :meth:`Origin.find_sender` finds them by any number.

    For the sender of the only message of a value: in Brazil, Mexico and Argentina `from` and `wa_id` differ
    by a digit.
    """
    entries = list({id(contact): contact for contact in contacts.values()}.values())
    return {**contacts, ONLY: entries[0]} if len(entries) == 1 else contacts
