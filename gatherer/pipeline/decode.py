"""From notifications to a batch: decode, add the opt-outs that replies amount to, fold facts into records."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from gatherer import providers
from gatherer.model import merge, opt_outs
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Kind, Record, Rejected, Response
from gatherer.privacy.erased import Erased
from gatherer.privacy.filter import without_erased
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
    folded = merge.fold(records)
    return Batch(
        records=folded,
        folded=len(records) - len(folded),
        rejected=list(rejected.values()),
        position=position,
        decoded_bodies=frozenset(decoded),
        erased=left_out,
        notifications=taken,
    )
