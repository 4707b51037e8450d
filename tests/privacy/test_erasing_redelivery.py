"""Whoever was erased stays away when something is redelivered, restored or built anew, and others stay."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.factories import CONFIGURATION, call, configure, envelope, fill_inbox, rows, status, value
from tests.privacy.test_erasing_others import (
    ANN,
    BOB,
    KEY,
    card,
    erase,
    everything,
    facts,
    form,
    message,
    of,
    place,
    post,
    preference,
)

TWICE = [{"phone": f"+{ANN}", "type": "CELL", "wa_id": ANN}, {"phone": f"+{ANN}", "type": "WhatsApp"}]
two_numbers = card | {"contacts": [{"name": {"formatted_name": "Ann"}, "phones": TWICE}]}
undecodable = message(ANN, "", "OLD") | {"id": None}


def later(folder: Path, bodies: Sequence[bytes], provider: str = "meta") -> None:
    """Have `bodies` redelivered long after the erasure."""
    lines = [
        {"received_at": "2099-01-01T00:00:00.000Z", "endpoint": "apteco", "provider": provider, "body": one.decode()}
        for one in bodies
    ]  # fmt: skip
    (folder / "later.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert call(folder, "inbox", "import", "later.ndjson").returncode == 0
    assert call(folder, "gather").returncode == 0


def ask(folder: Path, query: str, *values: Any, database: str = "responses.db") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / database)) as connection:
        found = connection.execute(query, values).fetchall()
        connection.commit()
        return found


def copied(folder: Path) -> bytes:
    ask(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "responses.db").read_bytes()


def restore(folder: Path, copy: bytes) -> None:
    """Put `copy` in the place of the target, and let a run find out."""
    for side in ("-wal", "-shm"):
        (folder / f"responses.db{side}").unlink(missing_ok=True)
    (folder / "responses.db").write_bytes(copy)
    ended = call(folder, "gather")
    assert ended.returncode == 0, ended.stderr


# --- a restored target ----------------------------------------------------------------------------


@pytest.mark.parametrize("body", [post(card), post(undecodable), post(message(BOB, "wamid.BTEXT000", ANN))])
def test_a_target_restored_from_a_copy_is_swept_of_who_stands_only_in_texts_or_rejections(
    tmp_path: Path, body: bytes
) -> None:
    folder = place(tmp_path, [body])
    copy = copied(folder)
    bobs = len(of(folder, BOB))
    erase(folder)
    assert ANN not in everything(folder)
    restore(folder, copy)
    assert ANN not in everything(folder)
    assert rows(folder / "responses.db", "rejected") == []
    assert len(facts(folder)) == bobs


def test_a_target_restored_from_a_copy_is_swept_of_rows_that_name_nobody(tmp_path: Path) -> None:
    """As Wati's receipts: only another notification, which came after the copy, told whose message that was."""
    same = {"id": "x" * 24, "whatsappMessageId": "wamid.OUT00001"}
    nameless = same | {"eventType": "sentMessageDELIVERED_v2", "timestamp": "1790000000"}
    naming = same | {"eventType": "templateMessageSent_v2", "waId": ANN, "created": "2026-09-01T00:00:00Z"}
    folder = place(tmp_path, [json.dumps(nameless).encode()], provider="wati")
    copy = copied(folder)
    fill_inbox(folder / "inbox.db", [json.dumps(naming).encode()], provider="wati")
    call(folder, "gather")
    assert len(facts(folder)) == 2
    erase(folder)
    assert facts(folder) == []
    restore(folder, copy)
    assert facts(folder) == []


def test_an_event_about_nobody_else_is_swept_as_a_whole(tmp_path: Path) -> None:
    """Its details are all that tells whom it is about."""
    body = envelope(value() | {"errors": [{"code": 1, "to": ANN}]})
    folder = place(tmp_path, [body])
    assert len(rows(folder / "responses.db", "other_event")) == 1
    copy = copied(folder)
    erase(folder)
    restore(folder, copy)
    assert rows(folder / "responses.db", "other_event") == []


def test_a_time_of_the_site_that_is_none_stops_no_run(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    ask(folder, "INSERT INTO message_map (phone, sent_at, campaign) VALUES (?, 'gestern', 'c')", f"+{ANN}")
    copy = copied(folder)
    erase(folder)
    restore(folder, copy)
    assert ANN not in everything(folder)


def test_what_the_site_has_written_since_the_erasure_stays(tmp_path: Path) -> None:
    """Another machine learns of it later, and the site may not say when it sent something."""
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    erase(folder)
    ask(folder, "INSERT INTO message_map (phone, campaign) VALUES (?, 'new')", f"+{ANN}")
    configure(folder, KEY.replace("\n", '\ntombstones = "of-that-host.ndjson"\n', 1) + CONFIGURATION)
    ended = call(folder, "gather")
    assert ended.returncode == 0
    assert ask(folder, "SELECT campaign FROM message_map") == [("new",)]
    assert b"did not know of 0" not in ended.stderr


# --- a target built anew --------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [False, True])
def test_of_several_elements_that_could_go_alone_not_all_go(tmp_path: Path, batched: bool) -> None:
    said = [two_numbers, message(BOB, "wamid.BTEXT000")]
    folder = place(tmp_path, [post(*said)] if batched else [post(one) for one in said])
    bobs = of(folder, BOB)
    assert len(bobs) == 2
    erase(folder)
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert facts(folder) == bobs
    assert ANN not in everything(folder)
    inbox = ask(folder, "SELECT body FROM notification", database="inbox.db")
    assert any(b"BCARD000" in body for (body,) in inbox)
    assert not any(ANN.encode() in body for (body,) in inbox)


def test_what_a_freed_notification_does_not_say_any_more_stays_when_all_is_built_anew(tmp_path: Path) -> None:
    """Somebody's program has written the number where the id of a message belongs: without it that is no fact."""
    folder = place(
        tmp_path, [post(message(BOB, ANN, "kept in the target alone"), message(BOB, "wamid.BTEXT000"))]
    )
    bobs = facts(folder)
    assert len(bobs) == 2
    erase(folder)
    assert facts(folder) == bobs
    for chosen in ("--all", "--rejected"):
        assert call(folder, "replay", chosen, "--rebuild").returncode == 0
        assert facts(folder) == bobs
        assert len(rows(folder / "responses.db", "rejected")) == 1


# --- what is redelivered --------------------------------------------------------------------------


def test_an_undecodable_element_that_is_redelivered_with_others_stays_away(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(undecodable), post(message(ANN, "wamid.A1"))])
    erase(folder)
    later(folder, [post(undecodable, message(BOB, "wamid.B1"))])
    assert rows(folder / "responses.db", "rejected") == []
    assert [fact[4] for fact in facts(folder)] == ["wamid.B1"]
    later(folder, [post(undecodable | {"text": {"body": "NEW"}})])
    assert len(rows(folder / "responses.db", "rejected")) == 1, "that is a new one"


def test_an_undecodable_element_that_is_new_stays_although_it_quotes_an_old_message(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1000000")), post(undecodable)])
    erase(folder)
    new = undecodable | {"text": {"body": "NEW"}, "context": {"id": "wamid.A1000000"}}
    later(folder, [post(new, undecodable)])
    assert len(rows(folder / "responses.db", "rejected")) == 1
    ((kept,),) = ask(folder, "SELECT body FROM rejected_notification")
    assert b"NEW" in kept
    assert b"OLD" not in kept


def strange_post() -> bytes:
    return json.dumps(
        {"business_phone": "15550002222", "from": ANN, "type": "weird", "payload": "words"}
    ).encode()


def stop_without_a_time() -> bytes:
    said = {"from": ANN, "notificationMessagesStatus": "STOP", "type": "x"}
    return json.dumps({"content": said, "createdAt": "", "messageId": None, "from": "15550002222"}).encode()


def conversation() -> bytes:
    fields = {"AccountSid": "AC" + "0" * 32, "Author": f"whatsapp:+{ANN}", "Body": "words"}
    return urlencode(fields | {"EventType": "onMessageAdded", "MessageSid": "IM" + "b" * 32}).encode()


@pytest.mark.parametrize(
    ("provider", "make", "table"),
    [
        ("enablex", strange_post, "other_event"),
        ("infobip", stop_without_a_time, "response"),
        ("twilio", conversation, "other_event"),
    ],
)
def test_what_is_told_by_the_day_of_its_receipt_stays_away_on_another_day(
    tmp_path: Path, provider: str, make: Callable[[], bytes], table: str
) -> None:
    folder = place(tmp_path, [make()], provider=provider)
    assert len(rows(folder / "responses.db", table)) == 1
    erase(folder)
    later(folder, [make()], provider)
    assert rows(folder / "responses.db", table) == []
    again = make() + b"&RetryCount=1" if provider == "twilio" else b" " + make()
    later(folder, [again], provider)
    assert rows(folder / "responses.db", table) == []
    assert ANN not in everything(folder)


def test_a_new_stop_of_the_same_person_counts(tmp_path: Path) -> None:
    folder = place(tmp_path, [stop_without_a_time()], provider="infobip")
    erase(folder)
    later(folder, [stop_without_a_time().replace(b'"x"', b'"y"')], "infobip")
    assert [fact[1] for fact in of(folder, ANN)] == ["opted_out"]


def test_preferences_of_others_in_the_same_post_are_taken_in(tmp_path: Path) -> None:
    folder = place(tmp_path, [preference()])
    erase(folder)
    both = json.loads(preference())
    said = both["entry"][0]["changes"][0]["value"]["user_preferences"]
    said.append(said[0] | {"wa_id": BOB})
    later(folder, [json.dumps(both).encode()])
    assert [fact[2] for fact in facts(folder)] == [f"+{BOB}"]


def test_a_mention_in_a_message_that_the_person_reacted_to_stays_away(tmp_path: Path) -> None:
    ahead = {"timestamp": "4070000000"}
    reaction = message(ANN, "wamid.AREACT00") | {
        "type": "reaction",
        "reaction": {"message_id": "wamid.BCARD000", "emoji": "x"},
    }
    folder = place(tmp_path, [post(reaction), post(card | ahead)])
    erase(folder)
    assert ANN not in everything(folder)
    later(folder, [post(card | ahead, message(BOB, "wamid.B1"))])
    assert ANN not in everything(folder)
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert ANN not in everything(folder)
    assert sorted(fact[4] for fact in facts(folder)) == ["wamid.B1", "wamid.BCARD000"]


def test_a_user_id_is_known_by_however_twilio_writes_it(tmp_path: Path) -> None:
    user = "DE.13491208655302741918"
    fields = {"AccountSid": "AC" + "0" * 32, "From": f"whatsapp:{user}", "To": "whatsapp:+15550002222"}
    fields |= {"Body": "secret words", "SmsStatus": "received", "NumMedia": "0"}
    event = fields | {"MessageSid": "SM" + "b" * 32, "EventType": "onMessageAdded"}
    for number, parameters in enumerate((fields, fields | {"MessageSid": "SM" + "a" * 32}, event)):
        folder = place(tmp_path / str(number), [urlencode(parameters).encode()], provider="twilio")
        erase(folder, "--user-id", user)
        assert "secret" not in everything(folder)
        assert b"secret" not in (folder / "inbox.db").read_bytes()


# --- rejections of others -------------------------------------------------------------------------


def test_rejections_of_others_who_quote_the_person_stay_and_are_not_doubled(tmp_path: Path) -> None:
    quoting = {"context": {"id": "wamid.A1000000"}}
    broken = message(BOB, "", "BROKEN") | {"id": None}
    posts = [
        post(message(ANN, "wamid.A1000000")),
        post(broken | quoting),
        post(message(BOB, "wamid.BOK00000") | quoting, broken),
    ]
    folder = place(tmp_path, posts)
    before = rows(folder / "responses.db", "rejected")
    assert len(before) == 2
    erase(folder)
    assert rows(folder / "responses.db", "rejected") == before
    for again in (("replay", "--all"), ("replay", "--all", "--rebuild")):
        assert call(folder, *again).returncode == 0
        assert rows(folder / "responses.db", "rejected") == before


def test_who_only_wrote_to_groups_is_a_person(tmp_path: Path) -> None:
    """None of those messages is known to be theirs alone, so nothing else is learned of them."""
    folder = place(
        tmp_path, [post(message(ANN, f"wamid.A{n:06}", group_id="G1")) for n in range(25)] + [post(card)]
    )
    erase(folder)
    assert [fact[4] for fact in facts(folder)] == ["wamid.BCARD000"]


def test_a_reference_that_is_the_number_goes_from_inbox_and_target(tmp_path: Path) -> None:
    """What the sender attaches to a message may say whom it was really about."""
    sent = status("wamid.BOUT0001", "sent", recipient_id=BOB, biz_opaque_callback_data=f"+{ANN}")
    folder = place(tmp_path, [envelope(value(statuses=[sent]))])
    bobs = of(folder, BOB)
    erase(folder)
    for again in ((), ("replay", "--all"), ("replay", "--all", "--rebuild")):
        assert not again or call(folder, *again).returncode == 0
        assert facts(folder) == bobs
        assert ANN not in everything(folder)
    assert ANN.encode() not in (folder / "inbox.db").read_bytes()


def test_a_number_written_with_two_zeros_is_the_same_number(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(f"00{ANN}", "wamid.A1")), post(message(BOB, "wamid.B1"))])
    for number in (f"+{ANN[:2]} {ANN[2:5]} {ANN[5:]}", f"tel:+{ANN}"):
        ask(folder, "INSERT INTO message_map (phone, campaign) VALUES (?, 'c')", number)
    erase(folder)
    assert [fact[4] for fact in facts(folder)] == ["wamid.B1"]
    assert ask(folder, "SELECT phone FROM message_map") == []


def test_forms_with_a_parameter_that_comes_twice_lose_no_value_of_others(tmp_path: Path) -> None:
    twice = form(BOB, "SM" + "b" * 32, "one") + b"&Body=two&X=" + ANN.encode()
    folder = place(tmp_path, [twice], provider="twilio")
    erase(folder)
    assert ANN not in everything(folder)
    ((body,),) = ask(folder, "SELECT body FROM notification", database="inbox.db")
    assert b"Body=one&Body=two" in body
    assert ANN.encode() not in body
    (row,) = rows(folder / "responses.db")
    assert json.loads(row["details"]) == {"Body": ["one", "two"]}
