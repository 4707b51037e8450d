"""What a body says about a person can be taken out of it, and nothing else goes with it."""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer import providers
from gatherer.model.notification import Notification
from gatherer.model.person import Person
from gatherer.model.records import Record, Response
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.holding import Held, hold
from gatherer.targets.base import Batch
from tests.factories import envelope, notification, status, text, value

ANN, BOB, EVE = "4917011111111", "4917022222222", "15550003333"
PERSON = Person(phones=frozenset({f"+{ANN}"}))


def held(body: bytes, provider: str = "meta", person: Person = PERSON) -> Held | None:
    return hold(notification(body, provider=provider), person, decode)


def decode(posts: Sequence[Notification]) -> Batch:
    return decode_batch(posts, frozenset())


def rest_of(body: Any) -> Any:
    found = held(json.dumps(body).encode())
    assert found is not None
    return json.loads(found.rest) if found.rest else None


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ({"waId": ANN, "text": "hi"}, None),
        ({"waId": int(ANN), "text": "hi"}, None),
        ({"from": {"number": f"+{ANN}"}, "text": "hi"}, None),
        ([{"waId": ANN}, {"waId": BOB}], [{"waId": BOB}]),
        ({"results": [{"to": ANN}, {"to": BOB}], "n": 2}, {"results": [{"to": BOB}], "n": 2}),
        ({"results": [{"to": ANN}], "n": 1}, None),
        ({"a": [{"to": ANN}], "b": [{"to": BOB}]}, {"b": [{"to": BOB}]}),
        (
            {"a": [{"b": [{"to": f"0{ANN}"}, {"to": f"00{ANN}"}, {"to": f"whatsapp:+{ANN}"}]}]},
            {"a": [{"b": [{"to": f"0{ANN}"}]}]},
        ),
    ],
)
def test_the_innermost_element_around_an_identifier_goes(body: Any, rest: Any) -> None:
    assert rest_of(body) == rest


@pytest.mark.parametrize(
    "body",
    [
        {"waId": BOB, "text": f"call {ANN}"},
        {"waId": f"{ANN}9"},
        {"waId": ANN[:-1]},
        {"n": True, "list": [], "nothing": None, "half": 4917011111111.5},
    ],
)
def test_what_is_not_about_the_person_is_left_alone(body: Any) -> None:
    assert held(json.dumps(body).encode()) is None


def test_a_form_is_about_one_person() -> None:
    of_ann, of_bob = (
        urlencode({"From": f"whatsapp:+{phone}", "Body": "hi"}).encode() for phone in (ANN, BOB)
    )
    found = held(of_ann, "twilio")
    assert found is not None
    assert found.rest == b""
    assert held(of_bob, "twilio") is None


def test_of_json_in_lines_each_is_looked_at_alone() -> None:
    lines = [json.dumps({"waId": phone}).encode() for phone in (ANN, BOB, ANN)]
    found = held(b"\n".join(lines))
    assert found is not None
    assert found.rest == lines[1]
    assert found.theirs == [{"waId": ANN}, {"waId": ANN}]


def test_what_cannot_be_read_goes_as_a_whole() -> None:
    """Its lines could belong together."""
    found = held(b'{"from": "' + ANN.encode() + b'",\n"text": {"body": "secret')
    assert found is not None
    assert found.rest == b""


elements = st.lists(
    st.tuples(st.sampled_from([ANN, BOB, EVE]), st.booleans(), st.integers(1, 10**6)), max_size=5
)


@given(st.lists(elements, min_size=1, max_size=4))
def test_of_any_batch_exactly_the_facts_about_others_are_left(
    batches: list[list[tuple[str, bool, int]]],
) -> None:
    values = []
    for batch in batches:
        one = value(
            statuses=[status(f"wamid.{who}.{n}", recipient_id=who) for who, sent, n in batch if sent],
            messages=[text(f"wamid.{who}.{n}", **{"from": who}) for who, sent, n in batch if not sent],
        )
        one["contacts"] = [{"wa_id": who, "profile": {"name": who}} for who, sent, _ in batch if not sent]
        values.append(one)
    post = notification(envelope(*values))
    found = hold(post, PERSON, decode)
    facts = [fact for fact in providers.decode(post) if isinstance(fact, Response)]
    about_others = {fact.key for fact in facts if fact.phone != f"+{ANN}"}
    if found is None:
        assert len(about_others) == len({fact.key for fact in facts})
        return
    assert ANN.encode() not in found.rest
    left = providers.decode(post._replace(body=found.rest)) if found.rest else []
    kept = {fact.key for fact in left if isinstance(fact, Record)}
    assert kept | {fact.key for fact in found.entangled} == about_others
    assert not found.entangled, "batches of Meta's can always be taken apart"


@pytest.mark.parametrize(("provider", "kind"), list(product(["meta", "onprem"], ["statuses", "messages"])))
def test_hold_and_decode_agree_for_every_batching_provider(provider: str, kind: str) -> None:
    parts = {
        "statuses": [status("wamid.1", recipient_id=ANN), status("wamid.2", recipient_id=BOB)],
        "messages": [text("wamid.3", **{"from": ANN}), text("wamid.4", **{"from": BOB})],
    }
    body = (
        json.dumps({kind: parts[kind]}).encode()
        if provider == "onprem"
        else envelope(value(**{kind: parts[kind]}))
    )
    found = held(body, provider)
    assert found is not None
    left = providers.decode(notification(found.rest, provider=provider))
    assert [getattr(fact, "phone", None) for fact in left] == [f"+{BOB}"]
