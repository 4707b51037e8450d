"""`gatherer replay`: decode and apply chosen notifications again, for manual recovery."""

from collections.abc import Callable
from contextlib import nullcontext

from gatherer import providers
from gatherer.app.gather import retire
from gatherer.app.resources import open_inbox, open_target, opt_out_words
from gatherer.app.run_lock import alone
from gatherer.app.suppression import erased_people
from gatherer.config import Configuration
from gatherer.inbox.base import Selection
from gatherer.model.errors import ConfigurationError
from gatherer.pipeline.replay import Summary, replay_notifications


def replay(
    configuration: Configuration,
    selection: Selection | None,
    *,
    inbox_name: str | None = None,
    provider: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> Summary:
    """Decode and apply chosen notifications again, then retire what is too old. See `replay_notifications`.

    `inbox_name` says which inbox to read where there are several.

    Raises:
        TemporaryError: a run is in progress.
        GathererError: as `replay_notifications` does.

    """
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
            summary = replay_notifications(
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
