"""The mapping of an endpoint, from the configuration into the target: gather, replay, erase and decode use it."""

import json
from pathlib import Path

from tests.factories import call, configure, fill_inbox, rows, run

ENDPOINT = '[[endpoint]]\nname = "courier"\nprovider = "json"\npath = "/courier"\nunauthenticated = true\n'
MAPPING = (
    ENDPOINT
    + """
opt_out_keywords = ["Genug"]
[endpoint.mapping]
elements = "/events/*"
kind = "/type"
message_id = "/id"
phone = "/person"
occurred_at = "/at"
text = "/text"
"""
)
EVENTS = [
    {"type": "delivered", "id": "m-1", "person": "447700900123", "at": 1_790_000_000},
    {"type": "replied", "id": "m-2", "person": "447700900123", "at": 1_790_000_010, "text": "genug"},
    {"type": "delivered", "id": "m-3", "person": "447700900124", "at": 1_790_000_000},
]
BODY = json.dumps({"events": EVENTS}).encode()
PRIVACY = '[privacy]\nkey = "0123456789abcdef0123456789abcdef"\n'


def fill(folder: Path) -> None:
    fill_inbox(folder / "inbox.db", [BODY], provider="json", endpoint="courier")


def responses(folder: Path) -> list[tuple[str, str]]:
    return sorted((row["kind"], row["message_id"]) for row in rows(folder / "responses.db"))


ALL = [("delivered", "m-1"), ("delivered", "m-3"), ("opted_out", "m-2"), ("replied", "m-2")]


def test_gather_decodes_with_the_mapping_and_the_keywords_of_the_endpoint(tmp_path: Path) -> None:
    configure(tmp_path, MAPPING)
    fill(tmp_path)
    run(tmp_path, "gather")
    assert responses(tmp_path) == ALL
    assert rows(tmp_path / "responses.db", "rejected") == []


def test_what_was_gathered_without_a_mapping_is_replayed_with_one(tmp_path: Path) -> None:
    configure(tmp_path, "")  # as on a machine that gathers only
    fill(tmp_path)
    run(tmp_path, "gather")
    (rejected,) = rows(tmp_path / "responses.db", "rejected")
    assert (rejected["path"], rejected["reason_class"]) == ("$", "unknown_provider")
    assert "the endpoint 'courier' has no mapping" in rejected["reason"]
    configure(tmp_path, MAPPING)
    run(tmp_path, "replay", "--rejected")
    assert responses(tmp_path) == ALL
    (rejected,) = rows(tmp_path / "responses.db", "rejected")
    assert rejected["resolved_at"]


def test_a_corrected_mapping_replaces_the_rows_of_the_wrong_one(tmp_path: Path) -> None:
    configure(tmp_path, MAPPING.replace('message_id = "/id"', 'message_id = "/at"'))
    fill(tmp_path)
    run(tmp_path, "gather")
    assert responses(tmp_path) != ALL
    configure(tmp_path, MAPPING)
    run(tmp_path, "replay", "--all", "--rebuild")
    assert responses(tmp_path) == ALL


def test_a_person_is_erased_from_mapped_notifications_for_good(tmp_path: Path) -> None:
    configure(tmp_path, PRIVACY + MAPPING)
    fill(tmp_path)
    run(tmp_path, "gather")
    run(tmp_path, "privacy", "erase", "--phone", "+447700900123", "--yes")
    assert responses(tmp_path) == [("delivered", "m-3")]
    fill(tmp_path)  # the service repeats the request
    run(tmp_path, "gather")
    assert responses(tmp_path) == [("delivered", "m-3")]


def test_decode_shows_what_the_mapping_of_an_endpoint_makes_of_a_file(tmp_path: Path) -> None:
    configure(tmp_path, MAPPING)
    (tmp_path / "body.json").write_bytes(BODY)
    lines = run(tmp_path, "decode", "json", "--endpoint", "courier", "body.json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["delivered", "replied", "delivered"]
    run(tmp_path, "gather")
    fill(tmp_path)
    run(tmp_path, "gather")
    keys = {row["key"].hex() for row in rows(tmp_path / "responses.db")}
    assert {json.loads(line)["key"] for line in lines} < keys


def test_decode_says_which_endpoint_it_needs(tmp_path: Path) -> None:
    configure(tmp_path, MAPPING)
    for arguments, words in (
        (("json",), "choose the endpoint that has it with --endpoint"),
        (("json", "--endpoint", "curier"), "there is no endpoint 'curier'; the configuration has: courier"),
        (("meta", "--endpoint", "courier"), "the provider of the endpoint 'courier' is json, not meta"),
    ):
        result = call(tmp_path, "decode", *arguments, stdin=BODY)
        assert result.returncode == 2
        assert words in result.stderr.decode()
