"""Where elements come from: what the records of one body, or of one part of it, have in common."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

import msgspec

from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import (
    WHATSAPP,
    Kind,
    OtherEvent,
    Reason,
    Record,
    Rejected,
    Response,
    TimeSource,
    make_key,
)
from gatherer.providers.base import Decoded, ElementError, reject
from gatherer.providers.elements import as_json, mapping, text
from gatherer.providers.whatsapp.contacts import NO_CONTACTS, Contacts

R = TypeVar("R", bound=Record)


class Origin(msgspec.Struct, gc=False):
    """The notification, account and number that a group of elements belongs to.

    Set the fields first, then make records: the first response fixes what all responses share.
    """

    notification: Notification
    provider: str
    account_id: str | None = None
    entry_at: datetime | None = None  # when the provider says it sent the notification
    is_test: bool = False
    phone_number_id: str | None = None
    business_phone: str | None = None
    contacts: Contacts = NO_CONTACTS
    _blank: Response | None = None

    def when(self, claimed: object) -> tuple[datetime, TimeSource]:
        """Return the best time there is for an element that claims `claimed`, and who says so."""
        moment = timestamps.parse(claimed)
        if moment is not None:
            return moment, "element"
        if self.entry_at is not None:
            return self.entry_at, "entry"
        return self.notification.received_at, "receipt"

    def notice_time(self) -> str:
        """Return the time that belongs to the identity of a notice which nothing else identifies.

        The entry's time, because a redelivery repeats it; where there is none, the day of receipt.
        """
        if self.entry_at is not None:
            return timestamps.iso(self.entry_at)
        return self.notification.received_at.date().isoformat()

    def blank(self) -> Response:
        """Return what every response of this origin starts from: all they share, the rest still to fill in.

        `key`, `kind` and the time have to be replaced. Copying one response is several times cheaper than
        naming the shared columns again for each of a thousand receipts.
        """
        if self._blank is None:
            notification = self.notification
            self._blank = Response(
                key=b"",
                provider=self.provider,
                endpoint=notification.endpoint,
                inbox_id=notification.inbox_id,
                notification_id=notification.id,
                received_at=notification.received_at,
                occurred_at=notification.received_at,
                occurred_at_source="receipt",
                account_id=self.account_id,
                is_test=self.is_test,
                kind=Kind.SENT,
                phone_number_id=self.phone_number_id,
                business_phone=self.business_phone,
            )
        return self._blank

    def record(self, table: type[R], key: bytes, claimed: object, **columns: Any) -> R:
        """Return a record of `table` that happened at `claimed`, with its own `columns`."""
        occurred_at, source = self.when(claimed)
        notification = self.notification
        return table(
            key=key,
            provider=self.provider,
            endpoint=notification.endpoint,
            inbox_id=notification.inbox_id,
            notification_id=notification.id,
            received_at=notification.received_at,
            occurred_at=occurred_at,
            occurred_at_source=source,
            account_id=self.account_id,
            is_test=self.is_test,
            **columns,
        )

    def rejected(self, path: str, problem: Exception) -> Rejected:
        """Return the rejection of the element at the JSON `path`, whose decoding ended with `problem`."""
        if isinstance(problem, ElementError):
            return reject(self.notification, self.provider, path, str(problem), problem.reason_class)
        if isinstance(problem, RecursionError):
            return reject(self.notification, self.provider, path, "it is nested too deeply")
        reason = f"the decoder failed: {type(problem).__name__}"
        return reject(self.notification, self.provider, path, reason, Reason.DECODER)


DecodeElement: TypeAlias = Callable[[Origin, Any], Record]


def decode_each(
    origin: Origin, elements: Iterable[Any], decode: DecodeElement, path: str, decoded: Decoded
) -> None:
    """Add each of `elements`, which stand at the JSON `path`, to `decoded`: as a record or as a rejection."""
    for i, element in enumerate(elements):
        try:
            decoded.append(decode(origin, element))
        except Exception as problem:  # noqa: BLE001 - one bad element must not cost its siblings
            decoded.append(origin.rejected(f"{path}[{i}]", problem))


def decode_one(origin: Origin, element: Any, decode: DecodeElement, path: str, decoded: Decoded) -> None:
    """Add `element`, which stands at the JSON `path`, to `decoded`: as a record or as a rejection."""
    try:
        decoded.append(decode(origin, element))
    except Exception as problem:  # noqa: BLE001 - one bad element must not cost its siblings
        decoded.append(origin.rejected(path, problem))


def other(
    origin: Origin,
    element: Any,
    family: str,
    name: str | None,
    identity: str | None = None,
    *,
    id_space: str = WHATSAPP,
    at: object = None,
    **columns: str | None,
) -> OtherEvent:
    """Return `element` whole, for what is real but not modelled.

    Args:
        origin: where it comes from.
        element: the JSON value; it becomes the details.
        family: where it stood: messages, statuses, calls, …
        name: its own word for what it is.
        identity: what makes it this fact and no other; its whole content where nothing better is known.
        id_space: who gave out the ids in `identity`.
        at: when it happened, as the provider writes it; its `timestamp` where nothing is given.
        columns: `message_id`, `phone` and `user_id`, each where WhatsApp's usual key is not the right one.

    """
    details = as_json(element)
    get = mapping(element).get
    usual = {
        "message_id": text(get("id")),
        "phone": e164(text(get("from")) or text(get("recipient_id"))),
        "user_id": text(get("from_user_id")) or text(get("recipient_user_id")),
    }
    return origin.record(
        OtherEvent,
        make_key(id_space, f"other:{family}", identity or details),
        at or get("timestamp"),
        family=family,
        name=name,
        details=details,
        **(usual | columns),
    )
