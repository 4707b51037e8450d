"""What others wrote of whoever is erased goes, however it is written, and `subject` shows what that would be."""

import json
from pathlib import Path
from typing import Any

import pytest

from gatherer.model.phones import comparable
from gatherer.privacy import bodies, separating
from tests.factories import call, fill_inbox, rows
from tests.privacy.test_erasing_others import (
    ANN,
    BOB,
    CARDS,
    card,
    erase,
    everything,
    facts,
    form,
    message,
    of,
    place,
    post,
)
from tests.privacy.test_erasing_redelivery import ask, later


def flow(answers: Any, message_id: str = "wamid.BFLOW000") -> dict[str, Any]:
    """Return Bob's reply to a Flow."""
    reply = {"name": "flow", "body": "Sent", "response_json": json.dumps(answers)}
    said = {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}
    return message(BOB, message_id) | said


def inbox(folder: Path) -> list[bytes]:
    return [body for (body,) in ask(folder, "SELECT body FROM notification ORDER BY id", database="inbox.db")]


def subject(folder: Path) -> Any:
    ended = call(folder, "privacy", "export", "--phone", f"+{ANN}")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


# --- bodies that are odd --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "places", "keep", "rest"),
    [
        ([("a", 0)], [("a",)], [], {"b": 1}),
        ([("a", 0)], [("a", 0, "x")], [], {"a": [2], "b": 1}),
        ([("a", 0), ("a", 1)], [], [()], {"b": 1}),
        ([("a", 0), ("a", 1)], [], [], None),
        ([], [("a",), ("a", 0, "x")], [], {"b": 1}),
        ([], [("a", 0, "x"), ("b",)], [], {"a": [2]}),
        ([], [()], [], None),
        ([], [("a",), ("b",)], [], None),
    ],
)
def test_what_goes_may_be_inside_of_what_goes(
    elements: list[separating.Path], places: list[separating.Path], keep: list[separating.Path], rest: Any
) -> None:
    assert separating.without({"a": [{"x": 1}, 2], "b": 1}, elements, places, keep) == rest


@pytest.mark.parametrize("said", [flow({ANN: [{"phone": ANN}, {"x": 1}]}), message(BOB, "wamid.B1") | {"extra": {ANN: [{"phone": ANN}, {"x": 1}]}}])  # fmt: skip
def test_a_number_that_is_a_name_and_stands_inside_as_well_stops_no_run(tmp_path: Path, said: Any) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1")), post(said)])
    erase(folder)
    fill_inbox(folder / "inbox.db", [post(said), post(message(BOB, "wamid.B2"))])
    assert call(folder, "gather").returncode == 0
    assert sorted(fact[4] for fact in facts(folder)) == sorted([said["id"], "wamid.B2"])
    assert ANN not in everything(folder)


def test_bodies_that_only_a_provider_can_read_stop_nobody(tmp_path: Path) -> None:
    folder = place(tmp_path / "form", [form(BOB, "SM" + "b" * 32, ANN) + b"&"], provider="twilio")
    erase(folder)
    assert [fact[5] for fact in of(folder, BOB)] == [None]
    assert ANN.encode() not in inbox(folder)[0]
    broken = b'{"object": "what Carl wrote'
    lines = [broken, post(message(BOB, "wamid.B1")), post(message(ANN, "wamid.A1"))]
    folder = place(tmp_path / "lines", [b"\n".join(lines)])
    bobs = of(folder, BOB)
    erase(folder)
    assert facts(folder) == bobs != []
    assert inbox(folder)[0].splitlines()[0] == broken
    assert len(rows(folder / "responses.db", "rejected")) == 1


@pytest.mark.parametrize(
    "body", [f'{{"from": "{ANN}", broken'.encode(), post(message(BOB, "wamid.B1")) + f"\n{ANN} broken".encode()]
)  # fmt: skip
def test_what_cannot_be_read_can_be_shown(tmp_path: Path, body: bytes) -> None:
    folder = place(tmp_path, [body])
    (shown,) = subject(folder)["notifications"]
    assert [ANN in element and "broken" in element for element in shown["elements"]] == [True]


# --- JSON inside texts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (flow({"friend": f"+{ANN}", "flow_token": "t"}), {"flow_token": "t"}),
        (flow({"friends": [{"phone": ANN}, {"phone": BOB}]}), {"friends": [{"phone": BOB}]}),
        (flow({"friends": [{"phone": ANN}], "n": 1}), {"n": 1}),
        (flow({"more": json.dumps({"phone": ANN, "n": 1})}), {"more": '{"n":1}'}),
        (flow({"friend": ANN}), None),
    ],
)
@pytest.mark.parametrize("batched", [False, True])
def test_json_inside_a_text_is_freed_in_the_inbox_as_in_the_target(
    tmp_path: Path, said: Any, left: Any, batched: bool
) -> None:
    bodies = [post(said, message(ANN, "wamid.A1"))] if batched else [post(said)]
    folder = place(tmp_path, bodies)
    erase(folder)
    (before,) = rows(folder / "responses.db")
    assert (before["reply_payload"] and json.loads(before["reply_payload"])) == left
    assert ANN not in everything(folder)
    assert ANN.encode() not in inbox(folder)[0]
    assert "found        nothing" in erase(folder)
    for again in (("replay", "--all"), ("replay", "--all", "--rebuild")):
        assert call(folder, *again).returncode == 0
        assert rows(folder / "responses.db") == [before], "written in the form that decoding yields"
    later(folder, bodies)
    assert rows(folder / "responses.db") == [before]


def test_a_text_that_is_json_is_a_text(tmp_path: Path) -> None:
    texts = [json.dumps({"phone": ANN, "n": 1}), json.dumps([ANN]), f'{{"broken": "{ANN}']
    folder = place(tmp_path, [post(message(BOB, f"wamid.B{n}", one)) for n, one in enumerate(texts)])
    erase(folder)
    left = {fact[4]: fact[5] for fact in facts(folder)}
    assert left == {"wamid.B0": '{"n":1}', "wamid.B1": None, "wamid.B2": texts[2]}
    assert [ANN.encode() in body for body in inbox(folder)] == [False, False, True]


@pytest.mark.parametrize("text", ["{", "[", "{}", "[1]", " [1, {\"a\": 2}] ", "[" * 5000, "{\"a\": 1e999}"])  # fmt: skip
def test_looking_into_texts_never_fails(text: str) -> None:
    value = bodies.inside(text)
    assert value is None or isinstance(value, dict | list)
    assert separating.mentions({"text": text}, lambda _: False) == []


# --- what is shown --------------------------------------------------------------------------------


def test_of_what_others_said_subject_shows_what_names_the_person_and_no_more(tmp_path: Path) -> None:
    quote = message(BOB, "wamid.BQUOTE00", "I agree", context={"from": ANN, "id": "wamid.X"}, group_id="G1")
    folder = place(tmp_path, [post(quote), post(card), post(message(BOB, "wamid.BTEXT000", ANN))])
    shown = subject(folder)
    assert len(shown["mentioned_in"]) == len(shown["notifications"]) == 3
    elements = [one["elements"] for one in shown["notifications"]]
    assert elements == [[{"from": ANN}], [{"phone": f"+{ANN}", "wa_id": ANN}], [{"body": ANN}]]
    assert sorted(map(str, (one["elements"] for one in shown["mentioned_in"]))) == sorted(
        map(str, [[{"from": ANN}], [{"phone": f"+{ANN}", "wa_id": ANN}], [ANN]])
    )
    assert BOB not in json.dumps(shown)


# --- spellings ------------------------------------------------------------------------------------

NATIONAL = {"phone": "0170 11111111", "type": "CELL", "wa_id": ANN}


@pytest.mark.parametrize("beside", [[], [message(BOB, "wamid.BTEXT000")], [message(ANN, "wamid.A1")]])
def test_the_number_as_it_is_dialled_at_home_goes_with_the_contact(tmp_path: Path, beside: Any) -> None:
    cards = card | {"contacts": [{"name": {"formatted_name": "Ann Miller"}, "phones": [NATIONAL]}]}
    folder = place(tmp_path, [post(cards, *beside)])
    bobs = of(folder, BOB)
    erase(folder)
    for again in ((), ("replay", "--all", "--rebuild")):
        assert not again or call(folder, *again).returncode == 0
        assert of(folder, BOB) == bobs
        for word in ("0170", "Ann Miller"):
            assert word not in everything(folder)
            assert word.encode() not in inbox(folder)[0]


def test_of_a_contact_with_the_numbers_of_two_people_the_other_stays(tmp_path: Path) -> None:
    contact = CARDS[1] | {"phones": [NATIONAL, *CARDS[1]["phones"]]}  # type: ignore[misc]
    folder = place(tmp_path, [post(card | {"contacts": [contact]})])
    erase(folder)
    (row,) = rows(folder / "responses.db")
    assert json.loads(row["reply_payload"]) == [CARDS[1]]


SPELLINGS = [
    "0049 170 11111111",
    "+49 170/11111111",
    "+49 170\u201111111111",
    f"tel:+{ANN}",
    f"TEL:{ANN}",
    "\u2066+49 170 11111111\u2069",
    "+49\u202f170\u202f11111111",
    "+49\t170 11111111",
    f"+{ANN}\n",
    f"\u200e+{ANN}",
    "+49 (170) 1111\u20131111",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_found_in_target_and_inbox(tmp_path: Path, spelling: str) -> None:
    assert comparable(spelling) == f"+{ANN}"
    contact = {"name": {"formatted_name": "A."}, "phones": [{"phone": spelling, "type": "CELL"}]}
    folder = place(tmp_path, [post(card | {"contacts": [contact]}), post(message(BOB, "wamid.B1", spelling))])
    erase(folder)
    found = {
        row["message_id"]: (row["reply_text"], row["reply_payload"]) for row in rows(folder / "responses.db")
    }
    assert found == {"wamid.BCARD000": (None, None), "wamid.B1": (None, None)}
    assert "found        nothing" in erase(folder)


# --- what is our own ------------------------------------------------------------------------------


@pytest.mark.parametrize("gathered", [True, False])
def test_notices_about_our_templates_stay_whole(tmp_path: Path, gathered: bool) -> None:
    """A button that calls a number is ours, whoever picks up."""
    button = {
        "message_template_button_type": "PHONE_NUMBER",
        "message_template_button_phone_number": f"+{ANN}",
    }
    template = {"message_template_id": 1, "message_template_name": "n", "message_template_language": "de"}
    change = {
        "field": "message_template_components_update",
        "value": template | {"message_template_buttons": [button]},
    }
    own = json.loads(post(message(BOB, "wamid.B1"), message(ANN, "wamid.A1")))
    own["entry"][0]["changes"].append(change)
    alone = {"object": "whatsapp_business_account", "entry": [{"id": "9", "time": 1_790_000_000, "changes": [change]}]}  # fmt: skip
    folder = place(tmp_path, [post(message(BOB, "wamid.B0"))])
    fill_inbox(folder / "inbox.db", [json.dumps(alone).encode(), json.dumps(own).encode()])
    if gathered:
        call(folder, "gather")
    erase(folder)
    assert call(folder, "gather").returncode == 0
    for again in ((), ("replay", "--all", "--rebuild")):
        assert not again or call(folder, *again).returncode == 0
        events = rows(folder / "responses.db", "template_event")
        assert len(events) == 2
        assert all(json.loads(event["details"]) == change["value"] for event in events)
        assert sorted(fact[4] for fact in facts(folder)) == ["wamid.B0", "wamid.B1"]
    assert json.loads(inbox(folder)[1]) == alone


def test_answers_of_flows_go_also_where_json_writes_the_number_in_another_way(tmp_path: Path) -> None:
    reply = flow({})
    reply["interactive"]["nfm_reply"]["response_json"] = (
        r'{"friend": "+49\/170\u00a011111111", "colour": "red"}'
    )
    folder = place(tmp_path, [post(reply)])
    erase(folder)
    ((payload,),) = ask(folder, "SELECT reply_payload FROM response")
    assert json.loads(payload) == {"colour": "red"}
    assert b"11111111" not in inbox(folder)[0]
