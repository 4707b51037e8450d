"""The provider `json`: any mapping of any body is pure, raises nothing, and accounts for each element once."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatherer import providers
from gatherer.config import JSONMapping
from gatherer.config.mapping import Fields
from gatherer.model.records import WHATSAPP, Kind, OtherEvent, Reason, Record, Rejected, Response, make_key
from gatherer.providers import mapped_json
from gatherer.providers.base import Decoded
from gatherer.providers.paths import path_text, resolve
from gatherer.providers.payload import load_json
from tests.providers.cases import READY_MAPPINGS, decoder, notification

LEAN = {"kind": "/type", "message_id": "/id", "phone": "/to", "occurred_at": "/at"}

names = st.sampled_from(["type", "id", "to", "at", "events", "a", "0", "*"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["sent", "read", "replied", "reacted", "wamid.A", "4477009001", "US.1abc", 1_790_000_000, "*", "[1]"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=25,
)
pointers = st.lists(names, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
fields = {name: st.lists(pointers, max_size=2) for name in mapped_json.READERS}
kinds = st.sampled_from(list(Kind)) | st.lists(pointers.filter(bool), min_size=1, max_size=2)
words = st.dictionaries(st.sampled_from(["sent", "SENT2", "true", "1"]), st.sampled_from(list(Kind)))
cases = st.fixed_dictionaries(
    {"when": st.dictionaries(pointers, st.sampled_from(["sent", "*", "1", True]), min_size=1, max_size=2)},
    optional={**fields, "kind": kinds, "kinds": words},
)
mappings = st.fixed_dictionaries(
    {},
    optional={
        **fields,
        "kind": kinds,
        "kinds": words,
        "elements": pointers,
        "id_space": st.sampled_from(["whatsapp", "x"]),
        "case": st.lists(cases, max_size=2),
    },
)


def decode(body: object, **mapping: Any) -> Decoded:
    """Return what becomes of `body`, a value of JSON, with the `mapping`."""
    made = mapped_json.decoder(JSONMapping.model_validate(mapping).body_mapping("endpoint"))
    return made(notification(json.dumps(body).encode(), "json"))


def decode_one(element: object, **mapping: Any) -> Response:
    """Return the response that the body `element` becomes with the `mapping`, added to the lean one."""
    (response,) = decode(element, **(LEAN | mapping))
    assert isinstance(response, Response)
    return response


@settings(max_examples=300, deadline=None)
@given(values, mappings)
def test_any_mapping_of_any_body_accounts_for_each_element_once(body: Any, mapping: dict[str, Any]) -> None:
    decoded = decode(body, **mapping)
    assert decoded == decode(body, **mapping)
    cleaned = load_json(json.dumps(body).encode())
    found, missed = JSONMapping.model_validate(mapping).elements.select(cleaned)
    own = list(decoded.paths)
    assert [paths[0] for paths in own] == sorted(part.path for part in (*found, *missed)) or body is None
    for fact, (path,) in zip(decoded, own, strict=True):
        assert isinstance(fact, Record | Rejected)
        resolve(cleaned, path)
        if isinstance(fact, Rejected):
            assert fact.path == path_text(path)
            assert fact.reason_class is not Reason.DECODER, fact.reason


@given(st.binary(max_size=60))
def test_any_bytes_become_rejections_or_records(body: bytes) -> None:
    made = mapped_json.decoder(JSONMapping.model_validate(LEAN).body_mapping("endpoint"))
    received = notification(body, "json")
    assert made(received) == made(received)
    assert all(getattr(fact, "reason_class", None) is not Reason.DECODER for fact in made(received))


def test_each_key_of_a_mapping_is_read() -> None:
    assert set(Fields.model_fields) == {*mapped_json.READERS, "kind", "kinds"}


def test_each_sample_is_the_mapping_of_one_endpoint_of_its_own_name() -> None:
    samples = sorted(READY_MAPPINGS.glob("*.toml"))
    assert [sample.stem for sample in samples] == ["8x8", "azure", "bird", "ycloud"]
    for sample in samples:
        assert f'name = "{sample.stem}"' in sample.read_text(encoding="utf-8")
        assert (sample.stem, "json") == decoder_key(sample.stem)


def decoder_key(endpoint: str) -> tuple[str, str]:
    """Return the endpoint and provider of a notification of `endpoint` that is decoded with a mapping."""
    received = notification(b"{}", "json", endpoint=endpoint)
    assert decoder(received) is not mapped_json.decode
    return received.endpoint, received.provider


# Identity


def test_an_id_counts_within_the_endpoint_unless_the_mapping_names_another_space() -> None:
    element = {"type": "sent", "id": "m-1"}
    assert decode_one(element).key == make_key("json:endpoint", "sent", "m-1")
    assert decode_one(element, id_space="courier").key == make_key("json:courier", "sent", "m-1")
    assert decode_one(element, id_space="whatsapp").key == make_key(WHATSAPP, "sent", "m-1")


def test_an_id_that_begins_like_whatsapps_is_whatsapps() -> None:
    element = {"type": "sent", "id": "wamid.A"}
    assert decode_one(element, id_space="courier").key == make_key(WHATSAPP, "sent", "wamid.A")


def test_without_a_message_id_the_content_is_the_identity() -> None:
    first = decode_one({"type": "opted_out", "to": "447700900123", "at": 1_790_000_000})
    other_order = decode_one({"at": 1_790_000_000, "to": "447700900123", "type": "opted_out"})
    later = decode_one({"type": "opted_out", "to": "447700900123", "at": 1_790_000_001})
    assert first.message_id is None
    assert first.key == other_order.key != later.key


# What an element is


@pytest.mark.parametrize("word", ["sent", "SENT", "Sent"])
def test_a_word_counts_in_upper_and_lower_case(word: str) -> None:
    assert decode_one({"type": word, "id": "m-1"}).kind is Kind.SENT
    assert decode_one({"type": word, "id": "m-1"}, kinds={"sENT": "delivered"}).kind is Kind.DELIVERED


def test_a_word_that_is_not_in_the_table_makes_an_other_event_also_where_it_is_a_kind() -> None:
    (event,) = decode({"type": "read", "id": "m-1", "to": "447700900123"}, **LEAN, kinds={"seen": "read"})
    assert isinstance(event, OtherEvent)
    assert (event.family, event.name, event.message_id, event.phone) == (
        "elements",
        "read",
        "m-1",
        "+447700900123",
    )


def test_the_first_case_that_fits_replaces_keys_and_leaves_the_others() -> None:
    mapping = {
        "case": [
            {
                "when": {"/type": "Answer", "/button": "*"},
                "kind": "replied",
                "text": "/button",
                "reply_type": "button",
            },
            {"when": {"/type": ["answer", 7]}, "kind": "replied", "text": "/text", "phone": "/from"},
            {"when": {"/ours": True}, "kind": "sent", "phone": []},
        ]
    }
    button = decode_one({"type": "answer", "id": "m-1", "to": "447700900123", "button": "Yes"}, **mapping)
    assert (button.reply_text, button.reply_type, button.phone) == ("Yes", "button", "+447700900123")
    for word in ("answer", 7, "7"):
        typed = decode_one(
            {"type": word, "id": "m-1", "from": "447700900124", "text": "Hello", "button": ""}, **mapping
        )
        assert (typed.reply_text, typed.reply_type, typed.phone) == ("Hello", "text", "+447700900124")
    assert decode_one({"ours": True, "id": "m-1", "to": "447700900123"}, **mapping).phone is None
    (rejected,) = decode({"ours": "truth", "id": "m-1"}, **LEAN, **mapping)
    assert isinstance(rejected, Rejected)


def test_a_mapping_of_cases_alone_rejects_what_no_case_fits() -> None:
    mapping = {"case": [{"when": {"/type": "answer"}, "kind": "replied"}]}
    (rejected,) = decode({"type": "receipt"}, **mapping)
    assert isinstance(rejected, Rejected)
    assert rejected.reason == "no case of the mapping fits, to say what the element is"


def test_a_reaction_without_an_emoji_is_taken_back_only_where_the_mapping_has_one() -> None:
    element = {"type": "reacted", "id": "m-1", "emoji": None}
    assert decode_one(element, emoji="/emoji").emoji == ""
    assert decode_one(element).emoji is None


@pytest.mark.parametrize(
    ("written", "phone"),
    [
        ("whatsapp:+447700900123", "+447700900123"),
        ("WA:447700900123", "+447700900123"),
        ("tel:+44-7700-900123", "+447700900123"),
        (447700900123, "+447700900123"),
        ("person@example.org", None),
    ],
)
def test_the_scheme_before_a_number_is_not_part_of_it(written: object, phone: str | None) -> None:
    assert decode_one({"type": "sent", "id": "m-1", "to": written}).phone == phone


def test_without_a_mapping_the_body_is_rejected_with_advice() -> None:
    (rejected,) = providers.decode(notification(b'{"type": "sent"}', "json", endpoint="courier"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason_class is Reason.UNKNOWN_PROVIDER
    assert "'courier' has no mapping" in rejected.reason
    assert rejected.body == b'{"type": "sent"}'


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"wamid": "wamid.A", "id": 7}, ("wamid.A", "7")),
        ({"wamid": "wamid.A"}, ("wamid.A", None)),
        ({"id": 7}, ("7", None)),
        ({"wamid": "7", "id": 7}, ("7", None)),
    ],
)
def test_the_own_id_of_the_service_is_beside_whatsapps_or_takes_its_place(
    ids: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    element = {"type": "sent", "to": "447700900123", **ids}
    record = decode_one(element, message_id="/wamid", provider_message_id="/id")
    assert (record.message_id, record.provider_message_id) == expected
    space = WHATSAPP if ids.get("wamid") == "wamid.A" else "json:endpoint"
    assert record.key == make_key(space, Kind.SENT, expected[0])
