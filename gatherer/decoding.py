"""From notifications to a batch: decode, add the opt-outs that replies amount to, fold facts into records."""

import json
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime

from gatherer import merging, opt_outs, providers, separating
from gatherer.erasure import Erased
from gatherer.notification import Notification, body_key
from gatherer.providers.base import Decoded
from gatherer.records import Kind, OtherEvent, Record, Rejected, Response
from gatherer.targets.base import Batch, Position


def decode_batch(
    notifications: Iterable[Notification],
    open_rejections: AbstractSet[bytes],
    position: Position | None = None,
    *,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
) -> Batch:
    """Return what `notifications` amount to, ready to be applied in one transaction.

    Args:
        notifications: what to decode, each with the provider it carries.
        open_rejections: body keys of which the target holds rejections that are not settled.
        position: the position of the inbox that the batch leads to; None leaves it alone.
        opt_out_words: which words are an opt-out at which endpoint.
        erased: people of whom nothing is to come back.

    """
    taken: list[Notification] = []
    left_out = 0
    records: list[Record] = []
    rejected: dict[bytes, Rejected] = {}
    decoded: set[bytes] = set()
    for notification in notifications:
        if notification.is_erased:
            continue
        if erased:
            scrubbed, facts, count = without_erased(notification, erased)
            taken.append(scrubbed)
            left_out += count
        else:
            facts = providers.decode(notification)
            taken.append(notification)
        for fact in facts:
            if isinstance(fact, Rejected):
                rejected.setdefault(fact.key, fact)
                continue
            records.append(fact)
            if type(fact) is Response and fact.kind is Kind.REPLIED:
                opted_out = opt_outs.opt_out(fact, opt_out_words(notification.endpoint))
                if opted_out is not None:
                    records.append(opted_out)
        if open_rejections and (key := body_key(notification.body)) in open_rejections:
            decoded.add(key)
    folded = merging.fold(records)
    return Batch(
        records=folded,
        folded=len(records) - len(folded),
        rejected=list(rejected.values()),
        position=position,
        decoded_bodies=frozenset(decoded),
        erased=left_out,
        notifications=taken,
    )


def without_erased(notification: Notification, erased: Erased) -> tuple[Notification, Decoded, int]:
    """Return `notification` without the people who were `erased`, what it holds of others, and how many facts are theirs.

    The body is another one only where that matters: where something of it is left out, or kept with a rejection.
    """
    facts = providers.decode(notification)
    kept: Decoded = [fact for fact in facts if isinstance(fact, Rejected) or not is_about(fact, erased)]
    if len(kept) < len(facts) or any(isinstance(fact, Rejected) for fact in kept):
        separated = separating.separate(notification.body, erased.knows)
        if separated is not None:
            notification = notification._replace(body=separated.rest, received_digest=notification.digest())
            left = [] if notification.is_erased else providers.decode(notification)
            kept = [fact for fact in kept if not isinstance(fact, Rejected)]
            kept += [fact for fact in left if isinstance(fact, Rejected)]  # those keep bytes
    return notification, kept, len(facts) - len(kept)


def is_about(record: Record, erased: Erased) -> bool:
    """Tell whether `record` is about somebody who was `erased`."""
    if not isinstance(record, Response | OtherEvent):
        return False
    if erased.covers(record):
        return True
    return isinstance(record, OtherEvent) and mentions(record.details, erased, record.occurred_at)


def mentions(details: str | None, erased: Erased, occurred_at: datetime) -> bool:
    """Tell whether JSON about what occurred at a time mentions somebody who was `erased` then or later."""
    return details is not None and separating.mentions(
        json.loads(details), lambda text: erased.knows_since(text, occurred_at)
    )
