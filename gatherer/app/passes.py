"""A pass and a replay, from the configuration to their summaries."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from gatherer import locks, providers, timestamps
from gatherer.app.burying import erased_people
from gatherer.app.opening import open_inbox, open_target, opt_out_words
from gatherer.app.retiring import retire
from gatherer.app.turns import alone, turn
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError, TemporaryError

if TYPE_CHECKING:
    from gatherer import replay
    from gatherer.app.several import Pass
    from gatherer.inbox.base import Selection

LONGEST_PASS: Final = timedelta(hours=1)  # a pass that holds the lock for longer deserves an alarm


def gather_once(
    configuration: Configuration,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> "Pass | str":
    """Run one pass over all inboxes, then retire what is too old; or return who is running a pass already.

    Raises:
        TemporaryError: the other pass has been running for longer than an hour.
        GathererError: as `gather.gather` does, unless there are several inboxes: see `gather_all`.

    """
    from gatherer.app.several import gather_all

    words = opt_out_words(configuration)
    try:
        with turn(configuration):
            if not configuration.has_several_inboxes:  # no target is made for an inbox that is not there
                with open_inbox(configuration):
                    pass
            with open_target(configuration, dry_run=dry_run) as target:
                done = gather_all(
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
    except locks.Held as held:
        if held.since is not None and timestamps.now() - held.since > LONGEST_PASS:
            raise TemporaryError(f"a pass has been running for more than an hour: {held.holder}") from None
        return held.holder


def replay_once(
    configuration: Configuration,
    selection: "Selection | None",
    *,
    inbox_name: str | None = None,
    provider: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> "replay.Summary":
    """Decode and apply chosen notifications again, then retire what is too old. See `replay.replay`.

    `inbox_name` says which inbox to read where there are several.

    Raises:
        TemporaryError: a pass is running.
        GathererError: as `replay.replay` does.

    """
    from gatherer.replay import replay

    if provider is not None:
        providers.get(provider)
    inboxes = configuration.named_inboxes
    if inbox_name is None and len(inboxes) > 1 and (selection is not None or rebuild):
        raise ConfigurationError(f"there are several inboxes; choose one with --inbox: {', '.join(inboxes)}")
    words = opt_out_words(configuration)
    exclusively = nullcontext() if dry_run else alone(configuration)
    with exclusively, open_target(configuration, dry_run=dry_run) as target:
        erased = erased_people(configuration, target, dry_run=dry_run)
        from_the_target = selection is None and not rebuild
        with nullcontext() if from_the_target else open_inbox(configuration, inbox_name) as inbox:
            summary = replay(
                inbox,
                target,
                selection,
                opt_out_words=words,
                erased=erased,
                provider=provider,
                rebuild=rebuild,
                progress=progress,
            )
        summary.retired = retire(configuration.target, target)
    return summary
