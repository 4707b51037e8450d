"""Erasing a person: taking what is held about them out of inboxes and target, and keeping it out."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gatherer import merging
from gatherer.decoding import decode_batch, mentions
from gatherer.erasure import Erased, Erasure, Hashing, Person, Tombstone
from gatherer.inbox.scrubbing import Scrubbing
from gatherer.notification import body_key
from gatherer.targets.base import Batch, Outcome, Target
from gatherer.tracing import NOBODY, Found, Held, entangled, kept_about, messages_of


def erase(
    target: Target,
    found: Found,
    *,
    scrub: Callable[[str, list[Scrubbing]], object],
    tombstones: list[Tombstone],
    erasure: Erasure,
) -> Outcome:
    """Take out all that was `found`, the target last: what is interrupted can simply be done again.

    Args:
        target: where responses are.
        found: what to take out.
        scrub: does it to the inbox of the name that it is given.
        tombstones: what tells later that the person was erased.
        erasure: for the table of the target.

    Raises:
        GathererError: the target or an inbox cannot be written.

    """
    stranded = entangled(one for held in found.inboxes.values() for one in held)
    if stranded:
        target.apply(Batch(records=stranded))
    for name, held in found.inboxes.items():  # also where nothing is left to take out: see `scrubbing.scrub`
        scrub(
            name,
            [Scrubbing(one.notification.id, body_key(one.notification.body), one.rest) for one in held],
        )
    return target.erase(
        rows={table: [row["id"] for row in rows] for table, rows in found.rows.items() if rows},
        bodies=_bodies(found.rejected),
        batch=_rest_of(found.rejected),
        tombstones=tombstones,
        erasure=erasure,
    )


def sweep(target: Target, hashing: Hashing, tombstones: list[Tombstone]) -> Outcome:
    """Take those out of `target` of whom it does not know that they were erased: it was restored from an older copy.

    Args:
        target: where responses are.
        hashing: what `tombstones` were made with.
        tombstones: of whoever was erased.

    Raises:
        GathererError: the target cannot be read or written.

    """
    erased = Erased(hashing, tombstones)
    until = max(one.erased_at for one in tombstones)
    person = _known(target, erased)
    for row in (row for rows in target.find(person, until).values() for row in rows):
        person |= messages_of(row) if erased.covers_row(row) else NOBODY
    rejected = kept_about(target, person)
    return target.erase(
        rows={
            table: [row["id"] for row in rows if _is_about(row, erased)]
            for table, rows in target.find(person, until).items()
        },
        bodies=_bodies(rejected),
        batch=_rest_of(rejected),
        tombstones=tombstones,
        erasure=None,
    )


def _is_about(row: Mapping[str, Any], erased: Erased) -> bool:
    if erased.covers_row(row):
        return True
    return "family" in row and mentions(row["details"], erased, row["occurred_at"])


def _known(target: Target, erased: Erased) -> Person:
    """Return everybody in `target` who was `erased`, as one."""
    phones, user_ids = set(), set()
    for batch in target.known_people():
        for phone, user_id in batch:
            if phone is not None and erased.knows(phone):
                phones.add(phone)
            if user_id is not None and erased.knows(user_id):
                user_ids.add(user_id)
    return Person(phones=frozenset(phones), user_ids=frozenset(user_ids))


def _bodies(rejected: Iterable[Held]) -> list[bytes]:
    return [body_key(one.notification.body) for one in rejected]


def _rest_of(rejected: list[Held]) -> Batch:
    """Return what notifications that the target kept with rejections say about others."""
    batch = decode_batch(
        [one.notification._replace(body=one.rest) for one in rejected if one.rest], frozenset()
    )
    return dataclasses.replace(batch, records=merging.fold([*batch.records, *entangled(rejected)]))
