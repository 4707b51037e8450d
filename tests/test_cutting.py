"""What goes of a post is chosen without decoding it once for each element."""

from collections.abc import Sequence

import pytest

from gatherer import cutting
from gatherer.decoding import decode_batch
from gatherer.erasure import Person
from gatherer.holding import hold
from gatherer.notification import Notification
from gatherer.targets.base import Batch
from tests.making import notification
from tests.test_erasing_others import ANN, BOB, card, message, post

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
