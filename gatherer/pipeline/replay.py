"""Manual recovery: decode and apply chosen notifications again. The position stays where it is."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.model import opt_outs
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erased import Erased
from gatherer.targets.base import Batch, Outcome, Retired, Target

BOUNDS: Final = Bounds()
EVERYTHING: Final = Selection()


@dataclasses.dataclass(kw_only=True)
class Summary:
    """What a replay did."""

    read: int = 0  # notifications
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    seconds: float = 0.0
    retired: Retired = dataclasses.field(default_factory=Retired)  # afterwards, of whatever was there


def replay_notifications(
    inbox: Inbox | None,
    target: Target,
    selection: Selection | None,
    *,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
    provider: str | None = None,
    rebuild: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Summary:
    """Decode and apply again what `selection` chooses from `inbox`.

    Args:
        inbox: where to read; None is enough for rejected notifications without `rebuild`.
        target: where to apply.
        selection: which notifications; None: those with open rejections, from the bytes the target kept.
        opt_out_words: which words are an opt-out at which endpoint.
        erased: people of whom nothing is to come back.
        provider: decode with this one instead of the one stored with each notification.
        rebuild: first remove the rows that came only from the chosen notifications, in the same
            transaction: for the day a defect of a decoder is mended.
        progress: called after every batch with how many notifications are done.

    Raises:
        GathererError: as `gather` does.

    """
    clock = time.perf_counter()
    summary = Summary()

    def chosen() -> Iterator[list[Notification]]:
        if selection is None:
            batches = target.rejected_notifications()
        else:
            assert inbox is not None, "a selection needs an inbox to select from"  # noqa: S101
            batches = inbox.select(selection, BOUNDS)
        for notifications in batches:
            if provider is not None:
                notifications = [notification._replace(provider=provider) for notification in notifications]
            yield notifications

    def decoded() -> Iterator[Batch]:
        for notifications in chosen():
            batch = decode_batch(notifications, open_rejections, opt_out_words=opt_out_words, erased=erased)
            yield batch
            left_out.append(batch.erased)
            summary.read += len(notifications)
            progress(summary.read)

    left_out: list[int] = []
    open_rejections = target.open_rejections()
    if rebuild:
        # What came from a notification that people were erased from may be in the target alone by now: all of it, or
        # what it does not say any more.
        ids = {(one.inbox_id, one.id) for batch in chosen() for one in batch if not one.is_erased}
        # What the target kept does not tell what became of the notification in the inbox.
        there = chosen() if selection is not None or inbox is None else inbox.select(EVERYTHING, BOUNDS)
        freed = ids & _freed(there)
        said = _said(chosen(), freed, opt_out_words, erased)
        keep = target.keys_from(freed) - said if freed else set[bytes]()
        keys = target.keys_from(ids)
        # The target forgets which rejections it kept before it asks for them anew: so decode those first.
        again = decoded() if selection is not None else iter(list(decoded()))
        batches = _and_others(again, inbox, ids, keys, opt_out_words, erased)
        summary.outcome = target.rebuild(ids, batches, keep)
    else:
        for batch in decoded():
            summary.outcome.add(target.apply(batch))
    summary.outcome.erased = sum(left_out)
    summary.seconds = time.perf_counter() - clock
    return summary


def _freed(batches: Iterable[list[Notification]]) -> set[tuple[str, int]]:
    """Return from which notifications somebody was erased who is not all that they are about."""
    return {
        (one.inbox_id, one.id)
        for batch in batches
        for one in batch
        if one.received_digest is not None and not one.is_erased
    }


def _said(
    batches: Iterable[list[Notification]],
    freed: set[tuple[str, int]],
    opt_out_words: opt_outs.Words,
    erased: Erased | None,
) -> set[bytes]:
    """Return the keys of the facts that those which were `freed` still say."""
    keys: set[bytes] = set()
    for batch in batches if freed else ():
        some = [one for one in batch if (one.inbox_id, one.id) in freed]
        records = decode_batch(some, frozenset(), opt_out_words=opt_out_words, erased=erased).records
        keys.update(record.key for record in records)
    return keys


def _and_others(
    batches: Iterable[Batch],
    inbox: Inbox | None,
    chosen: set[tuple[str, int]],
    keys: set[bytes],
    opt_out_words: opt_outs.Words,
    erased: Erased | None,
) -> Iterator[Batch]:
    """Yield `batches`, then what other notifications of `inbox` say about the removed `keys`.

    A row that is removed because a chosen notification brought it first may have come from others as
    well. Those do not stay away: the inbox still holds them.
    """
    yield from batches
    if inbox is None or not keys:
        return
    for notifications in inbox.select(EVERYTHING, BOUNDS):
        others = [n for n in notifications if (n.inbox_id, n.id) not in chosen]
        batch = decode_batch(others, frozenset(), opt_out_words=opt_out_words, erased=erased)
        yield dataclasses.replace(
            batch,
            records=[record for record in batch.records if record.key in keys],
            folded=0,
            rejected=[refusal for refusal in batch.rejected if refusal.key in keys],
        )
