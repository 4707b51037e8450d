"""Where elements come from: what the records of one body, or of one part of it, have in common."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

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
from gatherer.providers.elements import as_json, mapping, person_ids, text
from gatherer.providers.paths import Path
from gatherer.providers.whatsapp.contacts import NO_CONTACT, NO_CONTACTS, ONLY, Contact, Contacts

R = TypeVar("R", bound=Record)
MAX_AHEAD: Final = timedelta(days=1)  # of the receipt: the clocks of provider and server differ by less
RAW_TIME: Final = "occurred_at_raw"  # in the details of a response


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
    contact: Contact = NO_CONTACT  # the one that the decoder of the present element has found
    raw_time: object = None  # what the present element claims as its time, if that is no time or not trusted
    _blank: Response | None = None

    def when(self, claimed: object) -> tuple[datetime, TimeSource]:
        """Return the best time there is for an element that claims `claimed`, and who says so.

        A time of more than :data:`MAX_AHEAD` after the receipt is not trusted: it would count as the latest for years.
        """
        moment, received_at = timestamps.parse(claimed), self.notification.received_at
        if moment is not None and (moment <= received_at or moment - received_at <= MAX_AHEAD):
            return moment, "element"
        if claimed not in (None, ""):
            self.raw_time = claimed
        if self.entry_at is not None and self.entry_at - received_at <= MAX_AHEAD:
            return self.entry_at, "entry"
        return received_at, "receipt"

    def with_raw_time(self, record: Record) -> Record:
        """Return `record` with the time that its element claims in the details, if the record has another one."""
        claimed, self.raw_time = self.raw_time, None
        if claimed is None or type(record) is not Response:  # the details of events are the whole element
            return record
        details = _details(record)
        if details is None:  # a mapping of the configuration made them something other than an object
            details = {"details": record.details}
        return replace(record, details=as_json(details | {RAW_TIME: claimed}))

    def notice_time(self) -> str:
        """Return the entry's time, which belongs to the identity of a notice: a redelivery repeats it.

        Empty where there is none. Then the content alone is the identity: a time of ours would make a second fact of
        a redelivery.
        """
        return "" if self.entry_at is None else timestamps.iso(self.entry_at)

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

    def find_contact(self, phone: str | None, user_id: str | None) -> Contact:
        """Return the contact with that phone or user id, or :data:`NO_CONTACT`. Its path becomes one of the record's."""
        contacts = self.contacts
        self.contact = contact = (
            contacts.get(phone or ONLY) or contacts.get(user_id or ONLY) or NO_CONTACT
            if contacts
            else NO_CONTACT
        )
        return contact

    def find_sender(self, phone: str | None, user_id: str | None) -> Contact:
        """Return the contact who sent a message; where none fits, the one of :func:`with_only_contact`.

        Its path becomes one of the record's.
        """
        contact = self.find_contact(phone, user_id)
        if contact is NO_CONTACT:
            only = self.contacts.get(ONLY, NO_CONTACT)
            if None in (user_id, only.user_id):  # two user ids that differ are two people
                self.contact = contact = only
        return contact

    def rejected(self, path: Path, problem: Exception) -> Rejected:
        """Return the rejection of the element at `path`, whose decoding ended with `problem`."""
        if isinstance(problem, ElementError):
            return reject(self.notification, self.provider, path, str(problem), problem.reason_class)
        if isinstance(problem, RecursionError):
            return reject(self.notification, self.provider, path, "it is nested too deeply")
        reason = f"the decoder failed: {type(problem).__name__}"
        return reject(self.notification, self.provider, path, reason, Reason.DECODER)


def states_time_ahead(record: Record) -> bool:
    """Return whether the element of `record`, a response, states a time that is too far ahead of the receipt."""
    if type(record) is not Response or record.details is None or RAW_TIME not in record.details:
        return False
    return timestamps.parse((_details(record) or {}).get(RAW_TIME)) is not None


def _details(record: Response) -> dict[str, Any] | None:
    """Return the details of `record`: an empty object without any, None if they are no object."""
    try:
        details = msgspec.json.decode(record.details or "{}")
    except msgspec.DecodeError:
        return None
    return details if isinstance(details, dict) else None


DecodeElement: TypeAlias = Callable[[Origin, Any], Record]


def items_with_paths(value: object, path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the elements of `value`, which stands at `path`, each after its own path.

    A list has its items; anything else is the one element itself.
    """
    if type(value) is list:
        for i, item in enumerate(value):
            yield path + (i,), item
    else:
        yield path, value


def decode_each(
    origin: Origin, elements: object, decode: DecodeElement, path: Path, decoded: Decoded
) -> None:
    """Add each of `elements`, which stand at `path`, to `decoded`: as a record or as a rejection.

    `elements` is a list; None has no elements, and any other value is the only one.
    """
    if type(elements) is not list:
        if elements is not None:
            decode_one(origin, elements, decode, path, decoded)
        return
    decoded.reserve(len(elements))
    contacts: list[Path | None] = []
    for i, element in enumerate(elements):
        origin.contact = NO_CONTACT
        try:
            record = decode(origin, element)
            decoded.append(record if origin.raw_time is None else origin.with_raw_time(record))
        except Exception as problem:  # noqa: BLE001 - one bad element must not cost its siblings
            origin.raw_time = None
            decoded.append(origin.rejected(path + (i,), problem))
            contacts.append(None)
        else:
            contacts.append(origin.contact.path)
    decoded.places.append((path, contacts))


def decode_one(origin: Origin, element: Any, decode: DecodeElement, path: Path, decoded: Decoded) -> None:
    """Add `element`, which stands at `path`, to `decoded`: as a record or as a rejection."""
    decoded.reserve(1)
    origin.contact = NO_CONTACT
    try:
        decoded.append(origin.with_raw_time(decode(origin, element)))
    except Exception as problem:  # noqa: BLE001 - one bad element must not cost its siblings
        origin.raw_time = None
        decoded.append(origin.rejected(path, problem))
        decoded.places.append((path, ()))
    else:
        contact = origin.contact.path
        decoded.places.append((path, () if contact is None else (contact,)))


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
    if "message_id" not in columns:
        columns["message_id"] = text(get("id"))
    if "phone" not in columns or "user_id" not in columns:
        raw, user_id = person_ids(
            text(get("from")) or text(get("recipient_id")),
            text(get("from_user_id")) or text(get("recipient_user_id")),
        )
        columns = {"phone": e164(raw), "user_id": user_id} | columns
    return origin.record(
        OtherEvent,
        make_key(id_space, f"other:{family}", identity or details),
        at or get("timestamp"),
        family=family,
        name=name,
        details=details,
        **columns,
    )
