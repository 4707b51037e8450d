"""The words of erasing people: who somebody is, and what tells later that they were erased.

A tombstone is a keyed hash of one identifier. Whoever has the key can ask whether an identifier is erased; whoever
has only the hashes cannot tell which numbers they are of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Any, Final, Literal, NamedTuple

from gatherer import phones, timestamps
from gatherer.records import OtherEvent, Response

_WHATSAPP: Final = "whatsapp:"  # as Twilio writes a phone number
REMEMBERED: Final = 20_000  # hashes

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
        return canonical(identifier) in self.phones

    def is_named(self, identifier: str) -> bool:
        """Tell the same of phone numbers and user ids alone: a message is somebody else's as well."""
        return identifier not in self.message_ids and self.knows(identifier)


class Tombstone(NamedTuple):
    """What is left of an erased person: enough to know them again, not to find out who they were."""

    identifier: (
        bytes  # 32 bytes: the keyed hash of a phone number, user id or message id, or of a key or body
    )
    # Of a person: what occurred up to `erased_at` is erased. Of a message: all about it is. Of the key of a fact or
    # the bytes of a notification, which are written down as messages: it was there by then, whatever time it says.
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


class Erased:
    """Everybody who was erased, to be asked about identifiers as they come."""

    def __init__(self, hashing: Hashing, tombstones: Iterable[Tombstone]) -> None:
        """Know those of `tombstones` that were made with the key of `hashing`."""
        # Names in JSON and words of providers are asked for again and again.
        self._hash = lru_cache(maxsize=REMEMBERED)(hashing.hash)
        self._people: dict[bytes, datetime] = {}
        self._messages: dict[bytes, datetime] = {}
        for one in latest(tombstones).values():
            if one.key_id != hashing.key_id:
                continue
            if one.scope == "message":
                self._messages[one.identifier] = one.erased_at
            else:
                self._people[one.identifier] = one.erased_at

    def __bool__(self) -> bool:
        """Whether anybody was."""
        return bool(self._people or self._messages)

    def person_erased_at(self, identifier: str) -> datetime | None:
        """Return when the person was last erased who has this phone number or user id; None if never."""
        return self._people.get(self._hash(identifier))

    def covers(self, record: Response | OtherEvent) -> bool:
        """Tell whether `record` is about somebody who was erased.

        Where it names them: if it occurred no later than that, or is about a message that was erased. Where it names
        nobody: if it is about such a message, or quotes one.
        """
        return self._covers(
            (record.phone, getattr(record, "phone_raw", None), record.user_id),
            record.message_id,
            getattr(record, "about_message_id", None),
            getattr(record, "group_id", None),
            self.occurred_by(record.key, record.occurred_at),
        )

    def covers_row(self, row: Mapping[str, Any]) -> bool:
        """Tell the same of a row, given by its columns; what has no time is as old as can be."""
        occurred_at = row.get("occurred_at") or row.get("sent_at") or timestamps.EARLIEST
        return self._covers(
            (row.get("phone"), row.get("phone_raw"), row.get("user_id")),
            row.get("message_id"),
            row.get("about_message_id"),
            row.get("group_id"),
            self.occurred_by(row["key"], occurred_at) if "key" in row else occurred_at,
        )

    def occurred_by(self, key: bytes, occurred_at: datetime) -> datetime:
        """Return when the fact of this key occurred, which says that it did at `occurred_at`, at the latest.

        One that was there when somebody was erased had occurred by then. Redelivered it may say otherwise: where the
        provider's clock is ahead, or where it says no time, so that the one of the receipt is taken.
        """
        return min(occurred_at, self._messages.get(self._hash(key.hex()), occurred_at))

    def _covers(
        self,
        people: Iterable[str | None],
        message_id: str | None,
        about_message_id: str | None,
        group_id: str | None,
        occurred_at: datetime,
    ) -> bool:
        named = [one for one in people if one]
        erased = [moment for one in named if (moment := self.person_erased_at(one)) is not None]
        if named:
            return any(occurred_at <= moment for moment in erased) or (bool(erased) and self._has(message_id))
        return not group_id and (self._has(message_id) or self._has(about_message_id))

    def _has(self, message_id: str | None) -> bool:
        return message_id is not None and self._hash(message_id) in self._messages

    def knows_since(self, identifier: str, moment: datetime) -> bool:
        """Tell whether `identifier` is of a message that was erased, or of a person who was at `moment` or later."""
        hashed = self._hash(identifier)
        erased_at = self._people.get(hashed)
        return hashed in self._messages or (erased_at is not None and erased_at >= moment)

    def names_since(self, identifier: str, moment: datetime) -> bool:
        """Tell whether `identifier` is of a person who was erased at `moment` or later."""
        erased_at = self.person_erased_at(identifier)
        return erased_at is not None and erased_at >= moment

    def knows(self, identifier: str) -> bool:
        """Tell whether `identifier` is of a person or a message that was erased, whenever that was."""
        hashed = self._hash(identifier)
        return hashed in self._people or hashed in self._messages


def latest(tombstones: Iterable[Tombstone]) -> dict[bytes, Tombstone]:
    """Return the last of the tombstones of each identifier: who is erased again is erased up to then."""
    found: dict[bytes, Tombstone] = {}
    for one in tombstones:
        known = found.setdefault(one.identifier, one)
        if known.erased_at < one.erased_at:
            found[one.identifier] = one
    return found


def canonical(identifier: str) -> str:
    """Return the one way to write `identifier`: phone numbers as E.164, ids as they are."""
    bare = identifier.removeprefix(_WHATSAPP)
    return phones.e164(bare) or bare
