"""`[endpoint.mapping]`: where the bodies of an unknown service have their elements, and what these mean."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, field_validator

from gatherer.config.base import Section
from gatherer.model.records import WHATSAPP, Kind
from gatherer.providers import mapped_json
from gatherer.providers.mapped_json import BodyMapping, ElementMapping
from gatherer.providers.pointer import Pointer

ReplyType = Literal["text", "button", "list", "flow"]
_REPLY_TYPES: Final = get_args(ReplyType)


def _pointer(value: object) -> Pointer:
    if isinstance(value, Pointer):
        return value
    if not isinstance(value, str):
        raise ValueError('expected a JSON Pointer, as in "/results/0/id"')
    return Pointer.parse(value)


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _kind_or_pointers(value: object) -> object:
    if value in list(Kind):
        return Kind(str(value))
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError(f'expected a JSON Pointer, as in "/status", or one of: {", ".join(Kind)}')
    return [_pointer(pointer) for pointer in value] if isinstance(value, list) else [_pointer(value)]


def _type_or_pointers(value: object) -> object:
    if value in _REPLY_TYPES:
        return value
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError(f'expected a JSON Pointer, as in "/type", or one of: {", ".join(_REPLY_TYPES)}')
    return [_pointer(pointer) for pointer in value] if isinstance(value, list) else [_pointer(value)]


def _written(value: Any) -> Any:
    """Return pointers as they are written in the file; anything else as it is."""
    return [str(pointer) for pointer in value] if isinstance(value, list) else value


def _words(value: object) -> object:
    words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, str | int | bool) for word in words):
        raise ValueError('expected a word, as in "/type" = "status", or a list of words')
    return [str(word).lower() if isinstance(word, bool) else str(word) for word in words]


JsonPointer = Annotated[Pointer, PlainValidator(_pointer), PlainSerializer(str, return_type=str)]
Pointers = Annotated[list[JsonPointer], BeforeValidator(_as_list)]


class Fields(Section):
    """What an element means, key by key. A pointer starts at the element; of several, the first with a value counts."""

    kind: Annotated[
        Kind | list[JsonPointer] | None, PlainValidator(_kind_or_pointers), PlainSerializer(_written)
    ] = None
    """What the element says: one of the kinds, such as `replied`, or where its word for that is."""
    kinds: dict[str, Kind] | None = None
    """The kind of each word of the service, as in `{ DLVRD = "delivered" }`. Upper and lower case count as the same.
    Left out: the names of the kinds. An element with any other word is an other event."""
    message_id: Pointers | None = None
    """The id of our message in a receipt; the id of the person's message in an answer."""
    provider_message_id: Pointers | None = None
    """The service's own id of that message, where `message_id` is WhatsApp's. Without `message_id`, it takes its place."""
    about_message_id: Pointers | None = None
    """The id of the message that the person answers or reacts to."""
    phone: Pointers | None = None
    """The number of the person, with the country code."""
    user_id: Pointers | None = None
    """The business-scoped user id of the person."""
    occurred_at: Pointers | None = None
    """When it happened: Unix time in seconds or milliseconds, or ISO 8601, UTC unless it has a zone."""
    text: Pointers | None = None
    """What a person would read of an answer: the column `reply_text`."""
    reply_type: Annotated[
        ReplyType | list[JsonPointer] | None, PlainValidator(_type_or_pointers), PlainSerializer(_written)
    ] = None
    """The type of an answer, or where it is. Left out: `text`, if it has one. Of types other than `text`, `button`
    and `list`, no reply counts as an opt-out keyword."""
    reply_payload: Pointers | None = None
    """What a program would read of an answer, such as the id of a button."""
    emoji: Pointers | None = None
    """The emoji of a reaction. Where it is missing or empty, the reaction was taken back."""
    error_code: Pointers | None = None
    """The number of the error; 0 is none."""
    error_title: Pointers | None = None
    """The name of the error."""
    error_details: Pointers | None = None
    """What else is said about the error."""
    account_id: Pointers | None = None
    """Our account at the service."""
    phone_number_id: Pointers | None = None
    """The id of our number."""
    business_phone: Pointers | None = None
    """Our number."""
    client_reference: Pointers | None = None
    """What the sender attached to our message, such as a communication key."""
    profile_name: Pointers | None = None
    """What the person calls themselves."""
    group_id: Pointers | None = None
    """The group in which the message was written."""
    media_id: Pointers | None = None
    """The id of a picture or another file."""
    media_type: Pointers | None = None
    """Its MIME type."""
    pricing_category: Pointers | None = None
    """The category by which the message is charged."""
    pricing_model: Pointers | None = None
    """The pricing model."""
    pricing_type: Pointers | None = None
    """The pricing type."""
    billable: Pointers | None = None
    """Whether the message is charged."""
    details: Pointers | None = None
    """What to keep as JSON. Left out: the whole element."""

    @field_validator("kinds")
    @classmethod
    def _unambiguous(cls, kinds: dict[str, Kind] | None) -> dict[str, Kind] | None:
        known: dict[str, Kind] = {}
        for word, kind in (kinds or {}).items():
            if known.setdefault(word.casefold(), kind) is not kind:
                raise ValueError(f"the word {word} has two kinds: upper and lower case count as the same")
        return kinds


class Case(Fields):
    """For the elements that fit `when`. A key that is left out is that of the mapping; `[]` is nothing."""

    when: dict[str, Annotated[list[str], BeforeValidator(_words)]] = Field(min_length=1)
    """The conditions: each a pointer, and the word that must be there, or a list of words; `"*"` is any value."""

    @field_validator("when")
    @classmethod
    def _with_pointers(cls, when: dict[str, list[str]]) -> dict[str, list[str]]:
        for pointer in when:
            Pointer.parse(pointer)
        return when


class _Place(Section):
    elements: JsonPointer = Pointer(())
    """Where the elements of a body are, as in `/results/*`: `*` is each element of an array. Left out: the body is one."""
    id_space: str | None = Field(default=None, pattern=r"^[a-z0-9_.-]{1,100}$")
    """Where the message ids are unique: the same word in all endpoints of one service, or `whatsapp` if all of them are
    WhatsApp's own. Left out: the name of the endpoint. Ids that begin with `wamid.` are always WhatsApp's."""


class JSONMapping(Fields, _Place):
    """For `provider = "json"`: where a body has its elements, and what these mean, as JSON Pointers (RFC 6901).

    All but `elements` start at an element. Of several pointers in a list, the first that leads to a value counts.
    """

    case: list[Case] = []
    """Elements that are read in another way, each with `when`: the first that fits counts."""

    def body_mapping(self, endpoint: str) -> BodyMapping:
        """Return the mapping as the decoder of the `endpoint` of this name takes it."""
        id_space = self.id_space or endpoint
        forms = [_element_mapping(self.model_copy(update=_given(case)), case.when) for case in self.case] + [
            _element_mapping(self, {})
        ]
        return BodyMapping(
            elements=self.elements,
            id_space=WHATSAPP if self.id_space == WHATSAPP else f"{mapped_json.NAME}:{id_space}",
            forms=tuple(forms),
        )


def _given(case: Case) -> dict[str, Any]:
    """Return the keys that `case` has, without its conditions."""
    values = {name: getattr(case, name) for name in Fields.model_fields}
    return {name: value for name, value in values.items() if value is not None}


def _element_mapping(fields: Fields, when: dict[str, list[str]]) -> ElementMapping:
    """Return how an element is read that fulfils the conditions `when`."""
    pointers = {name: getattr(fields, name) for name in mapped_json.READERS}
    columns = {name: tuple(value) for name, value in pointers.items() if isinstance(value, list)}
    columns.setdefault("details", mapped_json.WHOLE_ELEMENT)
    kinds = mapped_json.OWN_WORDS if fields.kinds is None else fields.kinds
    return ElementMapping(
        when=tuple(
            (Pointer.parse(pointer), frozenset(word.casefold() for word in words))
            for pointer, words in when.items()
        ),
        kind=fields.kind if isinstance(fields.kind, Kind) else tuple(fields.kind or ()),
        kinds={word.casefold(): kind for word, kind in kinds.items()},
        columns=columns,
        reply_type=fields.reply_type if isinstance(fields.reply_type, str) else None,
    )
