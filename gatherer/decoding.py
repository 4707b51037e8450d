"""From notifications to a batch: decode, add the opt-outs that replies amount to, fold facts into records."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from gatherer import freeing, merging, opt_outs, providers, separating
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
    kept = [fact for one in facts if (fact := of_others(one, erased)) is not None]
    redelivered = len(kept) < len(facts) or erased.knows(body_key(notification.body).hex())
    if redelivered or any(isinstance(fact, Rejected) for fact in kept):
        moment = notification.received_at
        knows = erased.knows if redelivered else lambda text: erased.knows_since(text, moment)
        found = separating.mentions(separating.load(notification.body), knows)
        if found:
            notification = freeing.free(
                notification._replace(received_digest=notification.digest()), {one.element for one in found}
            )
            left = [] if notification.is_erased else providers.decode(notification)
            kept = [fact for fact in kept if not isinstance(fact, Rejected)]
            kept += [fact for fact in left if isinstance(fact, Rejected)]  # those keep bytes
    return notification, kept, len(facts) - len(kept)


def of_others(fact: Record | Rejected, erased: Erased) -> Record | Rejected | None:
    """Return what of `fact` is not about people who were `erased`; None if nothing is."""
    if not isinstance(fact, Response | OtherEvent):
        return fact
    if erased.covers(fact):
        return None
    # It is about somebody else, or names nobody, but may mention people.
    moment = erased.occurred_by(fact.key, fact.occurred_at)
    return freeing.without(
        fact,
        lambda text: erased.knows_since(text, moment),
        lambda text: erased.names_since(text, moment),
    )
