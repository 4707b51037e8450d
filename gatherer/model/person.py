"""The words of erasing people: who somebody is, and what is left to know them again.

A tombstone is a keyed hash of one identifier. Whoever has the key can ask whether an identifier is erased; whoever
has only the hashes cannot tell which numbers they are of.
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
    """By what a person is known."""

    phones: frozenset[str] = frozenset()  # E.164
    user_ids: frozenset[str] = frozenset()  # business-scoped user ids
    message_ids: frozenset[str] = frozenset()  # of messages from or to them: WhatsApp's hold the phone number

    def __or__(self, other: "Person") -> "Person":
        """Return the person who is known by all that both are known by."""
        return Person(
            phones=self.phones | other.phones,
            user_ids=self.user_ids | other.user_ids,
            message_ids=self.message_ids | other.message_ids,
        )

    def knows(self, identifier: str) -> bool:
        """Tell whether `identifier`, however it is written, is one of theirs."""
        if identifier in self.user_ids or identifier in self.message_ids:
            return True
        one = canonical(identifier)
        return one in self.phones or one in self.user_ids

    def is_named(self, identifier: str) -> bool:
        """Tell the same of phone numbers and user ids alone: a message is somebody else's as well."""
        return identifier not in self.message_ids and self.knows(identifier)

    def has_message(self, message_id: str | None) -> bool:
        """Tell whether `message_id` is of a message from or to them."""
        return message_id in self.message_ids


class Whom(Protocol):
    """One person or many, to be looked for."""

    def knows(self, identifier: str) -> bool:
        """Tell whether `identifier`, however it is written, is one of theirs or of one of their messages."""

    def is_named(self, identifier: str) -> bool:
        """Tell the same of phone numbers and user ids alone: a message is somebody else's as well."""

    def has_message(self, message_id: str | None) -> bool:
        """Tell whether `message_id` is of a message from or to them."""


class Tombstone(NamedTuple):
    """What is left of an erased person: enough to know them again, not to find out who they were."""

    identifier: bytes  # 32 bytes: the keyed hash of a phone number, user id or message id, or of a key, body or element
    # Of a person: what occurred up to `erased_at` is erased. Of a message: all about it is. Of the key of a fact or
    # the bytes of a notification or element, which are written down as messages: it was there by then, whatever time
    # it says.
    scope: Scope
    erased_at: datetime  # aware UTC, milliseconds
    key_id: str  # which key it was hashed with, 16 hex digits that do not reveal it


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What was erased, for the table `erasure`: an account of it without the person."""

    erased_at: datetime
    host: str
    account: str  # of the operating system, that ran the command
    version: str
    reference: str | None  # what the person who did it calls it: the number of a ticket
    identifiers: int  # phone numbers and user ids
    notifications: int  # taken out of inboxes, or freed of what they said about the person
    responses: int  # rows removed, or freed of a mention, and so are
    other_rows: int  # those of other tables


class Hashing:
    """Tombstones of one key."""

    def __init__(self, key: str) -> None:
        self._key = sha256(key.encode("utf-8", "surrogatepass")).digest()
        self.key_id = blake2b(b"key id", key=self._key, digest_size=8).hexdigest()

    def hash(self, identifier: str) -> bytes:
        """Return the keyed hash of `identifier` in whatever way it is written."""
        text = canonical(identifier).encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._key, digest_size=32).digest()

    def bury(self, person: Person, erased_at: datetime) -> list[Tombstone]:
        """Return the tombstones of everything that `person` is known by."""
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
    """Return the one way to write `identifier`: phone numbers as E.164, ids as they are."""
    bare = identifier.removeprefix(_WHATSAPP)
    return phones.comparable(bare) or bare
