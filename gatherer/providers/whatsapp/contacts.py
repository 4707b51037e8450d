"""WhatsApp's `contacts[]`, and how a receipt or an answer finds the entry of its person."""

from typing import Any, Final

import msgspec

from gatherer.providers.elements import items, text

CONTACT: Final = frozenset({"profile", "wa_id", "user_id"})


class Contact(msgspec.Struct, frozen=True, gc=False):
    """One entry of `contacts[]`. Every part is absent in real traffic, also `profile`."""

    wa_id: str | None = None  # digits; may differ from the message's `from` (Brazil, Mexico, Argentina)
    user_id: str | None = None  # business-scoped user id (BSUID), since April 2026
    profile_name: str | None = None
    more: dict[str, Any] | None = None  # username, parent_user_id, identity_key_hash, what Meta adds next


Contacts = dict[str, Contact]
NO_CONTACT: Final = Contact()
NO_CONTACTS: Final[Contacts] = {}
_ONLY: Final = ""  # neither a phone nor a user id, so the key of no other contact


def read_contacts(entries: object) -> Contacts:
    """Return the entries of `contacts[]` by `wa_id` and by `user_id`: they are not in the order of the elements."""
    contacts: Contacts = {}
    for entry in entries if type(entries) is list else items(entries):
        if type(entry) is dict:
            contact = _read(entry)
            if contact.wa_id:
                contacts[contact.wa_id] = contact
            if contact.user_id:
                contacts[contact.user_id] = contact
    return contacts


def _read(entry: dict[str, Any]) -> Contact:
    profile = entry.get("profile")
    name = None
    more = None
    if type(profile) is dict:
        name = text(profile.get("name"))
        if len(profile) > 1:
            more = {word: profile[word] for word in profile if word != "name"}
    if not CONTACT.issuperset(entry):
        more = {word: entry[word] for word in entry if word not in CONTACT} | (more or {})
    return Contact(text(entry.get("wa_id")), text(entry.get("user_id")), name, more)


def find_contact(contacts: Contacts, phone: str | None, user_id: str | None) -> Contact:
    """Return the contact with that phone or user id, or :data:`NO_CONTACT`."""
    return contacts.get(phone or _ONLY) or contacts.get(user_id or _ONLY) or NO_CONTACT


def find_sender(contacts: Contacts, phone: str | None, user_id: str | None) -> Contact:
    """Return the contact who sent a message; where none fits, the one of :func:`with_only_contact`."""
    contact = find_contact(contacts, phone, user_id)
    if contact is NO_CONTACT:
        only = contacts.get(_ONLY, NO_CONTACT)
        if None in (user_id, only.user_id):  # two user ids that differ are two people
            return only
    return contact


def with_only_contact(contacts: Contacts) -> Contacts:
    """Return `contacts` so that, if they are of one person, :func:`find_sender` finds them by any number.

    For the sender of the only message of a value: in Brazil, Mexico and Argentina `from` and `wa_id` differ
    by a digit.
    """
    entries = list({id(contact): contact for contact in contacts.values()}.values())
    return contacts | {_ONLY: entries[0]} if len(entries) == 1 else contacts
