"""From notifications to a batch: decode each with its provider, then fold what is one fact into one record."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from gatherer import merging, providers
from gatherer.notification import Notification, body_key
from gatherer.records import Record, Rejected
from gatherer.targets.base import Batch, Position


def decode_batch(
    notifications: Iterable[Notification],
    open_rejections: AbstractSet[bytes],
    position: Position | None = None,
) -> Batch:
    """Return what `notifications` amount to, ready to be applied in one transaction.

    Args:
        notifications: what to decode, each with the provider it carries.
        open_rejections: body keys of which the target holds rejections that are not settled.
        position: the position of the inbox that the batch leads to; None leaves it alone.

    """
    records: list[Record] = []
    rejected: dict[bytes, Rejected] = {}
    decoded: set[bytes] = set()
    for notification in notifications:
        for fact in providers.decode(notification):
            if isinstance(fact, Rejected):
                rejected.setdefault(fact.key, fact)
            else:
                records.append(fact)
        if open_rejections and (key := body_key(notification.body)) in open_rejections:
            decoded.add(key)
    folded = merging.fold(records)
    return Batch(
        records=folded,
        folded=len(records) - len(folded),
        rejected=list(rejected.values()),
        position=position,
        decoded_bodies=frozenset(decoded),
    )
