"""Erasing a person: taking what is held about them out of inboxes and target, and keeping it out."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from gatherer.inbox.redaction import InboxRedaction
from gatherer.model import merge, timestamps
from gatherer.model.notification import Notification, body_key
from gatherer.model.person import Erasure, Hashing, Person, Tombstone
from gatherer.model.records import Record
from gatherer.privacy.erased import Erased
from gatherer.privacy.filter import of_others
from gatherer.privacy.freeing import Freed, freed, is_about, is_told_by_message, names_somebody
from gatherer.privacy.holding import Decode, Held
from gatherer.privacy.tracing import Found, Mention, kept_about, messages_of, sorted_out
from gatherer.targets.base import Batch, Outcome, Target


def erase(
    target: Target,
    found: Found,
    *,
    decode: Decode,
    erased: Erased | None,
    redact: Callable[[str, list[InboxRedaction]], object],
    tombstones: list[Tombstone],
    erasure: Erasure,
) -> Outcome:
    """Take out all that was `found`, the target last: what is interrupted can simply be done again.

    Args:
        target: where responses are.
        found: what to take out.
        decode: makes records of notifications, none of people who were erased before, and
        erased: who they are.
        redact: does it to the inbox of the name that it is given.
        tombstones: what tells later that the person was erased.
        erasure: for the table of the target.

    Raises:
        GathererError: the target or an inbox cannot be written.

    """
    stranded = entangled((one for held in found.inboxes.values() for one in held), erased)
    if stranded:
        target.apply(Batch(records=stranded))
    for name, held in found.inboxes.items():  # also where nothing is left to take out: see `scrubbing.scrub`
        redact(
            name,
            [InboxRedaction(one.notification.id, body_key(one.notification.body), one.rest) for one in held],
        )
    return target.erase(
        rows=_ids(found.rows),
        texts=_texts(found.mentions),
        bodies=_bodies(found.rejected),
        batch=_rest_of(found.rejected, decode, erased),
        tombstones=tombstones,
        erasure=erasure,
    )


def sweep(
    target: Target,
    hashing: Hashing,
    tombstones: list[Tombstone],
    decode: Decode,
    *,
    since: datetime = timestamps.EARLIEST,
) -> Outcome:
    """Take those out of `target` of whom it does not know that they were erased: it was restored from an older copy.

    Or of whom a run did not know that was running meanwhile.

    Args:
        target: where responses are.
        hashing: what `tombstones` were made with.
        tombstones: of whoever was erased.
        decode: as above.
        since: rows that were written earlier have nothing of them.

    Raises:
        GathererError: the target cannot be read or written.

    """
    erased = Erased(hashing, tombstones)

    def is_theirs(row: Mapping[str, Any]) -> bool:
        if erased.covers_row(row):
            return True
        return not names_somebody(row) and is_about(row, erased.at(erased.row_occurred_by(row)))

    def freed_row(row: Mapping[str, Any]) -> Freed:
        return freed(row, erased.at(erased.row_occurred_by(row)))

    rows: dict[str, list[dict[str, Any]]] = {}
    mentions: dict[str, list[Mention]] = {}
    messages: set[str] = set()
    for table, some in target.about_people(since):
        theirs, others = sorted_out({table: some}, is_theirs, freed_row)
        rows.setdefault(table, []).extend(theirs[table])
        mentions.setdefault(table, []).extend(others[table])
        messages.update(*(messages_of(row).message_ids for row in theirs[table]))
    # What arrived only here tells of messages that nobody knew of when the people were erased.
    new = Person(message_ids=frozenset(one for one in messages if not erased.has_message(one)))
    for table, some in (target.find(new, timestamps.LATEST) if new.message_ids else {}).items():
        known = {row["id"] for row in rows.get(table, ())}
        more = [row for row in some if row["id"] not in known and is_about(row, new)]
        rows.setdefault(table, []).extend(more)
    rejected = kept_about(target, lambda one: erased.at(_there_by(one, erased)), decode)
    return target.erase(
        rows=_ids(rows),
        texts=_texts(mentions),
        bodies=_bodies(rejected),
        batch=_rest_of(rejected, decode, erased),
        tombstones=tombstones,
        erasure=None,
    )


def _there_by(notification: Notification, erased: Erased) -> datetime:
    return erased.there_by(body_key(notification.body)) or notification.received_at


def entangled(found: Iterable[Held], erased: Erased | None) -> list[Record]:
    """Return the facts about others that go with what was `found`, unless these others were `erased` before."""
    facts = merge.fold(record for one in found for record in one.entangled)
    if erased is None:
        return facts
    return [fact for one in facts if isinstance(fact := of_others(one, erased), Record)]


def redeliverable(found: Found) -> frozenset[str]:
    """Return what tells that something was there, when it comes again, where no phone number, time or message does.

    That is the notifications that were found, of which parts may be kept with rejections, elements of them, and the
    keys of facts.
    """
    held = [*found.rejected, *(one for some in found.inboxes.values() for one in some)]
    theirs = [row for rows in found.rows.values() for row in rows if "key" in row]
    keys = {row["key"] for row in theirs if not is_told_by_message(row, found.person)}
    keys |= {mention.row["key"] for mentions in found.mentions.values() for mention in mentions}
    bodies = {body_key(one.notification.body) for one in held}
    return frozenset(one.hex() for one in bodies | keys.union(*(one.keys for one in held)))


def _ids(rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[int]]:
    return {table: [row["id"] for row in some] for table, some in rows.items() if some}


def _texts(mentions: Mapping[str, list[Mention]]) -> dict[str, dict[int, dict[str, str | None]]]:
    return {
        table: {mention.row["id"]: mention.freed.columns for mention in some}
        for table, some in mentions.items()
        if some
    }


def _bodies(rejected: Iterable[Held]) -> list[bytes]:
    return [body_key(one.notification.body) for one in rejected]


def _rest_of(rejected: list[Held], decode: Decode, erased: Erased | None) -> Batch:
    """Return what is to be there afterwards: what notifications kept with rejections say about others."""
    batch = decode([one.notification._replace(body=one.rest) for one in rejected if one.rest])
    records = merge.fold([*batch.records, *entangled(rejected, erased)])
    return dataclasses.replace(batch, records=records)
