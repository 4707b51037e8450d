"""The short way for everyday receipts and the long way for everything make the same records of the same bytes."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer.model.records import Response
from gatherer.providers.whatsapp import envelope
from gatherer.providers.whatsapp.everyday_receipts import decode_receipts
from scripts.benchmarks import decode as benchmark
from tests.providers.cases import ALL, Case, case, notification
from tests.providers.mutating import mutated, places, put


def check_same(body: bytes) -> bool:
    """Assert that both ways agree on `body`; tell whether the short one took it."""
    post = notification(body, "meta")
    receipts = decode_receipts(post, "meta")
    if receipts is None:
        return False
    decoded = envelope.decode_any(post, "meta")
    assert receipts == decoded
    assert receipts.paths == decoded.paths
    return True


@pytest.mark.parametrize("payload_case", ALL, ids=lambda payload_case: payload_case.name)
def test_both_ways_agree_on_every_payload(payload_case: Case) -> None:
    check_same(payload_case.body)


@pytest.mark.parametrize(
    "name",
    [
        "meta/status_sent", "meta/status_delivered", "meta/status_read_without_contacts",
        "meta/status_played_voice_message", "meta/status_with_conversation_of_version_23", "meta/test_button_status", "meta/phones_of_every_kind",
    ],
)  # fmt: skip
def test_everyday_receipts_take_the_short_way(name: str) -> None:
    assert check_same(case(name).body)


def test_what_the_benchmark_measures_takes_the_short_way() -> None:
    assert check_same(benchmark.body([benchmark.status(i) for i in range(100)]))


# Values that the short way might take for what they are not
TRICKY: tuple[Any, ...] = (
    "", " ", None, True, 0, -1, 1.0, 1.5, 1e300, 2**63, 2**64, 10**30, "1e9", "NaN", "wamid.É", "\u0000", "\ud800",
    "\U0001f602", [], {}, [{}], {"name": None}, "15550001111", "0", "123456123", 1790000000, "1790000000123",
)  # fmt: skip

EVERYDAY = [
    json.loads(case(f"meta/{name}").body)
    for name in ("status_sent", "status_delivered", "status_with_conversation_of_version_23")
]
EVERYDAY += [json.loads(benchmark.body([benchmark.status(i) for i in range(3)]))]


def test_both_ways_agree_with_any_value_in_any_place() -> None:
    taken = 0
    for root in EVERYDAY:
        for number in range(len(list(places(root)))):
            for junk in TRICKY:
                taken += check_same(json.dumps(put(root, number, junk)).encode())
    assert taken > 100


@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(body=mutated(EVERYDAY))
def test_both_ways_agree_on_broken_receipts(body: bytes) -> None:
    check_same(body)


contacts = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "wa_id": st.sampled_from(["", "15550001111", "15550003333", None]),
            "user_id": st.sampled_from(["", "US.1", "US.2", None]),
            "profile": st.sampled_from([None, {}, {"name": ""}, {"name": "A"}, {"name": None}]),
        },
    ),
    max_size=4,
)


@settings(deadline=None)
@given(contacts, st.sampled_from(["", "15550001111", None]), st.sampled_from(["", "US.1", "US.3", None]))
def test_both_ways_find_the_same_person(
    people: list[dict[str, Any]], phone: str | None, user_id: str | None
) -> None:
    status = {**benchmark.status(0), "recipient_id": phone, "recipient_user_id": user_id}
    body = json.loads(benchmark.body([status]))
    body["entry"][0]["changes"][0]["value"]["contacts"] = people
    assert check_same(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        benchmark.body([benchmark.status(0)])[:-1],
        benchmark.body([benchmark.status(0)]) + b"x",
        benchmark.body([benchmark.status(0)]).replace(b"campaign-7", b"\xff"),
        benchmark.body([benchmark.status(0)]).replace(b"campaign-7", b"a\\u0000b"),
        benchmark.body([benchmark.status(0)]).replace(b"campaign-7", b"a\\ud800b"),
        benchmark.body([benchmark.status(0)]).replace(b'"sent"', b"NaN"),
        b"\xef\xbb\xbf" + benchmark.body([benchmark.status(0)]),
    ],
)
def test_bytes_that_need_care_take_the_long_way(body: bytes) -> None:
    assert decode_receipts(notification(body, "meta"), "meta") is None


def test_the_short_way_reads_what_it_should() -> None:
    """Not only the same as the long way: also right."""
    [receipt] = decode_receipts(case("meta/status_sent").notification(), "meta") or []
    assert isinstance(receipt, Response)
    assert (receipt.kind, receipt.message_id, receipt.phone) == ("sent", "wamid.OUT1", "+15550001111")
    assert (receipt.pricing_category, receipt.billable, receipt.client_reference) == (
        "marketing",
        True,
        "campaign-7",
    )
