"""The contract that every provider passes, built in today or added tomorrow, through its payload cases."""

import json
import random
import re
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gatherer import providers
from gatherer.model import merge, widths
from gatherer.model.records import Reason, Record, Rejected
from gatherer.providers.paths import resolve as resolve_path
from gatherer.providers.payload import load_json
from tests.providers.cases import (
    AGAIN,
    ALL,
    FOLDER,
    Case,
    at,
    case,
    cases,
    decode,
    decoder,
    endpoints,
    notification,
    readable,
    resolve,
    word,
)
from tests.providers.counting import COUNTS, COUNTS_OF_MAPPINGS
from tests.providers.mutating import JUNK, mutated, mutated_form, places, put

PROVIDERS = sorted(providers.BUILT_IN)
IDENTITIES = json.loads((FOLDER / "identities.json").read_text(encoding="utf-8"))

FORMS = {payload_case.provider for payload_case in ALL if payload_case.path.suffix == ".form"}

every_case = pytest.mark.parametrize("payload_case", ALL, ids=lambda payload_case: payload_case.name)
every_provider = pytest.mark.parametrize("name", PROVIDERS)


def records_of(decoded: list[Record | Rejected]) -> list[Record]:
    return [fact for fact in decoded if not isinstance(fact, Rejected)]


def json_cases(name: str) -> list[Case]:
    return [payload_case for payload_case in cases(name) if payload_case.path.suffix == ".json"]


def forms(name: str) -> list[bytes]:
    """Return the payloads of `name` that are forms. Such a provider sends nothing else."""
    return [payload_case.body for payload_case in cases(name) if payload_case.path.suffix == ".form"]


def payloads(name: str) -> list[Any]:
    return [json.loads(payload_case.body) for payload_case in json_cases(name)]


# What a case says


@every_case
def test_a_payload_becomes_the_records_that_were_written_down_for_it(payload_case: Case) -> None:
    payload = json.loads(payload_case.body) if payload_case.path.suffix == ".json" else None
    decoded = [readable(record) for record in payload_case.decode()]
    assert _without_python_words(decoded) == _without_python_words(
        [resolve(record, payload) for record in payload_case.expected]
    )


def _without_python_words(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `records` without what Python says about broken JSON: each version has its own words for that."""
    for record in records:
        if "reason" in record:
            record["reason"] = re.sub(
                r"(?<=^the body is not JSON: ).* at line \d+, column \d+$", "…", record["reason"]
            )
    return records


@every_provider
def test_every_payload_has_an_expectation_and_every_expectation_a_payload(name: str) -> None:
    expectations = {path for path in (FOLDER / name).iterdir() if path.name.endswith(".records.json")}
    assert {payload_case.expectation for payload_case in cases(name)} == expectations
    stems = [payload_case.path.stem for payload_case in cases(name)]
    assert len(stems) == len(set(stems)) > 0


@every_case
def test_a_rejection_names_the_place_and_the_reason(payload_case: Case) -> None:
    for rejected in payload_case.decode():
        if isinstance(rejected, Rejected):
            assert rejected.path.startswith("$")
            assert rejected.reason[:1] not in ("", " ")
            assert "\n" not in rejected.reason
            assert rejected.reason_class is not Reason.DECODER
            assert rejected.body == payload_case.body


# Purity and identity


@every_case
def test_decoding_is_pure(payload_case: Case) -> None:
    first, second = payload_case.decode(), payload_case.decode()
    assert first == second
    directly = decoder(payload_case.notification())(payload_case.notification())
    widths.fit(directly, 2 * len(payload_case.body))
    assert directly == first


@every_case
def test_a_redelivery_has_the_same_keys(payload_case: Case) -> None:
    """Another id, endpoint and hour of receipt: the same facts."""
    first = payload_case.notification()
    later = first._replace(
        id=99, endpoint=first.endpoint + AGAIN, received_at=first.received_at.replace(hour=23)
    )
    assert [fact.key for fact in decode(later)] == [fact.key for fact in payload_case.decode()]


@every_case
def test_different_facts_of_a_body_have_different_keys(payload_case: Case) -> None:
    keys = [fact.key for fact in payload_case.decode()]
    assert all(len(key) == 16 for key in keys)
    assert ("same_fact" in payload_case.name) == (len(set(keys)) < len(keys))


@pytest.mark.parametrize("fact", IDENTITIES["same"])
def test_the_same_fact_has_the_same_key_in_every_shape_and_through_every_provider(fact: str) -> None:
    keys = {name: {record.key for record in case(name).decode()} for name in IDENTITIES["same"][fact]}
    assert len(keys) > 1
    assert len({frozenset(key_set) for key_set in keys.values()}) == 1, keys


@pytest.mark.parametrize("facts", IDENTITIES["different"])
def test_facts_that_look_alike_have_different_keys(facts: str) -> None:
    keys = [record.key for name in IDENTITIES["different"][facts] for record in case(name).decode()]
    assert len(keys) == len(set(keys)) > 1


# Order does not matter


@every_provider
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_notifications_in_any_order_are_the_same_records(name: str, data: st.DataObject) -> None:
    """Several notifications, redelivered at other times under other ids, folded in two orders."""
    drawn = data.draw(st.lists(st.sampled_from(cases(name)), min_size=2, max_size=5))
    notifications = [payload_case.notification(id=i) for i, payload_case in enumerate(drawn)]
    notifications += [
        first._replace(id=50 + first.id, endpoint=first.endpoint + AGAIN) for first in notifications[:2]
    ]
    shuffled = data.draw(st.permutations(notifications))

    def folded(order: list[Any]) -> dict[bytes, Record]:
        records = [record for delivery in order for record in records_of(decode(delivery))]
        return {record.key: record for record in merge.fold(records)}

    assert folded(notifications) == folded(shuffled)


@every_provider
def test_all_notifications_of_a_provider_fold_to_the_same_records_in_any_order(name: str) -> None:
    notifications = [payload_case.notification(id=i) for i, payload_case in enumerate(cases(name))]
    orders = [notifications, notifications[::-1], random.Random(5).sample(notifications, len(notifications))]
    results = []
    for order in orders:
        records = [record for delivery in order for record in records_of(decode(delivery))]
        results.append({record.key: record for record in merge.fold(records)})
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("fact", IDENTITIES["same"])
def test_deliveries_of_one_fact_merge_to_the_same_record_in_any_order(fact: str) -> None:
    notifications = [case(name).notification(id=i) for i, name in enumerate(IDENTITIES["same"][fact])]
    results = []
    for order in list(permutations(notifications))[:24]:
        records = [record for delivery in order for record in records_of(decode(delivery))]
        results.append({record.key: record for record in merge.fold(records)})
    assert all(result == results[0] for result in results)


# What a provider says about itself


@every_provider
def test_a_provider_reports_what_its_payloads_become(name: str) -> None:
    produced = {word(record) for payload_case in cases(name) for record in records_of(payload_case.decode())}
    assert providers.get(name).reports == produced


@every_provider
def test_a_provider_documents_itself(name: str) -> None:
    provider = providers.get(name)
    assert provider.name == name
    for section in ("\nSet-up\n", "\nMapping\n", "\nQuirks\n"):
        assert section in provider.documentation
    for words in (provider.title, provider.authentication, provider.on_refusal, provider.retries):
        assert words.strip()
    assert {record.provider for payload_case in cases(name) for record in payload_case.decode()} == {name}


@every_provider
def test_unknown_words_survive_as_other_events(name: str) -> None:
    unknown = [payload_case for payload_case in cases(name) if payload_case.path.stem.startswith("unknown_")]
    assert unknown
    for payload_case in unknown:
        assert {record.table for record in payload_case.decode()} == {"other_event"}


# Bad input

BODIES_IN_NO_FORM = {
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "only a byte order mark": b"\xef\xbb\xbf",
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "NaN": b'{"entry":[{"changes":[{"field":"messages","value":NaN}]}]}',
    "Infinity": b"[Infinity]",
    "truncated": b'{"entry":[{"changes":[{"field":"mess',
    "bytes that are no text": b"\xff\xfe\xfd\x80{}",
    "Latin-1": '{"entry":"é"}'.encode("latin-1"),
    "UTF-16 with mark": '{"entry":[]}'.encode("utf-16"),
    "UTF-16 without mark": '{"entry":[]}'.encode("utf-16-le"),
    "UTF-32": '{"entry":[]}'.encode("utf-32"),
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and open": b"[" * 100_000,
    "a number": b"17",
    "a huge number": b"9" * 5000,
    "a number beyond floats": b"1e400",
    "a text": b'"entry"',
    "a boolean": b"true",
    "null": b"null",
    "an empty object": b"{}",
    "another service": b'{"event":"push","commits":[]}',
    "nothing but NULs": b"\x00" * 40,
}


@every_provider
@pytest.mark.parametrize("what", BODIES_IN_NO_FORM)
def test_a_body_in_no_form_of_the_provider_is_one_rejection(name: str, what: str) -> None:
    for endpoint in endpoints(name):
        decoded = decode(notification(BODIES_IN_NO_FORM[what], name, endpoint=endpoint))
        assert [type(fact) for fact in decoded] == [Rejected]
        assert decoded[0].path == "$"
        assert decoded[0].reason_class in (Reason.UNREADABLE, Reason.SHAPE)


@pytest.mark.parametrize(
    "payload_case",
    [payload_case for payload_case in ALL if payload_case.path.suffix == ".json"],
    ids=lambda payload_case: payload_case.name,
)
def test_json_in_any_notation_becomes_the_same_records(payload_case: Case) -> None:
    """A byte order mark, spaces, escapes or a repeated key: the same records."""
    expected = [readable(record) for record in payload_case.decode()]
    value = json.loads(payload_case.body)
    if isinstance(value, dict) and value:
        first = next(iter(value))
        repeated = f"{{{json.dumps(first)}:17,".encode() + json.dumps(value).encode()[1:]
    else:
        repeated = payload_case.body
    for body in (
        b"\xef\xbb\xbf" + payload_case.body,
        json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode(),
        json.dumps(value, ensure_ascii=False, indent=8).encode("utf-8", "surrogatepass"),
        b"\r\n" + payload_case.body + b"\n",
        repeated,
    ):
        decoded = decode(payload_case.notification()._replace(body=body))
        assert [readable(record) for record in decoded] == expected


@pytest.mark.parametrize(
    "payload_case",
    [payload_case for payload_case in ALL if payload_case.path.suffix == ".json"],
    ids=lambda payload_case: payload_case.name,
)
def test_utf16_is_refused_and_says_so(payload_case: Case) -> None:
    utf16 = payload_case.body.decode().encode("utf-16")
    decoded = decode(payload_case.notification()._replace(body=utf16))
    assert [fact.table for fact in decoded] == ["rejected"]
    assert "UTF-16" in decoded[0].reason


def check_invariant(name: str, body: bytes) -> None:
    """Assert that `body` decodes purely, without a defect, to one record or rejection per element."""
    for endpoint in endpoints(name):
        check_invariant_at(endpoint, name, body)


def check_invariant_at(endpoint: str, name: str, body: bytes) -> None:
    """Assert that `body`, received by `endpoint`, decodes as :func:`check_invariant` says."""
    received = notification(body, name, endpoint=endpoint)
    decoded = decoder(received)(received)
    assert decoded == decoder(received)(received)
    for fact in decoded:
        assert isinstance(fact, Record | Rejected)
        assert not isinstance(fact, Rejected) or fact.reason_class is not Reason.DECODER, fact.reason
        assert not isinstance(fact, Record) or encodable(fact)
    assert len({paths[0] for paths in decoded.paths}) == len(decoded.paths) == len(decoded)
    if name in FORMS:
        assert len(decoded) == 1  # a form is one element
        return
    try:
        value = json.loads(body, parse_constant=int)  # NaN and Infinity are no JSON: int refuses them
    except ValueError:
        assert [fact.table for fact in decoded] == ["rejected"]
    else:
        count = COUNTS.get(name) or COUNTS_OF_MAPPINGS[endpoint]
        assert len(decoded) == count(value)
        cleaned = load_json(body)
        for paths in decoded.paths:
            for path in paths:
                resolve_path(cleaned, path)


def encodable(record: Record) -> bool:
    """Tell whether every text of `record` can be stored: no lone surrogate, no NUL."""
    texts = [
        value for value in (getattr(record, name) for name in record.__struct_fields__) if type(value) is str
    ]
    return all("\x00" not in value and value.encode() for value in texts if value)


@every_provider
@pytest.mark.parametrize("kinds", [1, pytest.param(len(JUNK), marks=pytest.mark.nightly)])
def test_any_value_in_any_place_costs_only_its_own_element(name: str, kinds: int) -> None:
    """Every place of every payload holds `kinds` kinds of junk, one after the other."""
    dice = random.Random(7)
    for root in payloads(name):
        for number in range(len(list(places(root)))):
            for junk in dice.sample(JUNK, kinds):
                check_invariant(name, json.dumps(put(root, number, junk)).encode())


def fuzz(name: str, examples: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(body=mutated_form(forms(name)) if name in FORMS else mutated(payloads(name)))
    def run(body: bytes) -> None:
        check_invariant(name, body)

    run()


@every_provider
def test_every_element_of_a_broken_payload_ends_as_one_record_or_rejection(name: str) -> None:
    fuzz(name, 200)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@every_provider
def test_every_element_of_many_broken_payloads_ends_as_one_record_or_rejection(name: str) -> None:
    fuzz(name, 20_000)


def test_at_finds_the_part_that_an_expectation_refers_to() -> None:
    assert at({"entry": [{"id": 1}, {"id": 2}]}, "$.entry[1].id") == 2
