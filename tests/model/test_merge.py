"""Merging deliveries of the same fact: the result does not depend on their order, grouping or number."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import permutations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gatherer.model.merge import TOGETHER, fold, merge
from gatherer.model.records import Kind, Response, TimeSource, make_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
moments = st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes))
texts = st.sampled_from([None, "", "a", "b", "ä", "B"])
sources: st.SearchStrategy[TimeSource] = st.sampled_from(["element", "entry", "receipt"])

responses = st.builds(
    Response,
    key=st.just(b"k" * 16),
    provider=st.sampled_from(["meta", "onprem"]),
    endpoint=st.sampled_from(["one", "two"]),
    inbox_id=st.sampled_from(["i", "j"]),
    notification_id=st.integers(0, 3),
    received_at=moments,
    occurred_at=moments,
    occurred_at_source=sources,
    kind=st.just(Kind.FAILED),
    account_id=texts,
    is_test=st.booleans(),
    phone=texts,
    profile_name=texts,
    emoji=texts,
    billable=st.sampled_from([None, True, False]),
    error_code=st.sampled_from([None, 1, 2]),
    error_title=texts,
    errors=texts,
    details=texts,
)


@given(responses, responses)
def test_merging_is_commutative(first: Response, second: Response) -> None:
    assert merge(first, second) == merge(second, first)


@given(responses, responses, responses)
def test_merging_is_associative(first: Response, second: Response, third: Response) -> None:
    assert merge(merge(first, second), third) == merge(first, merge(second, third))


@given(responses, responses)
def test_merging_is_idempotent(first: Response, second: Response) -> None:
    assert merge(first, first) == first
    merged_response = merge(first, second)
    assert merge(merged_response, first) == merged_response == merge(merged_response, second)


@given(st.lists(responses, min_size=2, max_size=4))
def test_fold_does_not_depend_on_the_order(deliveries: list[Response]) -> None:
    results = [fold(order) for order in permutations(deliveries)]
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 1


@given(responses, responses)
def test_columns_that_belong_together_come_from_one_delivery(first: Response, second: Response) -> None:
    merged_response = merge(first, second)
    for group in TOGETHER:
        merged = [getattr(merged_response, name) for name in group]
        assert merged in ([getattr(first, name) for name in group], [getattr(second, name) for name in group])


@given(responses, responses)
def test_no_value_of_a_delivery_is_lost(first: Response, second: Response) -> None:
    merged_response = merge(first, second)
    grouped = {name for group in TOGETHER for name in group}
    for name in set(Response.__struct_fields__) - grouped:
        values = [value for value in (getattr(first, name), getattr(second, name)) if value is not None]
        assert getattr(merged_response, name) == (min(values) if values else None)


def response(**columns: object) -> Response:
    base = Response(
        key=b"k" * 16, provider="meta", endpoint="one", inbox_id="i", notification_id=1, received_at=NOON,
        occurred_at=NOON, occurred_at_source="receipt", kind=Kind.SENT,
    )  # fmt: skip
    return msgspec.structs.replace(base, **columns)


def test_the_time_of_the_element_wins_over_entry_and_receipt_even_if_later() -> None:
    own = response(occurred_at=NOON + timedelta(days=1), occurred_at_source="element")
    entry = response(occurred_at=NOON + timedelta(hours=1), occurred_at_source="entry")
    assert merge(merge(response(), entry), own).occurred_at == own.occurred_at
    assert merge(own, response()).occurred_at_source == "element"


def test_the_earlier_of_two_times_of_the_same_source_wins() -> None:
    late = response(occurred_at=NOON + timedelta(seconds=1), occurred_at_source="element")
    early = response(occurred_at_source="element")
    assert merge(late, early).occurred_at == NOON


def test_the_first_notification_of_a_fact_is_preserved() -> None:
    redelivered = response(received_at=NOON + timedelta(hours=1), notification_id=2, endpoint="aaa")
    assert merge(redelivered, response()) == response()


def test_an_empty_text_is_a_value_and_none_is_not() -> None:
    full = response(profile_name="Robin", emoji="")
    assert merge(response(), full) == full == merge(full, response())
    assert merge(full, response(emoji="x")).emoji == ""


def test_all_error_columns_come_from_one_delivery() -> None:
    first = response(errors="[1]", error_code=9, error_title="z")
    second = response(errors="[2]", error_code=1, error_title="a")
    assert merge(first, second) == first == merge(second, first)


def test_fold_keeps_different_facts_apart_in_order_of_first_appearance() -> None:
    second = response(key=b"a" * 16)
    assert fold([response(), second, response(notification_id=2), second]) == [response(), second]


def test_a_key_can_be_computed_outside_gatherer() -> None:
    """In T-SQL: CONVERT(binary(16), HASHBYTES('SHA2_256', CONCAT('whatsapp', CHAR(31), 'read', CHAR(31), 'wamid.1', CHAR(31))))."""
    assert (
        make_key("whatsapp", "read", "wamid.1").hex()
        == sha256(b"whatsapp\x1fread\x1fwamid.1\x1f").hexdigest()[:32]
    )
