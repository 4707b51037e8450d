"""Manual recovery: decode and apply chosen notifications again. The position stays where it is."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from gatherer import providers
from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.model import opt_outs
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erased import Erased
from gatherer.providers.base import Decode
from gatherer.targets.base import Batch, Outcome, RetentionResult, Target

BOUNDS: Final = Bounds()
EVERYTHING: Final = Selection()

NotificationId = tuple[str, int]  # the identity of an inbox, and the id there


@dataclasses.dataclass(kw_only=True)
class ReplaySummary:
    """What a replay did."""

    read: int = 0  # notifications
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    seconds: float = 0.0
    # What `keep_days` removed at the end
    retention: RetentionResult = dataclasses.field(default_factory=RetentionResult)


def replay_notifications(
    inbox: Inbox | None,
    target: Target,
    selection: Selection | None,
    *,
    decode: Decode = providers.decode,
    opt_out_words: opt_outs.Words = opt_outs.default_words,
    erased: Erased | None = None,
    provider: str | None = None,
    rebuild: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> ReplaySummary:
    """Decode and apply again what `selection` chooses from `inbox`.

    Args:
        inbox: where to read; may be None for rejected notifications without `rebuild`.
        target: where to apply.
        selection: which notifications; None: those with open rejections, from the bytes in the target.
        decode: decodes one notification, as the configuration of its endpoint says.
        opt_out_words: the opt-out keywords of each endpoint.
        erased: the people who were erased; facts about them are left out.
        provider: decode with this provider instead of the one stored with each notification.
        rebuild: in the same transaction, first remove the rows that came only from the chosen notifications:
            for wrong rows after a defect of a decoder.
        progress: called after every batch with how many notifications are done.

    Raises:
        InboxError: the inbox cannot be read.
        TargetError: the target refuses the rows.
        TemporaryError: the inbox or the target is not available at present; nothing is lost.

    """
    clock = time.perf_counter()
    make_batch = partial(decode_batch, decode=decode, opt_out_words=opt_out_words, erased=erased)
    replay = _Replay(inbox, target, selection, make_batch, provider, progress)
    if rebuild:
        replay.rebuild()
    else:
        replay.apply()
    replay.summary.seconds = time.perf_counter() - clock
    return replay.summary


class _Replay:
    """One replay, and what it has done."""

    def __init__(
        self,
        inbox: Inbox | None,
        target: Target,
        selection: Selection | None,
        make_batch: Callable[[Iterable[Notification], AbstractSet[bytes]], Batch],
        provider: str | None,
        progress: Callable[[int], None],
    ) -> None:
        self.summary = ReplaySummary()
        self._inbox = inbox
        self._target = target
        self._selection = selection
        self._make_batch = make_batch
        self._provider = provider
        self._progress = progress
        self._open_rejections = target.open_rejections()
        self._erased_facts = 0

    def apply(self) -> None:
        """Apply the chosen notifications, one transaction for each batch."""
        for batch in self._decoded_batches():
            self.summary.outcome.add(self._target.apply(batch))
        self.summary.outcome.erased = self._erased_facts

    def rebuild(self) -> None:
        """Remove the rows that came from the chosen notifications, and apply those anew, in one transaction."""
        target = self._target
        # An erased notification gives no rows any more. Rows that it gave about other people are in the target alone.
        ids = {
            (notification.inbox_id, notification.id)
            for batch in self._chosen()
            for notification in batch
            if not notification.is_erased
        }
        # The same holds for parts of a redacted notification: rows of which it no longer has the facts are kept.
        redacted_ids = ids & _redacted_ids(self._stored())
        kept_keys = set[bytes]()
        if redacted_ids:
            kept_keys = target.keys_from(redacted_ids) - self._decoded_keys(redacted_ids)
        removed_keys = target.keys_from(ids)
        batches = self._decoded_batches()
        if self._selection is None:
            # The rejections in the target are removed by the rebuild: read and decode them before it.
            batches = iter(list(batches))
        with_others = self._add_other_sources(batches, ids, removed_keys)
        self.summary.outcome = target.rebuild(ids, with_others, kept_keys)
        self.summary.outcome.erased = self._erased_facts

    def _chosen(self) -> Iterator[list[Notification]]:
        """Yield the chosen notifications in batches."""
        if self._selection is None:
            batches = self._target.rejected_notifications()
        else:
            assert self._inbox is not None, "a selection needs an inbox to select from"  # noqa: S101
            batches = self._inbox.select(self._selection, BOUNDS)
        for batch in batches:
            if self._provider is not None:
                batch = [notification._replace(provider=self._provider) for notification in batch]
            yield batch

    def _stored(self) -> Iterator[list[Notification]]:
        """Yield the chosen notifications as the inbox has them, and possibly more.

        The bytes that the target keeps with a rejection do not tell whether the notification in the inbox was redacted.
        """
        if self._selection is None and self._inbox is not None:
            return self._inbox.select(EVERYTHING, BOUNDS)
        return self._chosen()

    def _decoded_batches(self) -> Iterator[Batch]:
        """Decode the chosen notifications; count each batch when the next one is asked for."""
        for notifications in self._chosen():
            for batch in self._decode(notifications, self._open_rejections):
                yield batch
                self._erased_facts += batch.erased
                self.summary.read += batch.read
                self._progress(self.summary.read)

    def _decode(
        self, notifications: list[Notification], open_rejections: AbstractSet[bytes]
    ) -> Iterator[Batch]:
        """Yield the batches that `notifications` decode to: one, unless they hold very many facts."""
        while notifications:
            batch = self._make_batch(notifications, open_rejections)
            yield batch
            notifications = notifications[batch.read :]

    def _decoded_keys(self, ids: set[NotificationId]) -> set[bytes]:
        """Return the keys of the records that the chosen notifications with these `ids` decode to."""
        keys: set[bytes] = set()
        for batch in self._chosen():
            notifications = [
                notification for notification in batch if (notification.inbox_id, notification.id) in ids
            ]
            for decoded in self._decode(notifications, frozenset()):
                keys.update(record.key for record in (*decoded.records, *decoded.pairs))
        return keys

    def _add_other_sources(
        self, batches: Iterator[Batch], chosen_ids: set[NotificationId], removed_keys: set[bytes]
    ) -> Iterator[Batch]:
        """Yield `batches`, then what the other notifications of the inbox hold about the removed rows.

        A row is removed because a chosen notification was the first to bring it. Other notifications may have
        brought it as well: the rebuild must not lose what they say.
        """
        yield from batches
        if self._inbox is None or not removed_keys:
            return
        for notifications in self._inbox.select(EVERYTHING, BOUNDS):
            remaining = [
                notification
                for notification in notifications
                if (notification.inbox_id, notification.id) not in chosen_ids
            ]
            for batch in self._decode(remaining, frozenset()):
                yield dataclasses.replace(
                    batch,
                    records=[record for record in batch.records if record.key in removed_keys],
                    folded=0,
                    pairs=[pair for pair in batch.pairs if pair.key in removed_keys],
                    rejected=[rejection for rejection in batch.rejected if rejection.key in removed_keys],
                )


def _redacted_ids(batches: Iterable[list[Notification]]) -> set[NotificationId]:
    """Return which notifications lost a person by an erasure, and still hold facts about other people."""
    return {
        (notification.inbox_id, notification.id)
        for batch in batches
        for notification in batch
        if notification.received_digest is not None and not notification.is_erased
    }
