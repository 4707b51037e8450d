"""`[endpoint.mapping]`: each mistake has one line, with the path of its key and what to write instead."""

import tomllib
from pathlib import Path

import pytest

from gatherer.config import JSONMapping, sample
from tests.config.test_config import load, problems
from tests.factories import call, configure

ENDPOINT = '[[endpoint]]\nname = "courier"\nprovider = "json"\npath = "/courier"\nunauthenticated = true\n'
MAPPING = ENDPOINT + "[endpoint.mapping]\n"
CASE = MAPPING + "[[endpoint.mapping.case]]\n"
WRONG = {
    'phone = "to"': "phone[0]: a JSON Pointer begins with a slash",
    "phone = 5": 'phone[0]: expected a JSON Pointer, as in "/results/0/id"',
    'phone = ["/to", "from"]': "phone[1]: a JSON Pointer begins with a slash",
    'elements = "/a~b"': "elements: in a JSON Pointer, write ~0 for ~ and ~1 for /",
    'elements = ["/a"]': "elements: expected a JSON Pointer",
    'kind = "status"': 'kind: expected a JSON Pointer, as in "/status", or one of: sent, delivered, read,',
    'kind = ["/status", "sent"]': "kind: a JSON Pointer begins with a slash",
    'reply_type = "picture"': 'reply_type: expected a JSON Pointer, as in "/type", or one of: text, button,',
    'kinds = { DLVRD = "arrived" }': "kinds.DLVRD: expected one of: sent, delivered, read,",
    'kinds = { DLVRD = "delivered", dlvrd = "read" }': "kinds: the word dlvrd has two kinds",
    'id_space = "a b"': "id_space: must match",
    'telephone = "/to"': "telephone: there is no such key",
    'message = "/id"': "message: there is no such key; did you mean message_id?",
    'when = { "/a" = "b" }': "when: there is no such key",
}
WRONG_CASES = {
    'kind = "sent"': "case[0].when: is missing",
    "when = {}": "case[0].when: ",
    'when = { a = "b" }': "case[0].when: a JSON Pointer begins with a slash",
    'when = { "/a" = { b = 1 } }': "case[0].when./a: expected a word",
    'when = { "/a" = "b" }\nelements = "/x"': "case[0].elements: there is no such key",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_mistake_in_a_mapping_is_reported_with_its_key(tmp_path: Path, line: str) -> None:
    (problem,) = problems(tmp_path, MAPPING + line)
    assert problem.startswith(f"endpoint[0].mapping.{WRONG[line]}")


@pytest.mark.parametrize("line", WRONG_CASES)
def test_a_mistake_in_a_case_is_reported_with_its_key(tmp_path: Path, line: str) -> None:
    (problem,) = problems(tmp_path, CASE + line)
    assert problem.startswith(f"endpoint[0].mapping.{WRONG_CASES[line]}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ENDPOINT + 'mapping = "/a"', "mapping: must be a table, as in [endpoint.mapping] or { … }"),
        (
            MAPPING + "[endpoint.mapping.case]",
            "mapping.case: write [[endpoint.mapping.case]], with two brackets, before each case",
        ),
    ],
)
def test_a_table_in_the_wrong_form_is_reported_with_its_heading(
    tmp_path: Path, text: str, problem: str
) -> None:
    assert problems(tmp_path, text) == [f"endpoint[0].{problem}"]


def test_only_the_provider_json_has_a_mapping(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, (MAPPING + 'kind = "/a"').replace('"json"', '"wati"'))
    assert problem == 'endpoint[0]: a mapping needs provider = "json"'


def test_config_check_warns_of_a_missing_mapping(tmp_path: Path) -> None:
    configure(tmp_path, ENDPOINT)
    result = call(tmp_path, "config", "check")
    assert result.returncode == 0
    assert b"endpoint[0] courier: it has no mapping" in result.stderr
    assert b"on the machine that gathers" in result.stderr
    configure(tmp_path, MAPPING + 'kind = "/a"')
    assert b"mapping" not in call(tmp_path, "config", "check").stderr


@pytest.mark.parametrize("name", [name for name in sample.names() if name.startswith("providers/")])
def test_a_mapping_that_config_show_prints_is_the_same_mapping(tmp_path: Path, name: str) -> None:
    configure(tmp_path, sample.text(name))
    shown = call(tmp_path, "config", "show").stdout.decode()
    written = load(tmp_path, sample.text(name)).endpoint[0].mapping
    assert written is not None
    assert JSONMapping.model_validate(tomllib.loads(shown)["endpoint"][0]["mapping"]) == written
