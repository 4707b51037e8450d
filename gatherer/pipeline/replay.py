"""Manual recovery: decode and apply chosen notifications again. The position stays where it is."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from gatherer import providers
from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.model import opt_outs
from gatherer.model.errors import TemporaryError
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erased import Erased
from gatherer.providers.base import Decode
from gatherer.targets.base import Batch, Contributor, Outcome, RetentionResult, Target

BOUNDS: Final = Bounds()

NotificationId = tuple[str, int]  # the identity of an inbox, and the id there


@dataclasses.dataclass(kw_only=True)
class ReplaySummary:
    """What a replay did."""

    read: int = 0  # notifications
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    seconds: float = 0.0
    # Rows that a rebuild did not remove, because a notification that contributed to them is purged or out of reach
    merged: int = 0
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
    other_inboxes: Iterable[Inbox] = (),
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
        rebuild: in the same transaction, first remove the rows to which the chosen notifications contributed, and
            make them anew from all notifications that did: for wrong rows after a defect of a decoder.
        other_inboxes: where a rebuild finds what other inboxes contributed.
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
        replay.rebuild(other_inboxes)
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
        make_batch: Callable[..., Batch],
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

    def rebuild(self, other_inboxes: Iterable[Inbox]) -> None:
        """Remove the rows to which the chosen notifications contributed, and make them anew, in one transaction.

        They are made of all notifications that contributed to them, also of other inboxes. A row stays, and is only
        merged with what the chosen notifications tell, if one of them is purged, erased or out of reach.
        """
        target = self._target
        inboxes = {inbox.identity: inbox for inbox in (self._inbox, *other_inboxes) if inbox is not None}
        # An erased notification gives no rows any more. Rows that it gave about other people are in the target alone.
        ids = {
            (notification.inbox_id, notification.id)
            for batch in self._chosen()
            for notification in batch
            if not notification.is_erased
        }
        # The same holds for parts of a redacted notification: rows of which it no longer has the facts are kept. The
        # bytes that the target keeps with a rejection do not tell whether the notification was redacted.
        stored = self._chosen() if self._selection is not None else _read(inboxes, ids)
        redacted_ids = ids & _redacted_ids(stored)
        kept_keys = set[bytes]()
        if redacted_ids:
            kept_keys = target.keys_from(redacted_ids) - self._decoded_keys(
                self._chosen(), redacted_ids, self._provider
            )
        others = target.other_contributors(ids)
        kept_keys |= self._incomplete_keys(others, inboxes)
        batches = self._decoded_batches()
        if self._selection is None:
            # The rejections in the target are removed by the rebuild: read and decode them before it.
            batches = iter(list(batches))
        remaining = [contributor for contributor in others if contributor.key not in kept_keys]
        with_others = self._add_others(batches, remaining, inboxes)
        self.summary.outcome = target.rebuild(ids, with_others, kept_keys)
        self.summary.outcome.erased = self._erased_facts
        self.summary.merged = len(kept_keys)

    def _chosen(self) -> Iterator[list[Notification]]:
        """Yield the chosen notifications in batches."""
        if self._selection is None:
            batches = self._target.rejected_notifications()
        else:
            assert self._inbox is not None, "a selection needs an inbox to select from"  # noqa: S101
            batches = self._inbox.select(self._selection, BOUNDS)
        yield from batches

    def _decoded_batches(self) -> Iterator[Batch]:
        """Decode the chosen notifications; count each batch when the next one is asked for."""
        for notifications in self._chosen():
            for batch in self._decode(notifications, self._open_rejections, self._provider):
                yield batch
                self._erased_facts += batch.erased
                self.summary.read += batch.read
                self._progress(self.summary.read)

    def _decode(
        self,
        notifications: list[Notification],
        open_rejections: AbstractSet[bytes],
        provider: str | None = None,
    ) -> Iterator[Batch]:
        """Yield the batches that `notifications` decode to: one, unless they hold very many facts."""
        while notifications:
            batch = self._make_batch(notifications, open_rejections, provider=provider)
            yield batch
            notifications = notifications[batch.read :]

    def _decoded_keys(
        self, batches: Iterable[list[Notification]], ids: AbstractSet[NotificationId], provider: str | None
    ) -> set[bytes]:
        """Return the keys of the records that the notifications in `batches` with these `ids` decode to."""
        keys: set[bytes] = set()
        for batch in batches:
            notifications = [
                notification for notification in batch if (notification.inbox_id, notification.id) in ids
            ]
            for decoded in self._decode(notifications, frozenset(), provider):
                keys.update(record.key for record in (*decoded.records, *decoded.pairs))
        return keys

    def _incomplete_keys(
        self, contributors: Iterable[Contributor], inboxes: Mapping[str, Inbox]
    ) -> set[bytes]:
        """Return the keys of the rows of which one of the `contributors` is purged, erased, or in none of `inboxes`.

        Also of those that a contributor no longer tells of, because it was redacted.
        """
        keys_by_id: dict[NotificationId, set[bytes]] = {}
        for key, inbox_id, number in contributors:
            keys_by_id.setdefault((inbox_id, number), set()).add(key)
        missing = set(keys_by_id)
        redacted: list[Notification] = []
        for batch in _read(inboxes, keys_by_id):
            for notification in batch:
                if notification.is_erased:
                    continue
                missing.discard((notification.inbox_id, notification.id))
                if notification.received_digest is not None:
                    redacted.append(notification)
        incomplete = {key for id_ in missing for key in keys_by_id[id_]}
        for notification in redacted:
            id_ = (notification.inbox_id, notification.id)
            incomplete |= keys_by_id[id_] - self._decoded_keys([[notification]], {id_}, None)
        return incomplete

    def _add_others(
        self, batches: Iterator[Batch], others: Sequence[Contributor], inboxes: Mapping[str, Inbox]
    ) -> Iterator[Batch]:
        """Yield `batches`, then what the `others` that contributed to the removed rows tell of these rows.

        Raises:
            TemporaryError: one of them was purged meanwhile.

        """
        yield from batches
        keys = {contributor.key for contributor in others}
        missing = {(contributor.inbox_id, contributor.notification_id) for contributor in others}
        for notifications in _read(inboxes, set(missing)):
            missing.difference_update(
                (notification.inbox_id, notification.id) for notification in notifications
            )
            for batch in self._decode(notifications, frozenset()):
                yield dataclasses.replace(
                    batch,
                    records=[record for record in batch.records if record.key in keys],
                    folded=0,
                    pairs=[pair for pair in batch.pairs if pair.key in keys],
                    rejected=[rejection for rejection in batch.rejected if rejection.key in keys],
                    contributors={
                        table: [contributor for contributor in contributors if contributor.key in keys]
                        for table, contributors in batch.contributors.items()
                    },
                )
        if missing:
            raise TemporaryError(
                f"{len(missing)} notifications were purged during the rebuild; nothing was changed, repeat it"
            )


def _read(inboxes: Mapping[str, Inbox], ids: Iterable[NotificationId]) -> Iterator[list[Notification]]:
    """Yield those of the notifications with these `ids` that are in one of `inboxes`, which are by identity."""
    ids_by_inbox: dict[str, set[int]] = {}
    for inbox_id, number in ids:
        ids_by_inbox.setdefault(inbox_id, set()).add(number)
    for inbox_id, numbers in ids_by_inbox.items():
        if inbox_id in inboxes:
            yield from inboxes[inbox_id].select(Selection(ids=frozenset(numbers)), BOUNDS)


def _redacted_ids(batches: Iterable[list[Notification]]) -> set[NotificationId]:
    """Return which notifications lost a person by an erasure, and still hold facts about other people."""
    return {
        (notification.inbox_id, notification.id)
        for batch in batches
        for notification in batch
        if notification.received_digest is not None and not notification.is_erased
    }
