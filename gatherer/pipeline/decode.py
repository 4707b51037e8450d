"""From notifications to a batch: decode, leave out erased people, add opt-outs made by replies, fold facts."""

from collections.abc import Iterable, Sequence
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
from gatherer.providers.paths import path_text
from gatherer.targets.base import Batch, Contributor, DecodedBody

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
    provider: str | None = None,
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
        provider: decode with this provider instead of the one that each notification carries.
        max_facts: records and rejections after which no further notification is decoded.

    """
    kept_notifications: list[Notification] = []
    erased_count = read = times_ahead = 0
    records: list[Record] = []
    rejected: dict[bytes, Rejected] = {}
    rejections: list[Rejected] = []
    decoded_bodies: list[DecodedBody] = []
    for notification in notifications:
        stored_provider = notification.provider
        if provider is not None:
            notification = notification._replace(provider=provider)
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
        facts = with_opt_outs(facts, opt_out_words(notification.endpoint))
        for fact in facts:
            if isinstance(fact, Rejected):
                rejections.append(fact)
                known = rejected.get(fact.key)
                rejected[fact.key] = fact if known is None else merge.merge_rejections(known, fact)
                continue
            records.append(fact)
            if fact.occurred_at_source != "element" and states_time_ahead(fact):
                times_ahead += 1
        if open_rejections and (key := body_key(notification.body)) in open_rejections:
            decoded_bodies.append(_decoded_body(key, notification.endpoint, stored_provider, facts))
    folded = merge.fold(records)
    told_pairs = message_ids.told_pairs(records)
    pairs = merge.fold(told_pairs)
    return Batch(
        records=folded,
        folded=len(records) - len(folded),
        pairs=pairs,
        rejected=list(rejected.values()),
        times_ahead=times_ahead,
        read=read,
        contributors=_contributors(
            (records, folded), (told_pairs, pairs), (rejections, list(rejected.values()))
        ),
        decoded_bodies=decoded_bodies,
        erased=erased_count,
        notifications=kept_notifications,
    )


def _decoded_body(key: bytes, endpoint: str, provider: str, facts: Decoded) -> DecodedBody:
    """Return which elements of the body with this `key` became records."""
    return DecodedBody(
        body_key=key,
        endpoint=endpoint,
        provider=provider,
        paths=frozenset(
            path_text(paths[0]) for fact, paths in facts.with_paths() if not isinstance(fact, Rejected)
        ),
    )


def _contributors(
    *facts: tuple[Sequence[Record | Rejected], Sequence[Record | Rejected]],
) -> dict[str, list[Contributor]]:
    """Return by table which notifications told facts, except those that the folded facts name themselves.

    Each of `facts` is a pair: as they were told, and folded.
    """
    contributors: dict[str, list[Contributor]] = {}
    for told, folded in facts:
        if len(told) == len(folded):
            continue
        named = {fact.key: (fact.inbox_id, fact.notification_id) for fact in folded}
        others = {
            Contributor(fact.key, fact.inbox_id, fact.notification_id): fact.table
            for fact in told
            if named[fact.key] != (fact.inbox_id, fact.notification_id)
        }
        for contributor, table in others.items():
            contributors.setdefault(table, []).append(contributor)
    return contributors


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
