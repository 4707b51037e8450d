"""From notifications to a batch: decode, leave out erased people, add opt-outs made by replies, fold facts."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from gatherer import providers
from gatherer.model import merge, message_ids, opt_outs
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Kind, Record, Rejected, Response
from gatherer.privacy.erased import Erased
from gatherer.privacy.filter import without_erased
from gatherer.providers.base import Decode, Decoded
from gatherer.providers.origin import states_time_ahead
from gatherer.targets.base import Batch

MAX_FACTS: Final = (
    100_000  # records and rejections of a batch, which is in memory; more only of one notification
)


def decode_batch(
    notifications: Iterable[Notification],
    open_rejections: AbstractSet[bytes],
    *,
    decode: Decode = providers.decode,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
    max_facts: int = MAX_FACTS,
) -> Batch:
    """Return the batch that `notifications` decode to, ready to be applied in one transaction, without a position.

    It ends before the last notification when it has `max_facts`: `Batch.read` tells how many it is made of.

    Args:
        notifications: what to decode, each with the provider it carries.
        open_rejections: keys of the bodies of which the target holds unresolved rejections.
        decode: decodes one notification, as the configuration of its endpoint says.
        opt_out_words: the opt-out keywords of each endpoint.
        erased: the people who were erased; facts about them are left out.
        max_facts: records and rejections after which no further notification is decoded.

    """
    kept_notifications: list[Notification] = []
    erased_count = read = times_ahead = 0
    records: list[Record] = []
    rejected: dict[bytes, Rejected] = {}
    decoded_bodies: set[bytes] = set()
    for notification in notifications:
        if len(records) + len(rejected) >= max_facts:
            break
        read += 1
        if notification.is_erased:
            continue
        if erased:
            remainder, facts, count = without_erased(notification, erased, decode)
            kept_notifications.append(remainder)
            erased_count += count
        else:
            facts = decode(notification)
            kept_notifications.append(notification)
        for fact in with_opt_outs(facts, opt_out_words(notification.endpoint)):
            if isinstance(fact, Rejected):
                known = rejected.get(fact.key)
                rejected[fact.key] = fact if known is None else merge.merge_rejections(known, fact)
                continue
            records.append(fact)
            if fact.occurred_at_source != "element" and states_time_ahead(fact):
                times_ahead += 1
        if open_rejections and (key := body_key(notification.body)) in open_rejections:
            decoded_bodies.add(key)
    folded = merge.fold(records)
    return Batch(
        records=folded,
        folded=len(records) - len(folded),
        pairs=message_ids.pairs(records),
        rejected=list(rejected.values()),
        times_ahead=times_ahead,
        read=read,
        decoded_bodies=frozenset(decoded_bodies),
        erased=erased_count,
        notifications=kept_notifications,
    )


def with_opt_outs(decoded: Decoded, keywords: frozenset[str]) -> Decoded:
    """Return what is `decoded`, and after each reply that is one of the `keywords` the opt-out in it, with its paths.

    A reply that the person edited to a keyword is an opt-out as well.
    """
    opted_out = {
        i: opt_out
        for i, fact in enumerate(decoded)
        if type(fact) is Response and (fact.kind is Kind.REPLIED or fact.kind is Kind.EDITED)
        if (opt_out := opt_outs.opt_out(fact, keywords)) is not None
    }
    if not opted_out:
        return decoded
    facts = Decoded()
    for i, (fact, paths) in enumerate(decoded.with_paths()):
        facts.add(fact, *paths)
        if i in opted_out:
            facts.add(opted_out[i], *paths)
    return facts
