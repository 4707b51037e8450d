"""Two deliveries of one fact: the result never depends on their order, grouping or number."""

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
def test_merging_is_commutative(one: Response, other: Response) -> None:
    assert merge(one, other) == merge(other, one)


@given(responses, responses, responses)
def test_merging_is_associative(one: Response, two: Response, three: Response) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(responses, responses)
def test_merging_is_idempotent(one: Response, other: Response) -> None:
    assert merge(one, one) == one
    both = merge(one, other)
    assert merge(both, one) == both == merge(both, other)


@given(st.lists(responses, min_size=2, max_size=4))
def test_folding_in_any_order_is_the_same(deliveries: list[Response]) -> None:
    results = [fold(order) for order in permutations(deliveries)]
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 1


@given(responses, responses)
def test_columns_that_belong_together_come_from_one_delivery(one: Response, other: Response) -> None:
    both = merge(one, other)
    for group in TOGETHER:
        merged = [getattr(both, name) for name in group]
        assert merged in ([getattr(one, name) for name in group], [getattr(other, name) for name in group])


@given(responses, responses)
def test_what_one_delivery_knows_is_never_lost(one: Response, other: Response) -> None:
    both = merge(one, other)
    grouped = {name for group in TOGETHER for name in group}
    for name in set(Response.__struct_fields__) - grouped:
        known = [value for value in (getattr(one, name), getattr(other, name)) if value is not None]
        assert getattr(both, name) == (min(known) if known else None)


def response(**columns: object) -> Response:
    base = Response(
        key=b"k" * 16, provider="meta", endpoint="one", inbox_id="i", notification_id=1, received_at=NOON,
        occurred_at=NOON, occurred_at_source="receipt", kind=Kind.SENT,
    )  # fmt: skip
    return msgspec.structs.replace(base, **columns)


def test_the_elements_own_time_beats_the_entrys_and_receipt_however_late() -> None:
    own = response(occurred_at=NOON + timedelta(days=1), occurred_at_source="element")
    entry = response(occurred_at=NOON + timedelta(hours=1), occurred_at_source="entry")
    assert merge(merge(response(), entry), own).occurred_at == own.occurred_at
    assert merge(own, response()).occurred_at_source == "element"


def test_of_two_times_of_one_source_the_earlier_stands() -> None:
    late = response(occurred_at=NOON + timedelta(seconds=1), occurred_at_source="element")
    early = response(occurred_at_source="element")
    assert merge(late, early).occurred_at == NOON


def test_the_first_receipt_stays_the_first_receipt() -> None:
    again = response(received_at=NOON + timedelta(hours=1), notification_id=2, endpoint="aaa")
    assert merge(again, response()) == response()


def test_nothing_known_is_filled_and_nothing_filled_is_emptied() -> None:
    full = response(profile_name="Robin", emoji="")
    assert merge(response(), full) == full == merge(full, response())
    assert merge(full, response(emoji="x")).emoji == ""


def test_all_error_columns_come_from_one_delivery() -> None:
    one = response(errors="[1]", error_code=9, error_title="z")
    other = response(errors="[2]", error_code=1, error_title="a")
    assert merge(one, other) == one == merge(other, one)


def test_different_facts_stay_apart_in_order_of_first_appearance() -> None:
    other = response(key=b"a" * 16)
    assert fold([response(), other, response(notification_id=2), other]) == [response(), other]


def test_a_key_can_be_computed_by_others_as_well() -> None:
    """In T-SQL: CONVERT(binary(16), HASHBYTES('SHA2_256', CONCAT('whatsapp', CHAR(31), 'read', CHAR(31), 'wamid.1', CHAR(31))))."""
    assert (
        make_key("whatsapp", "read", "wamid.1").hex()
        == sha256(b"whatsapp\x1fread\x1fwamid.1\x1f").hexdigest()[:32]
    )
