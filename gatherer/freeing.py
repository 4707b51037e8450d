"""Freeing notifications, records and rows of a person, in such a way that nobody else loses anything."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from gatherer import separating
from gatherer.erasure import Person
from gatherer.merging import TEXT
from gatherer.notification import Notification
from gatherer.providers.payload import Unreadable, load_json
from gatherer.records import Record
from gatherer.separating import Knows, Path
from gatherer.targets.base import Batch

R = TypeVar("R", bound=Record)
Decode = Callable[[Sequence[Notification]], Batch]  # as a pass would
_NAMES: Final = ("phone", "phone_raw", "user_id")


class Held(NamedTuple):
    """A notification that says something about a person."""

    notification: Notification
    rest: bytes  # its body without that; empty if nothing is left
    theirs: list[Any]  # what it says, as plain values
    entangled: list[Record]  # facts about others that could not be told apart from that, and go with it
    keys: frozenset[bytes]  # of the facts that say it, but for those that one of the person's messages tells


class Freed(NamedTuple):
    """What columns of a record or row become without a person whom they mention."""

    columns: dict[str, str | None]
    theirs: list[Any]  # what they said about the person, as plain values


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
    freed = {key: without(record, person.knows, person.is_named) for key, record in others.items()}
    own = {key for key, record in others.items() if freed[key] == record or names_somebody(columns(record))}
    elements, places = {one.element for one in found}, set[Path]()
    if _lost(own, free(notification, elements), decode):
        elements = {one for one in elements if not _lost(own, free(notification, {one}), decode)}
        places = {one.place for one in found if one.element not in elements and person.is_named(one.text)}
    if not (elements or places):
        return None  # nothing but ids of messages that are somebody else's as well
    rest = free(notification, elements, places).body
    left = decode([notification._replace(body=rest)]).records if rest else []
    if any(record.key not in others or is_about(columns(record), person) for record in left):
        rest, left = b"", []  # without the person it says something that it did not say: so nothing is left
    kept = {record.key for record in left}
    return Held(
        notification,
        rest,
        [separating.at(separating.load(body), element) for element in sorted(elements, key=str)],
        [record for key, record in freed.items() if record is not None and key not in kept],
        frozenset(
            record.key
            for record in facts
            if freed.get(record.key) != record and not is_told_by_message(columns(record), person)
        ),
    )


def free(
    notification: Notification,
    elements: Collection[Path],
    places: Collection[Path] = (),
) -> Notification:
    """Return `notification` without `elements` of its body, and without what stands at `places` of the rest."""
    rest = separating.without(separating.load(notification.body), elements, places)
    return notification._replace(body=b"" if rest is None else separating.dump(rest))


def freed(values: Mapping[str, Any], knows: Knows, names: Knows) -> Freed:
    """Return what a record or row, given by its columns, becomes without people whom it mentions and is not about.

    Args:
        values: the columns.
        knows: tells identifiers of the people, and of their messages, which may be the messages of others as well.
        names: tells identifiers of the people alone.

    """
    result = Freed({}, [])
    is_named = names_somebody(values)
    for name in TEXT:
        text, whole = values.get(name), not is_named and name == "details"  # which may be about many people
        known = knows if whole else names
        if text and separating.mentions(_plain(text), known):
            rest, theirs = (_without_elements if whole else _without_mentions)(text, known)
            result.columns[name] = rest
            result.theirs.extend(theirs)
    return result


def without(record: R, knows: Knows, names: Knows) -> R | None:
    """Return `record`, which is not about them, without people whom it mentions; None if it says nothing then.

    Arguments are those of `freed`.
    """
    values = columns(record)
    changes = freed(values, knows, names).columns
    if not changes:
        return record
    if not names_somebody(values) and changes.get("details", "") is None:
        return None
    return msgspec.structs.replace(record, **changes)


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
    details = values.get("details") or ""
    return bool(details) and _without_elements(details, person.knows)[0] is None


def names_somebody(values: Mapping[str, Any]) -> bool:
    """Tell whether a record or row, given by its columns, says who it is about."""
    return any(values.get(name) for name in _NAMES)


def is_told_by_message(values: Mapping[str, Any], person: Person) -> bool:
    """Tell whether a record or row, given by its columns, is known by one of the messages of `person`."""
    return values.get("message_id") in person.message_ids


def _without_mentions(text: str, names: Knows) -> tuple[str | None, list[Any]]:
    """Return `text`, JSON or not, without those whom `names` knows (None: nothing is left), and what went with them.

    Items of lists go as a whole where that leaves something: the contact that has their number, not the number alone.
    """
    value = _plain(text)
    if isinstance(value, str):
        return None, [text]
    found = separating.mentions(value, names)
    items = {one.element for one in found}
    items = {one for one in items if separating.without(_plain(text), {one}) is not None}
    rest = separating.without(_plain(text), items, {one.place for one in found if one.element not in items})
    if rest is None:  # each of them could go, but not all of them
        items = set()
        rest = separating.without(_plain(text), (), {one.place for one in found})
    theirs = [separating.at(value, item) for item in sorted(items, key=str)]
    return separating.dump(rest).decode("utf-8", "replace") if rest else None, theirs


def _without_elements(text: str, knows: Knows) -> tuple[str | None, list[Any]]:
    """Return JSON `text` without the elements in which `knows` knows somebody (None: all of it), and those elements."""
    elements = {one.element for one in separating.mentions(_plain(text), knows)}
    theirs = [separating.at(_plain(text), element) for element in sorted(elements, key=str)]
    rest = separating.without(_plain(text), elements)
    return None if rest is None else separating.dump(rest).decode("utf-8", "replace"), theirs


def _plain(text: str) -> Any:
    """Return what stands in `text` if it is a JSON object or array, and else the text."""
    try:
        value = load_json(text.encode("utf-8", "surrogatepass"))
    except Unreadable:
        return text
    return value if isinstance(value, dict | list) else text


def _lost(keys: set[bytes], notification: Notification, decode: Decode) -> bool:
    left = {record.key for record in decode([notification]).records} if notification.body else set[bytes]()
    return not keys <= left
