"""What the sieve holds back has nothing of the person."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatherer.model import phones
from gatherer.model.person import Person
from gatherer.privacy import bodies, separating
from gatherer.privacy.sieve import Sieve

ANN = Person(
    phones=frozenset({"+4917011111111"}),
    user_ids=frozenset({"DE.13491208655302741918"}),
    message_ids=frozenset(
        {"wamid.HBgLMTU1NTAwMDExMTEVAgARGBI=", "ABEGkYaYVSEE/AhDLJ1g", "urn:message:1&more"}
    ),
)
ODD = Person(user_ids=frozenset({"user ä 1"}), message_ids=frozenset({'odd id, "1"'}))
IDS = sorted((ANN | ODD).user_ids | (ANN | ODD).message_ids)

between = st.text(st.sampled_from(phones.SEPARATORS), max_size=2)


@st.composite
def numbers(draw: st.DrawFn) -> str:
    digits = draw(st.sampled_from(["4917011111111", "4917011111112", "491701111111"]))
    prefix = draw(st.sampled_from(["", "+", "00", "tel:+", "whatsapp:+", "1"]))
    return prefix + "".join(draw(between) + digit for digit in digits) + draw(between)


texts = st.one_of(
    numbers(), st.sampled_from(IDS), st.sampled_from([f"whatsapp:{one}" for one in IDS]), st.text(max_size=5)
)
values = st.recursive(
    st.one_of(texts, st.just(4917011111111)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(texts, inner, max_size=3),
        inner.map(json.dumps),
        inner.map(lambda value: json.dumps(value, ensure_ascii=False)),
    ),
    max_leaves=6,
)
posts = st.one_of(
    st.tuples(values, st.booleans()).map(lambda one: json.dumps(one[0], ensure_ascii=one[1]).encode()),
    st.dictionaries(st.sampled_from(["Body", "From", "X"]), texts, min_size=1).map(
        lambda one: urlencode(one).encode()
    ),
    st.tuples(st.sampled_from(" \":,'/="), st.lists(texts, min_size=1)).map(
        lambda one: ("broken { " + one[0].join(one[1])).encode()
    ),
)


@given(posts)
@example(b'{"a": "\\u0034917011111111"}')
@example(b'{"a": "49\\/170\\t11111111"}')
@example(b'{"a": "49\\u00a0170\\u201111111111"}')
@example(b'{"a": "{\\"phone\\": \\"4917011111111\\"}"}')
def test_what_is_held_back_mentions_nobody(body: bytes) -> None:
    for person in (ANN, ODD):
        if separating.mentions(bodies.load(body), person.knows):
            assert Sieve(person).lets_through(body)


@pytest.mark.parametrize(
    "body",
    [
        {"from": "4917011111112", "id": "wamid.HBgLMTU1NTAwMDExMTEVAgARGBJ="},
        {"text": {"body": "schöne Grüße 🎉"}},
        {"user": "DE.1349120865530274191"},
        [],
    ],
)
def test_most_of_what_is_about_others_is_held_back(body: Any) -> None:
    assert not Sieve(ANN).lets_through(json.dumps(body, ensure_ascii=False).encode())


def test_nothing_is_looked_for_where_nothing_is_known() -> None:
    assert not Sieve(Person()).lets_through(b'{"from": "4917011111111"}')
