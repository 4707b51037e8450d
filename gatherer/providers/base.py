"""The contract of a provider: from the bytes of one notification to records, without side effects."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Reason, Record, Rejected

Decoded = list[Record | Rejected]


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One service whose webhooks we understand.

    `decode` is pure: it depends on the notification alone, raises nothing, and turns every element of
    the body into exactly one record, one other event, or one rejection, in the order of the body.
    """

    name: str  # lower case; the same word in configuration, tables, module and tests
    title: str  # as people write it
    decode: Callable[[Notification], Decoded]
    reports: frozenset[str]  # response kinds and event families it can produce
    authentication: str  # how its posts prove where they come from
    on_refusal: str  # what it does when we do not answer 200
    retries: str  # for how long, how often
    documentation: str  # the module's docstring: set-up, mapping, quirks


class ElementError(Exception):
    """An element that cannot become a record. Its siblings can."""

    def __init__(self, reason: str, reason_class: Reason = Reason.ELEMENT) -> None:
        super().__init__(reason)
        self.reason_class = reason_class


def reject(
    notification: Notification, provider: str, path: str, reason: str, reason_class: Reason = Reason.ELEMENT
) -> Rejected:
    """Return the rejection of what stands at the JSON `path` in `notification`, for one-sentence `reason`."""
    body = body_key(notification.body)
    identity = f"{provider}\x1f{path}\x1f{reason_class}\x1f".encode() + body
    return Rejected(
        key=hashlib.sha256(identity).digest()[:16],
        provider=provider,
        endpoint=notification.endpoint,
        inbox_id=notification.inbox_id,
        notification_id=notification.id,
        received_at=notification.received_at,
        path=path,
        reason_class=reason_class,
        reason=reason,
        body_key=body,
        body=notification.body,
        content_type=notification.content_type,
    )
