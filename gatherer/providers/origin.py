"""Where elements come from: what the records of one body, or of one part of it, have in common."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from gatherer import timestamps
from gatherer.notification import Notification
from gatherer.phones import e164
from gatherer.providers.base import BadElement, Decoded, reject
from gatherer.providers.elements import as_json, mapping, text
from gatherer.records import WHATSAPP, Kind, OtherEvent, Reason, Record, Rejected, Response, TimeSource, make_key

R = TypeVar("R", bound=Record)
Contact: TypeAlias = dict[str, Any]


class Origin:
    """The notification, account and number that a group of elements belongs to.

    Set the attributes first, then make records: the first response fixes what all responses share.
    """

    __slots__ = (
        "_shared",
        "account_id",
        "business_phone",
        "contacts",
        "entry_at",
        "is_test",
        "notification",
        "phone_number_id",
        "provider",
    )

    def __init__(
        self,
        notification: Notification,
        provider: str,
        account_id: str | None = None,
        entry_at: datetime | None = None,
    ) -> None:
        self.notification = notification
        self.provider = provider
        self.account_id = account_id
        self.entry_at = entry_at  # when the provider says it sent the notification
        self.phone_number_id: str | None = None
        self.business_phone: str | None = None
        self.contacts: dict[str, Contact] = {}  # by phone digits and by user id
        self.is_test = False
        self._shared: Response | None = None

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

    def response(self, key: bytes, kind: Kind, claimed: object, **columns: Any) -> Response:
        """Return the response `kind` that happened at `claimed`, with its own `columns`."""
        shared = self._shared or self._share()
        occurred_at, source = self.when(claimed)
        return replace(
            shared, key=key, occurred_at=occurred_at, occurred_at_source=source, kind=kind, **columns
        )

    def record(self, table: type[R], key: bytes, claimed: object, **columns: Any) -> R:
        """Return a record of any other `table` that happened at `claimed`, with its own `columns`."""
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
        if isinstance(problem, BadElement):
            return reject(self.notification, self.provider, path, str(problem), problem.reason_class)
        if isinstance(problem, RecursionError):
            return reject(self.notification, self.provider, path, "it is nested too deeply")
        reason = f"the decoder failed: {type(problem).__name__}"
        return reject(self.notification, self.provider, path, reason, Reason.DECODER)

    def _share(self) -> Response:
        """Return what every response of this origin starts as, before its own columns replace the rest.

        Copying it is several times cheaper than naming all columns for each of a thousand receipts.
        """
        notification = self.notification
        self._shared = Response(
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
        return self._shared


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


def other(
    origin: Origin,
    element: Any,
    family: str,
    name: str | None,
    identity: str | None = None,
    id_space: str = WHATSAPP,
    **columns: Any,
) -> OtherEvent:
    """Return `element` whole, for what is real but not modelled.

    Args:
        origin: where it comes from.
        element: the JSON value; it becomes the details.
        family: where it stood: messages, statuses, calls, …
        name: its own word for what it is.
        identity: what makes it this fact and no other; its whole content where nothing better is known.
        id_space: who gave out the ids in `identity`.
        columns: `message_id`, `phone`, `user_id`, where WhatsApp's usual keys are not right.

    """
    details = as_json(element)
    fields = mapping(element)
    if "message_id" not in columns:
        columns["message_id"] = text(fields.get("id"))
    if "phone" not in columns:
        columns["phone"] = e164(text(fields.get("from") or fields.get("recipient_id")))
    if "user_id" not in columns:
        columns["user_id"] = text(fields.get("from_user_id") or fields.get("recipient_user_id"))
    key = make_key(id_space, f"other:{family}", identity or details)
    return origin.record(
        OtherEvent, key, fields.get("timestamp"), family=family, name=name, details=details, **columns
    )
