"""What goes of a post is chosen without decoding it once for each element, and goes from wherever it stands."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.model.notification import Notification
from gatherer.model.person import Person
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy import bodies, cutting, separating
from gatherer.privacy.holding import hold
from gatherer.targets.base import Batch
from tests.factories import notification
from tests.privacy.test_erasing_others import ANN, BOB, card, message, post

PERSON = Person(phones=frozenset({f"+{ANN}"}))
OTHERS = [card, *(message(BOB, f"wamid.B{n:06}") for n in range(50))]
THEIRS = [message(ANN, f"wamid.A{n:06}") for n in range(300)]


def test_one_element_of_somebody_else_among_many_costs_few_steps() -> None:
    decoded = 0

    def decode(posts: Sequence[Notification]) -> Batch:
        nonlocal decoded
        decoded += 1
        return decode_batch(posts, frozenset())

    held = hold(notification(post(*THEIRS[:100], *OTHERS, *THEIRS[100:])), PERSON, decode)
    assert held is not None
    assert ANN.encode() not in held.rest
    assert {record.message_id for record in decode([notification(held.rest)]).records} == {
        one["id"] for one in OTHERS
    }
    assert held.entangled == []
    assert decoded < 60


def test_where_it_would_take_too_long_to_tell_nobody_loses_anything_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cutting, "_MOST_TRIALS", 3)
    held = hold(
        notification(post(*THEIRS[:5], *OTHERS)), PERSON, lambda posts: decode_batch(posts, frozenset())
    )
    assert held is not None
    assert ANN.encode() not in held.rest
    left = decode_batch([notification(held.rest)], frozenset()).records if held.rest else []
    said = {getattr(record, "message_id", None) for record in [*left, *held.entangled]}
    assert said == {one["id"] for one in OTHERS}


names = st.sampled_from(["a", "b", "phone", ANN])
leaves = st.sampled_from([ANN, f"+{ANN}", int(ANN), BOB, "x", "", None, 1, True, "{", "[]"])


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
    return some | some.map(json.dumps)


values = st.recursive(leaves, containers, max_leaves=12)


@given(st.dictionaries(names, values, min_size=1), st.randoms(use_true_random=False))
def test_whatever_is_to_stay_nothing_of_the_person_does(value: Any, random: Any) -> None:
    found = separating.mentions(value, PERSON.knows)
    elements = {one.element for one in found}
    keep = {one for one in separating.surroundings(elements) if random.random() < 0.5}
    places = {one.place for one in found if one.element in keep}
    body = bodies.dump(value)
    rest = separating.without(bodies.load(body), elements - keep, places, keep)
    assert separating.mentions(rest, PERSON.knows) == []
    assert rest is None or bodies.load(bodies.dump(rest)) == rest
    held = hold(notification(body), PERSON, lambda posts: decode_batch(posts, frozenset()))
    assert (held is None) == (not found)
    assert held is None or ANN.encode() not in held.rest
    json.dumps(held and held.theirs)
