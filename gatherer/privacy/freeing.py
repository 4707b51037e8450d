"""Freeing records and rows of people whom they mention, in such a way that nobody else loses anything."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from gatherer.model.merge import MENTIONING
from gatherer.model.person import Whom
from gatherer.model.records import OtherEvent, Record, Response
from gatherer.privacy import separating
from gatherer.privacy.bodies import inside, written
from gatherer.privacy.separating import Mention, Path

R = TypeVar("R", bound=Record)
# The columns with ids of messages; targets alone have the last two.
MESSAGE_IDS: Final = (
    "message_id", "provider_message_id", "about_message_id", "original_message_id", "original_about_id",
)  # fmt: skip
_NAMES: Final = ("phone", "phone_raw", "user_id")


class Freed(NamedTuple):
    """What columns of a record or row become without people whom they mention."""

    columns: dict[str, str | None]
    theirs: list[Any]  # what they said about the people, as plain values


def freed(values: Mapping[str, Any], whom: Whom) -> Freed:
    """Return what a record or row, given by its columns, becomes without those whom it mentions and is not about."""
    result = Freed({}, [])
    is_named = names_somebody(values)
    for name in MENTIONING:
        text, whole = values.get(name), not is_named and name == "details"  # which may be about many people
        known = whom.knows if whole else whom.is_named
        if text and (found := separating.mentions(text, known)):
            result.columns[name] = _without_elements(text, found) if whole else _without_mentions(text, found)
            elements = {one.element for one in found if one.element}
            result.theirs.extend(said(text, elements, [one for one in found if not one.element]))
    return result


def without(record: R, whom: Whom) -> R | None:
    """Return `record`, which is not about them, without those whom it mentions; None if it says nothing then."""
    values = columns(record)
    changes = freed(values, whom).columns if is_of_people(record) else {}
    if not changes:
        return record
    if not names_somebody(values) and changes.get("details", "") is None:
        return None
    return msgspec.structs.replace(record, **changes)


def said(value: Any, elements: Iterable[Path], places: Iterable[Mention]) -> list[Any]:
    """Return what `value` says in `elements` and at `places` alone, as values that JSON can carry."""
    parts = [separating.at(value, element) for element in sorted(elements, key=str)]
    quoted = {one.place: one.text for one in places}
    return [
        *(one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in parts),
        *(_quoted(place, text) for place, text in sorted(quoted.items(), key=str)),
    ]


def _quoted(place: Path, text: str) -> Any:
    """Return `text`, which stands at `place`, with the name that it has there."""
    name = next((step for step in reversed(place) if isinstance(step, str)), None)
    return text if name is None else {name: text}


def columns(record: Record) -> dict[str, Any]:
    """Return `record` as a row has it."""
    return msgspec.structs.asdict(record)


def is_of_people(record: Record) -> bool:
    """Tell whether `record` is of those that are about people: all others are about our own account."""
    return isinstance(record, Response | OtherEvent)


def is_about(values: Mapping[str, Any], whom: Whom) -> bool:
    """Tell whether a record or row of those about people, given by its columns, is about `whom`.

    Where it names nobody it may still be about one of their messages, or have nothing but them in its details.
    """
    if names_somebody(values):
        named = (values.get(name) for name in _NAMES)
        return any(one is not None and whom.knows(one) for one in named)
    if values.get("group_id"):
        return False
    if any(whom.has_message(values.get(name)) for name in MESSAGE_IDS):
        return True
    details = values.get("details") or ""
    found = separating.mentions(details, whom.knows)
    return bool(found) and _without_elements(details, found) is None


def names_somebody(values: Mapping[str, Any]) -> bool:
    """Tell whether a record or row, given by its columns, says who it is about."""
    return any(values.get(name) for name in _NAMES)


def is_told_by_message(values: Mapping[str, Any], whom: Whom) -> bool:
    """Tell whether a record or row, given by its columns, is known by one of the messages of `whom`."""
    return whom.has_message(values.get("message_id"))


def _without_mentions(text: str, found: Iterable[Mention]) -> str | None:
    """Return `text`, JSON or not, without those who were `found` in it; None if nothing is left.

    Items of lists go as a whole: the contact that has their number, not the number alone.
    """
    elements = {one.element for one in found if one.element}
    places = {one.place for one in found if not one.element}
    rest = separating.without(inside(text), elements, places, keep={()})
    return None if rest is None else written(rest)


def _without_elements(text: str, found: Iterable[Mention]) -> str | None:
    """Return JSON `text` without the elements around those who were `found`; None if nothing is left."""
    rest = separating.without(inside(text), {one.element for one in found})
    return None if rest is None else written(rest)
