"""One run: drain an inbox from its position in the target, decode, apply, until nothing is left."""

import gc
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gatherer import __version__
from gatherer.inbox.base import Bounds, Inbox
from gatherer.model import opt_outs, timestamps
from gatherer.model.errors import GathererError, InboxError
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erased import Erased
from gatherer.targets.base import Outcome, Position, Run, Target

log = logging.getLogger(__name__)

BOUNDS: Final = Bounds()  # of a batch: what one transaction takes in, and what memory holds


@dataclass(kw_only=True)
class Summary:
    """What a run did."""

    inbox_id: str
    target: str  # which database, for people
    read: int = 0  # notifications
    outcome: Outcome = field(default_factory=Outcome)
    position: int = 0  # the last notification that the target has taken in
    purged_unread: int = 0  # notifications that were purged before this target had them
    seconds: float = 0.0


def gather_inbox(
    inbox: Inbox,
    target: Target,
    *,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Bring `target` up to the end that `inbox` has now, and write the run down.

    Args:
        inbox: where to read.
        target: where to apply; its position says where to start.
        opt_out_words: which words are an opt-out at which endpoint.
        erased: people of whom nothing is to come back.
        limit: stop after so many notifications; the next run goes on from there.
        dry_run: the target rolls everything back; write no run down, and acknowledge nothing.
        progress: called after every batch with how many notifications are done, of how many.

    Raises:
        InboxError: the inbox is not the one that was gathered before, or cannot be read.
        TargetError: the target will not take the rows.
        TemporaryError: one of them is not available just now; nothing is lost.

    """
    started_at, clock = timestamps.now(), time.perf_counter()
    summary = Summary(inbox_id=inbox.identity, target=target.name)
    problem: GathererError | None = None
    collecting = gc.isenabled()
    gc.disable()  # records hold no cycles: the collector would walk over each batch again and again
    try:
        _run(inbox, target, opt_out_words, erased, limit, progress, summary, dry_run=dry_run)
    except GathererError as error:
        problem = error
        raise
    finally:
        if collecting:
            gc.enable()
        summary.seconds = time.perf_counter() - clock
        if not dry_run:
            _write_down(target, started_at=started_at, summary=summary, problem=problem)
    return summary


def _run(
    inbox: Inbox,
    target: Target,
    opt_out_words: opt_outs.Words,
    erased: Erased | None,
    limit: int | None,
    progress: Callable[[int, int], None],
    summary: Summary,
    *,
    dry_run: bool,
) -> None:
    def acknowledge() -> None:
        if not dry_run:
            inbox.acknowledge(target.identity, summary.position)

    position = target.position(inbox.identity)
    end = inbox.last_id()
    if position is not None:
        _check(inbox, position, end)
    summary.position = position.notification_id if position else 0
    acknowledge()  # also where nothing is new: a target that was restored needs what it has lost once more
    summary.purged_unread = _purged(inbox, summary.position)
    total = min(end - summary.position - summary.purged_unread, limit or end)
    open_rejections = target.open_rejections()
    # Up to the end as it was at the start: under steady load there would always be one more.
    while summary.position < end and summary.read < total:
        rows = min(BOUNDS.rows, total - summary.read)
        notifications = inbox.read(summary.position, Bounds(rows=rows, bytes=BOUNDS.bytes))
        if not notifications:
            break
        last = notifications[-1]
        reached = Position(inbox.identity, last.id, last.digest())
        batch = decode_batch(
            notifications, open_rejections, reached, opt_out_words=opt_out_words, erased=erased
        )
        summary.outcome.add(target.apply(batch))
        summary.outcome.erased += batch.erased
        open_rejections |= {refusal.body_key for refusal in batch.rejected}
        summary.read += len(notifications)
        summary.position = last.id
        acknowledge()
        progress(summary.read, total)


def _check(inbox: Inbox, position: Position, end: int) -> None:
    """Make sure that `inbox` is the log that `position` was taken from.

    Raises:
        InboxError: it is not: it was reset, or restored from a copy.

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


def _purged(inbox: Inbox, position: int) -> int:
    """Return how many notifications after `position` are gone, and say so."""
    first = inbox.first_id()
    if first is None:
        first = inbox.last_id() + 1
    missing = max(0, first - position - 1)
    if missing:
        log.warning(
            "%d notifications (%d to %d) were purged from the inbox before this target had them",
            missing,
            position + 1,
            first - 1,
        )
    return missing


def _write_down(
    target: Target, *, started_at: datetime, summary: Summary, problem: GathererError | None
) -> None:
    outcome = summary.outcome
    run = Run(
        started_at=started_at,
        finished_at=timestamps.now(),
        host=socket.gethostname(),
        version=__version__,
        inbox_id=summary.inbox_id,
        read=summary.read,
        inserted=sum(outcome.inserted.values()),
        filled=outcome.filled,
        duplicates=outcome.duplicates,
        rejected=outcome.rejected,
        exit_code=problem.exit_code if problem else 0,
        problem=str(problem) if problem else None,
    )
    try:
        target.record_run(run)
    except GathererError as error:
        if problem is None:
            raise
        log.warning("the run could not be written down: %s", error)
