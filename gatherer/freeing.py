"""Freeing a notification of a person, in such a way that nobody else loses anything."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gatherer import separating
from gatherer.erasure import Person
from gatherer.notification import Notification
from gatherer.records import Record
from gatherer.separating import Knows, Mention, Path
from gatherer.targets.base import Batch

Decode = Callable[[Sequence[Notification]], Batch]  # as a pass would
_NAMES: Final = ("phone", "phone_raw", "user_id")


class Held(NamedTuple):
    """A notification that says something about a person."""

    notification: Notification
    rest: bytes  # its body without that; empty if nothing is left
    theirs: list[Any]  # what it says, as plain values
    entangled: list[Record]  # facts about others that could not be told apart from that, and go with it


def hold(notification: Notification, person: Person, decode: Decode) -> Held | None:
    """Return what `notification` says about `person`; None if it says nothing.

    An element that is about the person goes. In one that is about somebody else, who shares a contact or quotes them,
    only their number or user id does.
    """
    body = notification.body
    found = separating.mentions(separating.load(body), person.knows)
    if not found:
        return None
    facts = decode([notification]).records
    others = {record.key: record for record in facts if not is_about(columns(record), person)}
    own = {key for key, record in others.items() if not _is_mentioned(record, person.knows)}
    elements, places = {one.element for one in found}, set[Path]()
    if _lost(own, free(notification, elements), decode):
        elements = {one for one in elements if not _lost(own, free(notification, {one}), decode)}
        places = {one.place for one in found if one.element not in elements and _names(one, person)}
    if not (elements or places):
        return None  # nothing but ids of messages that are somebody else's as well
    rest = free(notification, elements, places).body
    left = decode([notification._replace(body=rest)]).records if rest else []
    if any(record.key not in others or is_about(columns(record), person) for record in left):
        rest, left = b"", []  # without the person it says something that it did not say: so nothing is left
    kept = {record.key for record in left}
    shared = {key: record for key in others.keys() - own if (record := _freed(others[key], person.knows))}
    return Held(
        notification,
        rest,
        [separating.at(separating.load(body), element) for element in sorted(elements, key=str)],
        [(others | shared)[key] for key in (own | shared.keys()) - kept],
    )


def free(
    notification: Notification,
    elements: Collection[Path],
    places: Collection[Path] = (),
) -> Notification:
    """Return `notification` without `elements` of its body, and without what stands at `places` of the rest."""
    rest = separating.without(separating.load(notification.body), elements, places)
    return notification._replace(body=b"" if rest is None else separating.dump(rest))


def freed_details(details: str | None, knows: Knows) -> str | None:
    """Return JSON `details` without the elements in which `knows` knows somebody; None if nothing is left."""
    if details is None:
        return None
    value = separating.load(details.encode("utf-8", "surrogatepass"))
    found = separating.mentions(value, knows)
    if not found:
        return details
    rest = separating.without(value, {one.element for one in found})
    return separating.dump(rest).decode("utf-8", "replace") if rest is not None else None


def columns(record: Record) -> dict[str, Any]:
    """Return `record` as a row has it."""
    return msgspec.structs.asdict(record)


def is_about(values: Mapping[str, Any], person: Person) -> bool:
    """Tell whether a record or row, given by its columns, is about `person`.

    Where it names nobody it may still be about one of their messages, or have nothing but them in its details.
    """
    if names_somebody(values):
        named = (values.get(name) for name in _NAMES)
        return any(one is not None and person.knows(one) for one in named)
    if values.get("group_id"):
        return False
    messages = (values.get("message_id"), values.get("about_message_id"))
    if any(one in person.message_ids for one in messages):
        return True
    details = values.get("details")
    return bool(details) and freed_details(details, person.knows) is None


def names_somebody(values: Mapping[str, Any]) -> bool:
    """Tell whether a record or row, given by its columns, says who it is about."""
    return any(values.get(name) for name in _NAMES)


def _is_mentioned(record: Record, knows: Knows) -> bool:
    """Tell whether `record`, which is about many, says something of somebody whom `knows` knows."""
    details = getattr(record, "details", None)
    if details is None or names_somebody(columns(record)):
        return False
    return bool(freed_details(details, knows) != details)


def _freed(record: Record, knows: Knows) -> Record | None:
    details = freed_details(getattr(record, "details", None), knows)
    return None if details is None else msgspec.structs.replace(record, details=details)


def _lost(keys: set[bytes], notification: Notification, decode: Decode) -> bool:
    left = {record.key for record in decode([notification]).records} if notification.body else set[bytes]()
    return not keys <= left


def _names(mention: Mention, person: Person) -> bool:
    """Tell whether it names the person, and not a message, which is somebody else's as well."""
    return mention.text not in person.message_ids
