"""Any service that posts JSON: the configuration of the endpoint says where the elements are, and what they mean.

Set-up
    Give the endpoint `provider = "json"`, a way to authenticate, such as a `url_key`, and a table `mapping`. The page
    “Connect an unknown service” is the way from one body to a mapping, with `gatherer decode json --endpoint NAME FILE`
    as the tool to try it. `gatherer gather` reads the mapping: on two machines, it belongs into the configuration of
    the one that gathers. `gatherer config sample` prints mappings for Azure Communication Services, Bird, YCloud and
    8x8.

Mapping
    `elements` is a JSON Pointer to the elements of a body; `*` stands for each element of an array. The other keys
    are pointers inside an element. Where a key has several, the first one that leads to a value counts. `kinds`
    translates the words of the service; without it, the names of the kinds themselves are its words. Each
    `[[endpoint.mapping.case]]` is for the elements that fit its `when`, and replaces keys of the mapping for them;
    the first that fits counts.
    An element with a word that is not in `kinds` → other event. An element without a word, or with a value of a
    wrong type, such as an object for `message_id` → rejected. What the body has beside its elements is not read.
    An error code that is not a number → error_title, where that is not mapped.

Quirks
    Ids that begin with `wamid.` are WhatsApp's, and make the same rows as with any other provider. All others count
    within `id_space`, which is the name of the endpoint unless the mapping names another; two endpoints of one service
    need the same. `id_space = "whatsapp"` says that all of them are WhatsApp's own, in whatever form.
    A service that has an id of its own beside WhatsApp's has it at `provider_message_id`: both are ids of one message.
    Without a message id, the key is a hash of the element: a repeated element is one row as long as the service
    repeats it unchanged, and two facts that look alike in every member are one row.
    A reaction without an emoji is one that was taken back. A time that cannot be read is that of receipt.
    Bodies are JSON; forms and XML are rejected. Without a mapping everything is rejected, with the bytes: add the
    mapping, then run `gatherer replay --rejected`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from gatherer.model.notification import Notification
from gatherer.model.phones import e164
from gatherer.model.records import WHATSAPP, Kind, Reason, Record, Response, make_key
from gatherer.providers.base import Decode, Decoded, ElementError, Provider, reject, reject_body
from gatherer.providers.elements import (
    as_json,
    business_e164,
    describe,
    flag,
    integer,
    person_ids,
    reference,
    verbatim,
)
from gatherer.providers.origin import Origin, decode_one, other
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.pointer import Pointer

NAME: Final = "json"
ANY: Final = "*"  # in a condition: any value at all
_WHATSAPP_ID: Final = "wamid."
_SCHEMES: Final = ("whatsapp:", "wa:", "tel:")  # before the number, in some services

Pointers: TypeAlias = tuple[Pointer, ...]  # the first that leads to a value counts
Columns: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ElementMapping:
    """How the elements of one form are read."""

    when: tuple[tuple[Pointer, frozenset[str]], ...] = ()  # where it has one of these words, in lower case
    kind: Kind | Pointers = ()
    kinds: Mapping[str, Kind]  # of words in lower case
    columns: Mapping[str, Pointers]  # by the names in `READERS`
    reply_type: str | None = None  # where it is not read from the element

    def fits(self, element: dict[str, Any]) -> bool:
        """Return whether `element` fulfils all conditions."""
        return all(_fulfils(pointer.first(element), words) for pointer, words in self.when)


@dataclass(frozen=True, kw_only=True)
class BodyMapping:
    """Where the elements of a body are, and how each form of them is read."""

    elements: Pointer
    id_space: str  # of ids that are not WhatsApp's
    forms: tuple[ElementMapping, ...]  # the first that fits counts; the last one fits every element


def _fulfils(value: Any, words: frozenset[str]) -> bool:
    if value is None or value == "":
        return False
    return ANY in words or (type(value) not in (dict, list) and _word(value, "").casefold() in words)


# Readers: the value of a key, which is there, as its column has it

Reader: TypeAlias = Callable[
    [Any, str], Any
]  # takes the value and the name of the key, and raises ElementError


def _word(value: Any, name: str) -> str:
    """Return `value`, a text, number or boolean, as a word."""
    if type(value) is bool:
        return "true" if value else "false"
    return _text(value, name)


def _lower_word(value: Any, name: str) -> str:
    return _word(value, name).lower()


def _text(value: Any, name: str) -> str:
    """Return `value`, a text or a number, as text."""
    if type(value) is str:
        return value
    if type(value) is int or type(value) is float:
        return str(value)
    raise ElementError(f"{name} is {describe(value)}, not a text or a number")


def _time(value: Any, name: str) -> str | float:
    if type(value) is str or type(value) is int or type(value) is float:
        return value
    raise ElementError(f"{name} is {describe(value)}, not a time")


def _flag(value: Any, name: str) -> bool:
    if (result := flag(value)) is not None:
        return result
    raise ElementError(f"{name} is {describe(value)}, not true or false")


def _error_code(value: Any, name: str) -> int | str:
    """Return `value` as the number it is, else as the word it is."""
    number = integer(value)
    return _text(value, name) if number is None else number


def _business_phone(value: Any, name: str) -> str | None:
    return business_e164(_without_scheme(reference(value, name)))


def _phone(value: Any, name: str) -> str | None:
    return _without_scheme(reference(value, name))


def _without_scheme(number: str | None) -> str | None:
    if number is not None and ":" in number:
        for scheme in _SCHEMES:
            if number.lower().startswith(scheme):
                return number[len(scheme) :]
    return number


def _verbatim(value: Any, _name: str) -> str | None:
    return verbatim(value) if value not in ({}, []) else None


# key of the mapping → how its value is read. Each is a column, but `occurred_at` and `text`
READERS: Final[dict[str, Reader]] = {
    "message_id": reference,
    "provider_message_id": reference,
    "about_message_id": reference,
    "phone": _phone,
    "user_id": reference,
    "occurred_at": _time,
    "text": _text,
    "emoji": _text,
    "reply_type": _lower_word,
    "reply_payload": _verbatim,
    "error_code": _error_code,
    "error_title": _text,
    "error_details": _verbatim,
    "account_id": reference,
    "phone_number_id": reference,
    "business_phone": _business_phone,
    "client_reference": _verbatim,
    "profile_name": _text,
    "group_id": reference,
    "media_id": reference,
    "media_type": _text,
    "pricing_category": _text,
    "pricing_model": _text,
    "pricing_type": _text,
    "billable": _flag,
    "details": _verbatim,
}
WHOLE_ELEMENT: Final[Pointers] = (Pointer(()),)  # the details, unless the mapping says otherwise
OWN_WORDS: Final = {kind.value: kind for kind in Kind}  # unless the mapping has others


def decoder(mapping: BodyMapping) -> Decode:
    """Return the decoder of an endpoint with this `mapping`. It is pure, and raises nothing."""

    def decode_mapped(notification: Notification) -> Decoded:
        try:
            body = load_json(notification.body)
        except UnreadableBodyError as problem:
            return reject_body(notification, NAME, str(problem), Reason.UNREADABLE)
        if body is None:
            return reject_body(notification, NAME, "the body is null", Reason.SHAPE)
        return _decode_body(notification, body, mapping)

    return decode_mapped


def _decode_body(notification: Notification, body: Any, mapping: BodyMapping) -> Decoded:
    """Return the record or rejection of each element of `body`, and a rejection of each part that has none."""
    decoded = Decoded()
    origin = Origin(notification, NAME)
    found, missed = mapping.elements.select(body)
    decoded.reserve(len(found) + len(missed))
    if not missed:
        for path, element in found:
            decode_one(origin, element, _decode_element(mapping), path, decoded)
        return decoded
    paths_without_elements = {part.path for part in missed}
    for path, element in sorted((*found, *missed), key=lambda part: part.path):
        if path in paths_without_elements:
            reason = (
                f"there is nothing at {mapping.elements}, where the mapping of the endpoint has its elements"
            )
            decoded.add(reject(notification, NAME, path, reason, Reason.SHAPE), path)
        else:
            decode_one(origin, element, _decode_element(mapping), path, decoded)
    return decoded


def _decode_element(mapping: BodyMapping) -> Callable[[Origin, Any], Record]:
    return lambda origin, element: _record(origin, element, mapping)


def _record(origin: Origin, element: Any, mapping: BodyMapping) -> Record:
    """Return the response or the other event that `element` is.

    Raises:
        ElementError: it is not an object, has no word that says what it is, or a value of a wrong type.

    """
    if type(element) is not dict:
        raise ElementError(f"the element is {describe(element)}, not an object", Reason.SHAPE)
    form = next(form for form in mapping.forms if form.fits(element))
    word, kind = _kind(element, form)
    columns = {
        name: READERS[name](value, name)
        for name, pointers in form.columns.items()
        if (value := _first(element, pointers)) is not None
    }
    own_id = columns.pop("provider_message_id", None)
    if (
        own_id is not None and columns.setdefault("message_id", own_id) != own_id
    ):  # else there is one id alone
        columns["provider_message_id"] = own_id
    message_id = columns.get("message_id")
    claimed = columns.pop("occurred_at", None)
    phone, user_id = _person(columns.pop("phone", None), columns.get("user_id"))
    columns |= {"phone": e164(phone), "user_id": user_id}
    origin.account_id = columns.pop("account_id", None)
    id_space = WHATSAPP if message_id and message_id.startswith(_WHATSAPP_ID) else mapping.id_space
    if kind is None:
        shared = {name: columns.get(name) for name in ("message_id", "phone", "user_id")}
        return other(origin, element, "elements", word, id_space=id_space, at=claimed, **shared)
    if message_id:
        key = make_key(id_space, kind, message_id)
    else:
        key = make_key(id_space, f"content:{kind}", as_json(element))
    _add_answer(columns, kind, form)
    _add_errors(columns)
    return origin.record(Response, key, claimed, kind=kind, phone_raw=phone, **columns)


def _person(phone: str | None, user_id: str | None) -> tuple[str | None, str | None]:
    """Return the phone as it was written, and the user id. Some services have the phone in the place of both."""
    if user_id is not None and user_id.removeprefix("+").isdigit():
        phone, user_id = phone or user_id, None
    return person_ids(phone, user_id)


def _kind(element: dict[str, Any], form: ElementMapping) -> tuple[str, Kind | None]:
    """Return the word of `element` that says what it is, and its kind; None where the word is not known.

    Raises:
        ElementError: it has no such word.

    """
    if isinstance(form.kind, Kind):
        return form.kind, form.kind
    value = _first(element, form.kind)
    if value is None:
        places = " or ".join(map(str, form.kind))
        problem = f"nothing at {places} says" if places else "no case of the mapping fits, to say"
        raise ElementError(f"{problem} what the element is", Reason.SHAPE)
    word = _word(value, "kind")
    return word, form.kinds.get(word.casefold())


def _first(element: dict[str, Any], pointers: Pointers) -> Any:
    """Return the first value that one of `pointers` leads to; null and '' are none."""
    for pointer in pointers:
        value = pointer.first(element)
        if value is not None and value != "":
            return value
    return None


def _add_answer(columns: Columns, kind: Kind, form: ElementMapping) -> None:
    """Complete the `columns` of an answer of `kind`."""
    if (text := columns.pop("text", None)) is not None:
        columns["reply_text"] = text
    if kind is Kind.REACTED:
        if form.columns.get("emoji"):
            columns.setdefault("emoji", "")  # taken back
    elif kind in (Kind.REPLIED, Kind.EDITED) and "reply_type" not in columns:
        # A text without a type was typed: the type decides whether it can be an opt-out keyword.
        typed = text is not None and "reply_type" not in form.columns
        columns["reply_type"] = form.reply_type or ("text" if typed else None)


def _add_errors(columns: Columns) -> None:
    """Complete the error `columns`. With the code 0 there is no error; a code that is a word is a title."""
    names = [name for name in ("error_code", "error_title", "error_details") if name in columns]
    if not names:
        return
    errors = {name.removeprefix("error_"): columns[name] for name in names}
    code = errors.get("code")
    if code == 0:
        for name in names:
            del columns[name]
        return
    columns["errors"] = as_json([errors])
    if type(code) is str:
        columns.setdefault("error_title", columns.pop("error_code"))


def decode(notification: Notification) -> Decoded:
    """Return one rejection of the whole: the endpoint has no mapping."""
    reason = (
        f"the endpoint {notification.endpoint!r} has no mapping in the configuration of this machine: add it, then "
        "run gatherer replay --rejected"
    )
    return reject_body(notification, NAME, reason, Reason.UNKNOWN_PROVIDER)


PROVIDER: Final = Provider(
    name=NAME,
    title="Any service that posts JSON",
    decode=decode,
    reports=frozenset({*Kind, "other"}),
    authentication="none of its own: a url_key, HTTP Basic, a bearer token or a header, as the service can",
    on_refusal="depends on the service",
    retries="depends on the service",
    documentation=__doc__,
)
