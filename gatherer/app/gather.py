"""`gatherer gather`: one run over all configured inboxes. An inbox that fails does not stop the others."""

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from gatherer import config
from gatherer.app.after_run import take_steps
from gatherer.app.resources import notification_decoder, open_inbox, open_target, opt_out_words
from gatherer.app.run_lock import hold_run_lock
from gatherer.app.suppression import sync_suppression_list
from gatherer.config import Configuration
from gatherer.files.lock import LockHeldError
from gatherer.inbox.base import Inbox
from gatherer.model import timestamps
from gatherer.model.errors import DEFECT_EXIT_CODE, GathererError, TemporaryError
from gatherer.pipeline.gather import GatherSummary, gather_inbox
from gatherer.targets.base import Outcome, RetentionResult, Run, Target

log = logging.getLogger(__name__)

LONGEST_RUN: Final = timedelta(hours=1)  # a run that holds the lock for longer is reported as a failure

_GatherInbox = Callable[..., GatherSummary]  # `gather_inbox` with everything but the inbox and the limit


@dataclass(frozen=True, kw_only=True)
class InboxResult:
    """What a run did with one inbox."""

    name: str
    summary: GatherSummary | None  # None: it failed
    problem: str | None = None
    exit_code: int = 0


@dataclass(kw_only=True)
class GatherResult:
    """What a run did with all inboxes. The figures are the sums over the inboxes."""

    target: str  # which database, for people
    inboxes: list[InboxResult] = field(default_factory=list)
    read: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    times_ahead: int = 0
    purged_unread: int = 0
    missing: int = 0
    seconds: float = 0.0
    # What `keep_days` removed at the end of the run
    retention: RetentionResult = field(default_factory=RetentionResult)
    steps: list[Run] = field(default_factory=list)  # of [[after_run]], those that were taken

    def add(self, result: InboxResult) -> None:
        """Add the result of one more inbox."""
        self.inboxes.append(result)
        if result.summary is not None:
            self.read += result.summary.read
            self.outcome.add(result.summary.outcome)
            self.times_ahead += result.summary.times_ahead
            self.purged_unread += result.summary.purged_unread
            self.missing += result.summary.missing
            self.seconds += result.summary.seconds

    @property
    def position(self) -> int | None:
        """The last notification that the target has taken in; None where there are several inboxes."""
        summary = self.inboxes[0].summary if len(self.inboxes) == 1 else None
        return summary.position if summary else None

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the inbox whose failure is most urgent; 1 if all are gathered, but a step failed, or notifications are missing."""
        step_failed = any(step.exit_code for step in self.steps)
        failed = step_failed or self.missing > 0
        return worst_exit_code(result.exit_code for result in self.inboxes) or int(failed)


def gather_inboxes(
    configuration: Configuration,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GatherResult:
    """Gather all inboxes, at most `limit` notifications together, apply `[target] keep_days`, take the steps.

    Raises:
        LockHeldError: another run, replay or erasure is in progress.
        TemporaryError: as `gather_inbox`, or the other run has been in progress for longer than an hour.
        GathererError: as `gather_inbox` for the only inbox; the failure of one of several inboxes stands
            in its result.

    """
    decode, words = notification_decoder(configuration), opt_out_words(configuration)
    try:
        with hold_run_lock(configuration):
            # The only inbox is opened first, so that no target is created beside a missing inbox.
            with nullcontext() if configuration.has_several_inboxes else open_inbox(configuration):
                pass
            with open_target(configuration, dry_run=dry_run) as target:
                gather = partial(
                    gather_inbox,
                    target=target,
                    decode=decode,
                    opt_out_words=words,
                    erased=sync_suppression_list(configuration, target, dry_run=dry_run),
                    dry_run=dry_run,
                    progress=progress,
                )
                result = _gather_each(configuration, target, gather, limit=limit, dry_run=dry_run)
                # Again, because another machine may have erased people during the run.
                sync_suppression_list(configuration, target, dry_run=dry_run)
                result.retention = apply_retention(configuration.target, target)
                if not dry_run:
                    result.steps = take_steps(configuration, target)
                return result
    except LockHeldError as held:
        if held.since is not None and timestamps.now() - held.since > LONGEST_RUN:
            raise TemporaryError(f"a run has been in progress for more than an hour: {held.holder}") from None
        raise


def _gather_each(
    configuration: Configuration, target: Target, gather: _GatherInbox, *, limit: int | None, dry_run: bool
) -> GatherResult:
    """Gather one inbox after the other, until `limit` notifications are read."""
    result = GatherResult(target=target.name)
    for name in configuration.named_inboxes:
        remaining = None if limit is None else limit - result.read
        if remaining == 0:
            break
        gather_remaining = partial(gather, limit=remaining)
        if configuration.has_several_inboxes:
            result.add(_try_inbox(configuration, name, target, gather_remaining, dry_run=dry_run))
        else:
            with open_inbox(configuration, name) as inbox:
                result.add(InboxResult(name=name, summary=gather_remaining(inbox)))
    return result


def _try_inbox(
    configuration: Configuration,
    name: str,
    target: Target,
    gather: Callable[[Inbox], GatherSummary],
    *,
    dry_run: bool,
) -> InboxResult:
    """Gather one of several inboxes. Its failure is logged and returned, not raised."""
    opened = False
    try:
        with open_inbox(configuration, name) as inbox:
            opened = True
            return InboxResult(name=name, summary=gather(inbox))
    except GathererError as error:
        log.error("inbox %s: %s", name, error)
        failed = InboxResult(name=name, summary=None, problem=str(error), exit_code=error.exit_code)
    except Exception as error:
        log.exception("inbox %s", name)
        # Without the text of the error, which may contain received data.
        problem = f"a defect in gatherer, {type(error).__name__}; the log shows where"
        failed = InboxResult(name=name, summary=None, problem=problem, exit_code=DEFECT_EXIT_CODE)
    if not opened and not dry_run:  # once it is open, `gather_inbox` records the run
        _record_failed_run(target, failed)
    return failed


def _record_failed_run(target: Target, failed: InboxResult) -> None:
    """Record in `gather_run` that an inbox could not be opened."""
    now = timestamps.now()
    run = Run(
        started_at=now,
        finished_at=now,
        exit_code=failed.exit_code,
        problem=f"inbox {failed.name}: {failed.problem}",
    )
    try:
        target.record_run(run)
    except GathererError as error:
        log.warning("the run could not be recorded in gather_run: %s", error)


def apply_retention(settings: config.Target, target: Target) -> RetentionResult:
    """Blank texts and delete rows of `target` that are older than `[target] keep_days`; return how many.

    A target that was opened with `dry_run` only counts them.

    Raises:
        GathererError: the target refuses, or is not available at present. What was gathered stays.

    """
    now, keep_days = timestamps.now(), settings.keep_days
    text_before, rows_before = (
        now - timedelta(days=days) if days is not None else None for days in (keep_days.text, keep_days.rows)
    )
    return target.apply_retention(text_before=text_before, rows_before=rows_before)


def worst_exit_code(exit_codes: Iterable[int]) -> int:
    """Return the most urgent of `exit_codes`: a defect, then one that needs the operator, then 75, then 0."""
    failures = set(exit_codes) - {0}
    if not failures:
        return 0
    if DEFECT_EXIT_CODE in failures:
        return DEFECT_EXIT_CODE
    return max(failures - {TemporaryError.exit_code}, default=TemporaryError.exit_code)
