"""JSON Pointers: what RFC 6901 says, `*` for all elements of an array, and paths that lead to what was found."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.providers.paths import Path, resolve
from gatherer.providers.pointer import EACH, Part, Pointer

# The example of RFC 6901, section 5
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
EXAMPLES: dict[str, Any] = {
    "": DOCUMENT,
    "/foo": ["bar", "baz"],
    "/foo/0": "bar",
    "/": 0,
    "/a~1b": 1,
    "/c%d": 2,
    "/e^f": 3,
    "/g|h": 4,
    "/i\\j": 5,
    '/k"l': 6,
    "/ ": 7,
    "/m~0n": 8,
}

names = st.text(alphabet="ab/~01*", max_size=3)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)
tokens = st.lists(names | st.sampled_from([EACH, "0", "1", "-", "00"]), max_size=4).map(tuple)


@pytest.mark.parametrize("text", EXAMPLES)
def test_each_example_of_the_rfc_leads_to_its_value(text: str) -> None:
    pointer = Pointer.parse(text)
    assert pointer.first(DOCUMENT) == EXAMPLES[text]
    assert [part.value for part in pointer.select(DOCUMENT).found] == [EXAMPLES[text]]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("results", "begins with a slash"),
        ("$.results", "begins with a slash"),
        ("/a~", "write ~0 for ~"),
        ("/a~2b", "write ~0 for ~"),
    ],
)
def test_what_is_no_pointer_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        Pointer.parse(text)


@given(tokens)
def test_a_pointer_is_written_as_it_was_read(parts: tuple[str, ...]) -> None:
    assert Pointer.parse(str(Pointer(parts))) == Pointer(parts)


def test_a_star_selects_each_element_of_an_array_with_its_path() -> None:
    document = {"entry": [{"changes": [{"id": 1}, {"id": 2}]}, {"changes": [{"id": 3}]}]}
    selection = Pointer.parse("/entry/*/changes/*/id").select(document)
    assert selection.found == [
        Part(("entry", 0, "changes", 0, "id"), 1),
        Part(("entry", 0, "changes", 1, "id"), 2),
        Part(("entry", 1, "changes", 0, "id"), 3),
    ]
    assert selection.missed == []


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"e": {"id": 1}}, [Part(("e",), {"id": 1})]),
        ({"e": []}, []),
        ({"e": None}, []),
        ({"e": 5}, [Part(("e",), 5)]),
    ],
)
def test_a_star_takes_what_is_no_array_as_the_only_element(document: Any, found: list[Part]) -> None:
    assert Pointer.parse("/e/*").select(document) == (found, [])


def test_each_part_without_the_next_step_is_missed() -> None:
    document = {"entry": [{"changes": [1]}, {"other": [2]}, "text", {"changes": [3]}]}
    selection = Pointer.parse("/entry/*/changes/*").select(document)
    assert [part.value for part in selection.found] == [1, 3]
    assert selection.missed == [Part(("entry", 1), {"other": [2]}), Part(("entry", 2), "text")]


@pytest.mark.parametrize("token", ["2", "-1", "-", "00", "01", "+1", "1.0", "٠", "9" * 5000, ""])
def test_only_the_plain_number_of_an_element_leads_into_an_array(token: str) -> None:
    pointer = Pointer((token,))
    assert pointer.select(["a", "b"]) == ([], [Part((), ["a", "b"])])
    assert pointer.first(["a", "b"]) is None
    assert pointer.first({token: 1}) == 1


def test_a_step_from_a_text_leads_into_the_json_in_it() -> None:
    document = {"response": json.dumps([{"id": 1}, {"id": 2}]), "none": "no JSON"}
    selection = Pointer.parse("/response/*/id").select(document)
    assert selection.found == [Part(("response", 0, "id"), 1), Part(("response", 1, "id"), 2)]
    assert Pointer.parse("/response/1/id").first(document) == 2
    assert Pointer.parse("/none/id").select(document) == ([], [Part(("none",), "no JSON")])


@given(documents, tokens)
def test_every_path_found_leads_to_its_value_and_no_part_is_selected_twice(
    document: Any, parts: tuple[str, ...]
) -> None:
    selection = Pointer(parts).select(document)
    paths = [part.path for part in (*selection.found, *selection.missed)]
    assert len(paths) == len(set(paths))
    for part in (*selection.found, *selection.missed):
        assert resolve(document, part.path) == part.value


@given(documents, tokens)
def test_the_first_value_is_the_first_of_the_selection(document: Any, parts: tuple[str, ...]) -> None:
    found = Pointer(parts).select(document).found
    assert Pointer(parts).first(document) == (found[0].value if found else None)


@given(documents)
def test_a_pointer_to_each_part_of_a_document_leads_there(document: Any) -> None:
    for path, value in parts_of(document):
        if EACH not in path:
            assert Pointer(tuple(map(str, path))).select(document).found == [Part(path, value)]


def parts_of(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    """Return `value`, which stands at `path`, and every part of it, each after its path."""
    parts = [(path, value)]
    inner = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for step, item in inner:
        parts += parts_of(item, (*path, step))
    return parts
