"""`gatherer replay`: decode and apply chosen notifications again, for manual recovery."""

import logging
from collections.abc import Callable
from contextlib import ExitStack, nullcontext

from gatherer import providers
from gatherer.app.gather import apply_retention
from gatherer.app.resources import (
    check_endpoint,
    notification_decoder,
    open_inbox,
    open_target,
    opt_out_words,
)
from gatherer.app.run_lock import require_run_lock
from gatherer.app.suppression import sync_suppression_list
from gatherer.config import Configuration
from gatherer.inbox.base import Inbox, Selection
from gatherer.model.errors import ConfigurationError, GathererError
from gatherer.pipeline.replay import ReplaySummary, replay_notifications

log = logging.getLogger(__name__)


def replay(
    configuration: Configuration,
    selection: Selection | None,
    *,
    inbox_name: str | None = None,
    provider: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> ReplaySummary:
    """Decode and apply chosen notifications again, then apply `[target] keep_days`.

    Args:
        configuration: loaded with the secrets of inboxes, target and privacy.
        selection: which notifications; None: those with open rejections, from the bytes in the target.
        inbox_name: which inbox to read; needed where there are several.
        provider: decode with this provider instead of the stored one.
        rebuild: first remove the rows to which these notifications contributed, and make them anew from all
            notifications that did.
        dry_run: count what would change, and roll back.
        progress: called after every batch with how many notifications are done.

    Raises:
        ConfigurationError: there is no such provider, inbox or endpoint, or the inbox was not chosen.
        TemporaryError: as `replay_notifications`, or a run is in progress.
        GathererError: as `replay_notifications`.

    """
    if provider is not None:
        providers.get(provider)
    inboxes = configuration.named_inboxes
    needs_inbox = selection is not None or rebuild
    if needs_inbox and inbox_name is None and len(inboxes) > 1:
        raise ConfigurationError(f"there are several inboxes; choose one with --inbox: {', '.join(inboxes)}")
    decode, words = notification_decoder(configuration), opt_out_words(configuration)
    run_lock = nullcontext() if dry_run else require_run_lock(configuration)
    with run_lock, open_target(configuration, dry_run=dry_run) as target:
        erased = sync_suppression_list(configuration, target, dry_run=dry_run)
        with ExitStack() as stack:
            inbox = stack.enter_context(open_inbox(configuration, inbox_name)) if needs_inbox else None
            if inbox is not None and selection is not None:
                check_endpoint(configuration, inbox, selection.endpoint)
            others = _open_other_inboxes(configuration, inbox, stack) if inbox and rebuild else []
            summary = replay_notifications(
                inbox,
                target,
                selection,
                decode=decode,
                opt_out_words=words,
                erased=erased,
                provider=provider,
                rebuild=rebuild,
                other_inboxes=others,
                progress=progress,
            )
        summary.retention = apply_retention(configuration.target, target)
    return summary


def _open_other_inboxes(configuration: Configuration, inbox: Inbox, stack: ExitStack) -> list[Inbox]:
    """Return all configured inboxes but `inbox`, open until `stack` ends. Of those out of reach, log a warning."""
    others = []
    for name in configuration.named_inboxes:
        try:
            other = stack.enter_context(open_inbox(configuration, name))
        except GathererError as error:
            log.warning("rows to which the inbox %s contributed are not removed: %s", name, error)
        else:
            if other.identity != inbox.identity:
                others.append(other)
    return others
