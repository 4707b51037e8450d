"""The types of erasing people: identifiers of a person, and the tombstones that remain.

A tombstone is a keyed hash of one identifier. With the key, gatherer can check whether an identifier was erased;
without the key, the hashes do not reveal the numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Final, Literal, NamedTuple, Protocol

from gatherer.model import phones

_WHATSAPP: Final = "whatsapp:"  # as Twilio writes a phone number

Scope = Literal["person", "message"]


@dataclass(frozen=True, kw_only=True)
class Person:
    """The identifiers of a person."""

    phones: frozenset[str] = frozenset()  # E.164
    user_ids: frozenset[str] = frozenset()  # business-scoped user ids
    message_ids: frozenset[str] = frozenset()  # of messages from or to them: WhatsApp's hold the phone number

    def __or__(self, other: "Person") -> "Person":
        """Return the person with the identifiers of both."""
        return Person(
            phones=self.phones | other.phones,
            user_ids=self.user_ids | other.user_ids,
            message_ids=self.message_ids | other.message_ids,
        )

    def knows(self, identifier: str) -> bool:
        """Tell whether `identifier`, in any spelling, is one of the person."""
        if identifier in self.user_ids or identifier in self.message_ids:
            return True
        canonical_form = canonical(identifier)
        return canonical_form in self.phones or canonical_form in self.user_ids

    def is_named(self, identifier: str) -> bool:
        """Tell the same for phone numbers and user ids alone: a message belongs to other people as well."""
        return identifier not in self.message_ids and self.knows(identifier)

    def has_message(self, message_id: str | None) -> bool:
        """Tell whether `message_id` is of a message from or to the person."""
        return message_id in self.message_ids


class Whom(Protocol):
    """One person or several, to search for."""

    def knows(self, identifier: str) -> bool:
        """Tell whether `identifier`, in any spelling, is of a person or of one of their messages."""

    def is_named(self, identifier: str) -> bool:
        """Tell the same for phone numbers and user ids alone: a message belongs to other people as well."""

    def has_message(self, message_id: str | None) -> bool:
        """Tell whether `message_id` is of a message from or to the person."""


class Tombstone(NamedTuple):
    """What remains of an erased person: enough to recognise an identifier, not to find out what it was."""

    identifier: bytes  # 32 bytes: the keyed hash of a phone number, user id or message id, or of a key, body or element
    # A person: all that occurred up to `erased_at` is erased. A message: all about it is erased. The key of a fact, or
    # the bytes of a notification or element, have the scope of messages: they existed at `erased_at`, even if their
    # own time is later.
    scope: Scope
    erased_at: datetime  # aware UTC, milliseconds
    key_id: str  # identifies the key of the hash, 16 hex digits that do not reveal it


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What was erased, for the table `erasure`: without the person."""

    erased_at: datetime
    host: str
    account: str  # of the operating system, which ran the command
    version: str
    reference: str | None  # the operator's name for the erasure, such as a ticket
    identifiers: int  # phone numbers and user ids
    notifications: int  # removed from inboxes, or redacted there
    responses: int  # rows removed or redacted
    other_rows: int  # the same for the other tables


class Hashing:
    """Makes tombstones with one key."""

    def __init__(self, key: str) -> None:
        self._key = sha256(key.encode("utf-8", "surrogatepass")).digest()
        self.key_id = blake2b(b"key id", key=self._key, digest_size=8).hexdigest()

    def hash(self, identifier: str) -> bytes:
        """Return the keyed hash of `identifier`, the same for all its spellings."""
        text = canonical(identifier).encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._key, digest_size=32).digest()

    def bury(self, person: Person, erased_at: datetime) -> list[Tombstone]:
        """Return a tombstone for each identifier of `person`."""
        scopes: tuple[tuple[Scope, Iterable[str]], ...] = (
            ("person", person.phones | person.user_ids),
            ("message", person.message_ids),
        )
        return [
            Tombstone(self.hash(identifier), scope, erased_at, self.key_id)
            for scope, identifiers in scopes
            for identifier in sorted(identifiers)
        ]


def canonical(identifier: str) -> str:
    """Return the canonical spelling of `identifier`: phone numbers as E.164, ids unchanged."""
    bare = identifier.removeprefix(_WHATSAPP)
    return phones.comparable(bare) or bare
