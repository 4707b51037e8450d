"""One run over all inboxes of a configuration: one that fails does not stop the others."""

import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from gatherer import __version__, config
from gatherer.app.resources import open_inbox, open_target, opt_out_words
from gatherer.app.run_lock import turn
from gatherer.app.suppression import erased_people
from gatherer.config import Configuration
from gatherer.files import lock
from gatherer.model import opt_outs, timestamps
from gatherer.model.errors import GathererError, TemporaryError
from gatherer.pipeline.gather import Summary, gather_inbox
from gatherer.privacy.erased import Erased
from gatherer.targets.base import Outcome, Retired, Run, Target

log = logging.getLogger(__name__)

DEFECT = 70  # exit code of what should not happen


@dataclass(frozen=True, kw_only=True)
class InboxResult:
    """What a run did with one inbox."""

    name: str
    summary: Summary | None  # None: it failed
    problem: str | None = None
    exit_code: int = 0


@dataclass(kw_only=True)
class GatherResult:
    """What a run did with all inboxes; the figures are those of all together."""

    target: str  # which database, for people
    inboxes: list[InboxResult] = field(default_factory=list)
    read: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    purged_unread: int = 0
    seconds: float = 0.0
    retired: Retired = field(default_factory=Retired)  # afterwards, of whatever was there

    def add(self, done: InboxResult) -> None:
        """Add what was done with one more inbox."""
        self.inboxes.append(done)
        if done.summary is not None:
            self.read += done.summary.read
            self.outcome.add(done.summary.outcome)
            self.purged_unread += done.summary.purged_unread
            self.seconds += done.summary.seconds

    @property
    def position(self) -> int | None:
        """The last notification that the target has taken in, where there is only one inbox."""
        only = self.inboxes[0].summary if len(self.inboxes) == 1 else None
        return only.position if only else None

    @property
    def exit_code(self) -> int:
        """0, or that of the inbox which needs a person most."""
        return worst(done.exit_code for done in self.inboxes)


def worst(codes: Iterable[int]) -> int:
    """Return the exit code for several: a defect before what needs a person, and that before what will pass."""
    found = set(codes) - {0}
    if not found:
        return 0
    if DEFECT in found:
        return DEFECT
    return max(found - {TemporaryError.exit_code}, default=TemporaryError.exit_code)


def _gather_each(
    configuration: Configuration,
    target: Target,
    *,
    opt_out_words: opt_outs.Words,
    erased: Erased | None,
    limit: int | None,
    dry_run: bool,
    progress: Callable[[int, int], None],
) -> GatherResult:
    """Gather one inbox after the other into `target`, at most `limit` notifications altogether.

    Raises:
        GathererError: the only inbox there is failed. Of several, each has its failure in its `problem`.

    """
    whole = GatherResult(target=target.name)
    for name in configuration.named_inboxes:
        left = None if limit is None else limit - whole.read
        if left == 0:
            break
        opened = False
        try:
            with open_inbox(configuration, name) as inbox:
                opened = True
                summary = gather_inbox(
                    inbox,
                    target,
                    opt_out_words=opt_out_words,
                    erased=erased,
                    limit=left,
                    dry_run=dry_run,
                    progress=progress,
                )
            whole.add(InboxResult(name=name, summary=summary))
        except GathererError as error:
            if not configuration.has_several_inboxes:
                raise
            log.error("inbox %s: %s", name, error)
            whole.add(InboxResult(name=name, summary=None, problem=str(error), exit_code=error.exit_code))
        except Exception as error:
            if not configuration.has_several_inboxes:
                raise
            log.exception("inbox %s", name)
            problem = f"a defect in gatherer, {type(error).__name__}: {error}"
            whole.add(InboxResult(name=name, summary=None, problem=problem, exit_code=DEFECT))
        if whole.inboxes[-1].problem is not None and not opened and not dry_run:
            _write_down(target, whole.inboxes[-1])
    return whole


def _write_down(target: Target, failed: InboxResult) -> None:
    """Write down a run that did not even come to its inbox."""
    now = timestamps.now()
    run = Run(
        started_at=now,
        finished_at=now,
        host=socket.gethostname(),
        version=__version__,
        inbox_id="",
        read=0,
        inserted=0,
        filled=0,
        duplicates=0,
        rejected=0,
        exit_code=failed.exit_code,
        problem=f"inbox {failed.name}: {failed.problem}",
    )
    try:
        target.record_run(run)
    except GathererError as error:
        log.warning("the run could not be written down: %s", error)


LONGEST_RUN: Final = timedelta(hours=1)  # a run that holds the lock for longer deserves an alarm


def gather_inboxes(
    configuration: Configuration,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GatherResult | str:
    """Gather all inboxes, then retire what is too old; or return which process is doing so already.

    Raises:
        TemporaryError: the other run has been in progress for longer than an hour.
        GathererError: as `gather_inbox` does, unless there are several inboxes: see `_gather_each`.

    """
    words = opt_out_words(configuration)
    try:
        with turn(configuration):
            if not configuration.has_several_inboxes:  # no target is made for an inbox that is not there
                with open_inbox(configuration):
                    pass
            with open_target(configuration, dry_run=dry_run) as target:
                done = _gather_each(
                    configuration,
                    target,
                    opt_out_words=words,
                    erased=erased_people(configuration, target, dry_run=dry_run),
                    limit=limit,
                    dry_run=dry_run,
                    progress=progress,
                )
                erased_people(configuration, target, dry_run=dry_run)  # also those of the meantime
                done.retired = retire(configuration.target, target)
                return done
    except lock.LockHeldError as held:
        if held.since is not None and timestamps.now() - held.since > LONGEST_RUN:
            raise TemporaryError(f"a run has been in progress for more than an hour: {held.holder}") from None
        return held.holder


def retire(settings: config.Target, target: Target) -> Retired:
    """Blank and delete in `target` what `[target] keep_days` says; a target that is only tried counts it.

    Raises:
        GathererError: that cannot be done, or not just now; what was gathered is there all the same.

    """
    now, days = timestamps.now(), settings.keep_days
    text_before, rows_before = (
        now - timedelta(days=limit) if limit is not None else None for limit in (days.text, days.rows)
    )
    return target.retire(text_before=text_before, rows_before=rows_before)
