"""A run over one inbox: read from the position in the target, decode, apply, until the end of the inbox."""

import dataclasses
import gc
import logging
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise
from typing import Final

from gatherer import providers
from gatherer.inbox.base import Bounds, Inbox
from gatherer.model import opt_outs, timestamps
from gatherer.model.errors import GathererError, InboxError
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erased import Erased
from gatherer.providers.base import Decode
from gatherer.targets.base import Batch, Outcome, Position, Run, Target

log = logging.getLogger(__name__)

BOUNDS: Final = Bounds()  # of a batch: it is one transaction, and is held in memory
_LOGGED_RANGES: Final = 5  # of missing ids, in one line of the log


@dataclass(kw_only=True)
class GatherSummary:
    """What a run did with one inbox."""

    inbox_id: str
    target: str  # which database, for people
    read: int = 0  # notifications
    outcome: Outcome = field(default_factory=Outcome)
    position: int = 0  # the last notification that the target has taken in
    times_ahead: int = 0  # responses whose stated time is so far ahead of the receipt that it is not used
    purged_unread: int = 0  # notifications that the inbox purged before this target had read them
    missing: int = 0  # notifications that the inbox lost: it does not hold them, and did not purge them
    seconds: float = 0.0


def gather_inbox(
    inbox: Inbox,
    target: Target,
    *,
    decode: Decode = providers.decode,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GatherSummary:
    """Bring `target` up to the present end of `inbox`, and record the run in `gather_run`.

    Args:
        inbox: where to read.
        target: where to apply; its position says where to start.
        decode: decodes one notification, as the configuration of its endpoint says.
        opt_out_words: the opt-out keywords of each endpoint.
        erased: the people who were erased; facts about them are left out.
        limit: stop after this many notifications; the next run continues there.
        dry_run: the target rolls everything back. Record no run and acknowledge nothing.
        progress: called after every batch with how many notifications are done, of how many.

    Raises:
        InboxError: the inbox is not the one that was gathered before, or cannot be read.
        TargetError: the target refuses the rows.
        TemporaryError: the inbox or the target is not available at present; nothing is lost.

    """
    started_at, clock = timestamps.now(), time.perf_counter()
    summary = GatherSummary(inbox_id=inbox.identity, target=target.name)
    problem: GathererError | None = None
    gc_was_enabled = gc.isenabled()
    gc.disable()  # records have no reference cycles: the collector would only scan each batch repeatedly
    try:
        make_batch = partial(decode_batch, decode=decode, opt_out_words=opt_out_words, erased=erased)
        _drain(inbox, target, make_batch, summary, limit=limit, dry_run=dry_run, progress=progress)
    except GathererError as error:
        problem = error
        raise
    finally:
        if summary.times_ahead:
            log.warning(
                "%d responses state a time of more than a day after their receipt, which is used instead. "
                "If they are many, the clock of the server that receives is behind",
                summary.times_ahead,
            )
        if gc_was_enabled:
            gc.enable()
        summary.seconds = time.perf_counter() - clock
        if not dry_run:
            _record_run(target, started_at=started_at, summary=summary, problem=problem)
    return summary


def _drain(
    inbox: Inbox,
    target: Target,
    make_batch: Callable[[list[Notification], AbstractSet[bytes]], Batch],
    summary: GatherSummary,
    *,
    limit: int | None,
    dry_run: bool,
    progress: Callable[[int, int], None],
) -> None:
    """Read, decode and apply batch after batch, and count in `summary` what is done."""

    def acknowledge() -> None:
        if not dry_run:
            inbox.acknowledge(target.identity, summary.position)

    position = target.position(inbox.identity)
    # The end as it is now: under steady load the inbox would never be empty.
    end = inbox.last_id()
    if position is not None:
        _check_position(inbox, position, end)
        summary.position = position.notification_id
    acknowledge()  # also where nothing is new: a restored target must hold back the purging of what it lost
    open_rejections = target.open_rejections()
    while (remaining := min(end - summary.position, end if limit is None else limit - summary.read)) > 0:
        bounds = Bounds(rows=min(BOUNDS.rows, remaining), bytes=BOUNDS.bytes)
        notifications = inbox.read(summary.position, bounds)
        if not notifications:
            # The position cannot pass a hole at the end of the inbox: each run reports it until a notification follows.
            _count_holes(inbox, summary, [end + 1])
            break
        batch = make_batch(notifications, open_rejections)
        last = notifications[batch.read - 1]
        position = Position(inbox.identity, last.id, last.digest())
        summary.outcome.add(target.apply(dataclasses.replace(batch, position=position)))
        summary.outcome.erased += batch.erased
        summary.times_ahead += batch.times_ahead
        open_rejections |= {rejection.body_key for rejection in batch.rejected}
        summary.read += batch.read
        _count_holes(inbox, summary, [notification.id for notification in notifications[: batch.read]])
        summary.position = last.id
        acknowledge()
        rest = max(0, end - summary.position)
        progress(summary.read, summary.read + rest if limit is None else min(summary.read + rest, limit))


def _check_position(inbox: Inbox, position: Position, end: int) -> None:
    """Check that `position` was taken from this `inbox`, which ends at the notification `end`.

    Raises:
        InboxError: it was not: the inbox was reset, or restored from a copy.

    """
    number = position.notification_id
    advice = (
        "Was it restored from a backup? Nothing was gathered, so that nothing is skipped silently. "
        "Move the file away and restart `gatherer serve` for a new inbox; `gatherer replay` can apply "
        "what the old file holds."
    )
    if number > end:
        raise InboxError(
            f"the target has gathered this inbox up to notification {number}, but it ends at {end}. {advice}"
        )
    notification = inbox.get(number)
    if notification is not None and notification.digest() != position.digest:
        raise InboxError(
            f"notification {number} of this inbox is not the one that the target has gathered. {advice}"
        )


def _count_holes(inbox: Inbox, summary: GatherSummary, ids: Sequence[int]) -> None:
    """Count in `summary` the ids between its position and the last of `ids` that are not in `ids`, and log them.

    The beginning of an inbox up to `purged_to` was purged. Any other missing id is a notification that was lost.
    """
    if not inbox.has_contiguous_ids or ids[-1] - summary.position == len(ids):
        return
    purged_to = inbox.purged_to()
    purged, missing = [], []
    for before, following in pairwise([summary.position, *ids]):
        start = max(before, min(purged_to, following - 1))
        purged += [(before + 1, start)] if start > before else []
        missing += [(start + 1, following - 1)] if following > start + 1 else []
    if purged:
        count = _size(purged)
        summary.purged_unread += count
        log.warning(
            "%d notifications (%s) were purged from the inbox before this target had read them",
            count,
            _text(purged),
        )
    if missing:
        count = _size(missing)
        summary.missing += count
        log.error(
            "%d notifications (%s) are missing in the inbox, and gatherer did not purge them: "
            "the file was changed or is damaged. `gatherer inbox check` examines it",
            count,
            _text(missing),
        )


def _size(ranges: Sequence[tuple[int, int]]) -> int:
    """Return how many ids are in `ranges`, each from its first to its last id."""
    return sum(last - first + 1 for first, last in ranges)


def _text(ranges: Sequence[tuple[int, int]]) -> str:
    """Return the first of `ranges` for the log."""
    shown = ", ".join(f"{first} to {last}" for first, last in ranges[:_LOGGED_RANGES])
    return f"{shown}, …" if len(ranges) > _LOGGED_RANGES else shown


def _record_run(
    target: Target, *, started_at: datetime, summary: GatherSummary, problem: GathererError | None
) -> None:
    """Record the run in `gather_run`. A failure to do so never hides the `problem` of the run."""
    outcome = summary.outcome
    run = Run(
        started_at=started_at,
        finished_at=timestamps.now(),
        inbox_id=summary.inbox_id,
        read=summary.read,
        inserted=sum(outcome.inserted.values()),
        filled=outcome.filled,
        duplicates=outcome.duplicates,
        rejected=outcome.rejected,
        exit_code=problem.exit_code if problem else 0,
        problem=str(problem) if problem else None,
        times_ahead=summary.times_ahead,
        purged_unread=summary.purged_unread,
        missing=summary.missing,
    )
    try:
        target.record_run(run)
    except GathererError as error:
        if problem is None:
            raise
        log.warning("the run could not be recorded in gather_run: %s", error)
