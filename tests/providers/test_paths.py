"""The paths of a record: they lead to the parts of the body that it comes from, to all of them, and to no others."""

import copy
import json
from itertools import product
from typing import Any

import msgspec
import pytest

from gatherer.model import opt_outs, widths
from gatherer.model.records import Kind, Record, Rejected, Response
from gatherer.pipeline.decode import with_opt_outs
from gatherer.providers.base import Decoded
from gatherer.providers.paths import Path, load_body, path_text, resolve
from gatherer.providers.payload import UnreadableBodyError
from tests.providers import cases
from tests.providers.cases import ALL, Case, case

every_case = pytest.mark.parametrize("payload_case", ALL, ids=lambda payload_case: payload_case.name)

# Columns whose texts a body has as they are
VERBATIM = (
    "message_id",
    "about_message_id",
    "phone_raw",
    "user_id",
    "profile_name",
    "group_id",
    "template_id",
)


def load(payload_case: Case) -> Any:
    """Return the value of the body of the case; None where nothing can be read."""
    try:
        return load_body(payload_case.body)
    except UnreadableBodyError:
        return None


def put(value: Any, path: Path, part: Any) -> Any:
    """Return a copy of `value` with `part` at `path`."""
    if not path:
        return part
    changed = copy.deepcopy(value)
    resolve(changed, path[:-1])[path[-1]] = part
    return changed


def decode(value: Any, payload_case: Case) -> Decoded:
    """Return what becomes of the case with `value` as its body. Several lines are several lines again."""
    lines = value if isinstance(value, list) and not payload_case.body.startswith(b"[") else [value]
    body = b"\n".join(b"{" if isinstance(line, Exception) else json.dumps(line).encode() for line in lines)
    return cases.decode(payload_case.notification()._replace(body=body))


def without_provenance(fact: Record | Rejected) -> dict[str, Any]:
    """Return the fields of `fact` that do not depend on the bytes of the rest of the body."""
    fields = msgspec.structs.asdict(fact)
    if isinstance(fact, Rejected):
        return {name: fields[name] for name in ("path", "reason_class")}
    return fields


def contacts_of(value: Any, path: Path = ()) -> list[Path]:
    """Return the paths of all entries of every `contacts` in `value`."""
    if isinstance(value, list):
        return [contact for i, part in enumerate(value) for contact in contacts_of(part, (*path, i))]
    if not isinstance(value, dict):
        return []
    paths: list[Path] = []
    for name, part in value.items():
        if name == "contacts":
            entries = isinstance(part, list)
            paths += [(*path, name, i) for i in range(len(part))] if entries else [(*path, name)]
        else:
            paths += contacts_of(part, (*path, name))
    return paths


def is_within(path: Path, outer: Path) -> bool:
    return path[: len(outer)] == outer


# Every record of every payload


@every_case
def test_every_path_of_every_record_leads_to_a_part_of_the_body_that_has_its_texts(
    payload_case: Case,
) -> None:
    decoded = payload_case.decode()
    assert len(decoded.paths) == len(decoded)
    for fact, paths in decoded.with_paths():
        if isinstance(fact, Rejected):
            assert [path_text(path) for path in paths] == [fact.path]
        assert not any(is_within(a, b) for a, b in product(paths, paths) if a is not b)
        parts = [resolve(load(payload_case), path) for path in paths]
        texts = json.dumps(parts, ensure_ascii=False, default=str)
        details = json.loads(getattr(fact, "details", None) or "{}")
        whole = details.get(widths.DETAIL, {}) if isinstance(details, dict) else {}
        for column in VERBATIM:
            value = whole.get(column) or getattr(fact, column, None)
            if value:
                assert json.dumps(value, ensure_ascii=False).strip('"').lstrip("+") in texts, column


@every_case
def test_every_element_has_a_path_of_its_own(payload_case: Case) -> None:
    """Together with the contract, by which there is one record for each element: every element is covered."""
    own = [paths[0] for paths in payload_case.decode().paths]
    assert len(own) == len(set(own))


@every_case
def test_without_the_element_at_its_path_a_record_is_gone_and_no_other_changes(payload_case: Case) -> None:
    body = load(payload_case)
    decoded = payload_case.decode()
    for i, paths in enumerate(decoded.paths):
        changed = decode(put(body, paths[0], "removed"), payload_case)
        assert len(changed) == len(decoded)
        assert changed[i].key != decoded[i].key
        for j, fact in enumerate(decoded):
            if j != i and paths[0] not in decoded.paths[j]:
                assert without_provenance(changed[j]) == without_provenance(fact)


@every_case
def test_a_record_needs_the_contact_at_its_path_and_no_other(payload_case: Case) -> None:
    body = load(payload_case)
    decoded = payload_case.decode()
    elements = [paths[0] for paths in decoded.paths]
    contacts = [
        path for path in contacts_of(body) if not any(is_within(path, element) for element in elements)
    ]
    for i, (fact, paths) in enumerate(decoded.with_paths()):
        changed = body
        for number, path in enumerate(contacts):
            if path not in paths:
                changed = put(changed, path, {"wa_id": f"000{number}", "profile": {"name": "Another"}})
        if changed is not body:
            assert without_provenance(decode(changed, payload_case)[i]) == without_provenance(fact)
        for path in set(paths) & set(contacts):
            renamed = put(body, path, {**resolve(body, path), "profile": {"name": "Renamed"}})
            assert getattr(decode(renamed, payload_case)[i], "profile_name", None) == "Renamed"


def test_the_contact_of_an_everyday_receipt_is_among_its_paths() -> None:
    value = ("entry", 0, "changes", 0, "value")
    assert case("meta/status_sent").decode().paths == [
        ((*value, "statuses", 0), (*value, "contacts", 0)),
    ]


def test_an_opt_out_has_the_paths_of_its_reply() -> None:
    decoded = case("meta/text").decode()
    assert isinstance(decoded[0], Response)
    text = decoded[0].reply_text or ""
    facts = with_opt_outs(decoded, opt_outs.normalised([text]))
    assert [fact.kind for fact in facts if isinstance(fact, Response)] == [Kind.REPLIED, Kind.OPTED_OUT]
    assert facts.paths == [decoded.paths[0]] * 2
    assert len(facts.paths[0]) == 2  # the message and the contact


# Paths as such


def test_a_path_leads_through_lines_forms_and_json_in_texts() -> None:
    lines = load_body(b'{"a": [1]}\r\n\r\n{"a": [2, 3]}\n')
    assert resolve(lines, (1, "a", 1)) == 3
    assert resolve(load_body(b"Body=hello&MediaUrl0=x&MediaUrl0=y"), ("MediaUrl0", 1)) == "y"
    form = load_body(b"FlowData=%7B%22answers%22%3A%5B%22yes%22%5D%7D")
    assert resolve(form, ("FlowData", "answers", 0)) == "yes"
    flow = case("meta/flow_answer")
    answers = (*flow.decode().paths[0][0], "interactive", "nfm_reply", "response_json")
    text = resolve(load_body(flow.body), answers)
    for name, answer in json.loads(text).items():
        assert resolve(load_body(flow.body), (*answers, name)) == answer


@pytest.mark.parametrize(
    "path", [("b",), (0,), ("a", "x"), ("a", 1), ("a", 0, "x"), ("t", "x"), ("n", 0), ("n", "x"), ("j", "x")]
)
def test_a_path_that_leads_nowhere_is_an_error(path: Path) -> None:
    with pytest.raises(LookupError):
        resolve({"a": [1], "t": "no JSON", "n": None, "j": '{"y": 1}'}, path)


def test_two_paths_never_have_the_same_text() -> None:
    steps = ("a", "b", "", "0", 0, 1, "a.b", "a[0]", '"', '["a"]', "$", "é", "a b", "\n")
    paths = [path for length in range(4) for path in product(steps, repeat=length)]
    assert len({path_text(path) for path in paths}) == len(paths)


def test_a_path_is_written_as_people_read_it() -> None:
    assert path_text(()) == "$"
    path = ("entry", 0, "changes", 1, "value", "statuses", 2)
    assert path_text(path) == "$.entry[0].changes[1].value.statuses[2]"
    assert path_text(("a key", "ü", 3)) == '$["a key"]["ü"][3]'
