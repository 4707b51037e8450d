"""Telling that somebody was erased, by the tombstones that are left of them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from gatherer.model import timestamps
from gatherer.model.person import Hashing, Tombstone, Whom
from gatherer.model.records import OtherEvent, Response

REMEMBERED: Final = 20_000  # hashes


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

    def at(self, moment: datetime) -> "Whom":
        """Return those who were erased at `moment` or later, and all messages that were."""
        return _ErasedSince(self, moment)

    def covers(self, record: Response | OtherEvent, until: datetime = timestamps.LATEST) -> bool:
        """Tell whether `record`, which occurred by `until` whatever it says, is about somebody who was erased.

        Where it names them: if it occurred no later than that, or is about a message that was erased. Where it names
        nobody: if it is about such a message, or quotes one.
        """
        return self._covers(
            (record.phone, getattr(record, "phone_raw", None), record.user_id),
            record.message_id,
            getattr(record, "about_message_id", None),
            getattr(record, "group_id", None),
            self.occurred_by(record.key, min(record.occurred_at, until)),
        )

    def covers_row(self, row: Mapping[str, Any]) -> bool:
        """Tell the same of a row, given by its columns."""
        return self._covers(
            (row.get("phone"), row.get("phone_raw"), row.get("user_id")),
            row.get("message_id"),
            row.get("about_message_id"),
            row.get("group_id"),
            self.row_occurred_by(row),
        )

    def row_occurred_by(self, row: Mapping[str, Any]) -> datetime:
        """Return when what a row says occurred, at the latest; what has no time is as old as can be."""
        # The site writes `sent_at`, and may write there what is no time.
        times = (row.get(name) for name in ("occurred_at", "sent_at", "inserted_at"))
        occurred_at = next((one for one in times if isinstance(one, datetime)), timestamps.EARLIEST)
        return self.occurred_by(row["key"], occurred_at) if "key" in row else occurred_at

    def occurred_by(self, key: bytes, occurred_at: datetime) -> datetime:
        """Return when the fact of this key occurred, which says that it did at `occurred_at`, at the latest.

        One that was there when somebody was erased had occurred by then. Redelivered it may say otherwise: where the
        provider's clock is ahead, or where it says no time, so that the one of the receipt is taken.
        """
        return min(occurred_at, self.there_by(key) or occurred_at)

    def there_by(self, key: bytes) -> datetime | None:
        """Return by when what this key is of, a fact, body or element, was there; None if it was not when erasing."""
        return self._messages.get(self._hash(key.hex()))

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
            return any(occurred_at <= moment for moment in erased) or (
                bool(erased) and self.has_message(message_id)
            )
        return not group_id and (self.has_message(message_id) or self.has_message(about_message_id))

    def has_message(self, message_id: str | None) -> bool:
        """Tell whether `message_id` is of a message that was erased."""
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

    def is_named(self, identifier: str) -> bool:
        """Tell whether `identifier` is of a person who was erased, whenever that was."""
        return self.person_erased_at(identifier) is not None


class _ErasedSince(NamedTuple):
    """Those who were erased at some moment or later."""

    erased: Erased
    moment: datetime

    def knows(self, identifier: str) -> bool:
        return self.erased.knows_since(identifier, self.moment)

    def is_named(self, identifier: str) -> bool:
        return self.erased.names_since(identifier, self.moment)

    def has_message(self, message_id: str | None) -> bool:
        return self.erased.has_message(message_id)


def latest(tombstones: Iterable[Tombstone]) -> dict[bytes, Tombstone]:
    """Return the last of the tombstones of each identifier: who is erased again is erased up to then."""
    found: dict[bytes, Tombstone] = {}
    for one in tombstones:
        known = found.setdefault(one.identifier, one)
        if known.erased_at < one.erased_at:
            found[one.identifier] = one
    return found
