"""Whoever is erased takes nothing of others with them, and comes back by nobody."""

import json
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gatherer.app.resources import load
from gatherer.app.run_lock import hold_run_lock
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.pipeline.decode import decode_batch
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import CONFIGURATION, call, configure, envelope, fill_inbox, rows, status, text, value
from tests.waiting import wait_for_later_time

ANN, BOB, CAR = "4917011111111", "4917022222222", "4917033333333"
KEY = '[privacy]\nkey = "a key that nobody guesses"\n'


LATER = 4_070_000_000_000  # milliseconds since 1970


def place(
    folder: Path, posts: Sequence[bytes], *, provider: str = "meta", settings: str = CONFIGURATION
) -> Path:
    folder.mkdir(exist_ok=True)
    fill_inbox(folder / "inbox.db", posts, provider=provider)
    configure(folder, KEY + settings)
    assert call(folder, "gather").returncode == 0
    return folder


def erase(folder: Path, *who: str, code: int = 0) -> str:
    ended = call(folder, "privacy", "erase", *(who or ("--phone", f"+{ANN}")), "--yes")
    assert ended.returncode == code, ended.stderr.decode()
    return (ended.stdout + ended.stderr).decode()


def facts(folder: Path) -> list[tuple[Any, ...]]:
    names = ("key", "kind", "phone", "user_id", "message_id", "reply_text")
    return [tuple(row[name] for name in names) for row in rows(folder / "responses.db")]


def everything(folder: Path) -> str:
    """Return whatever stands in the target, as text."""
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return "\n".join(connection.iterdump())


def of(folder: Path, phone: str) -> list[tuple[Any, ...]]:
    return [fact for fact in facts(folder) if fact[2] == f"+{phone}"]


def message(who: str, message_id: str, body: str = "hello", **more: Any) -> dict[str, Any]:
    return text(message_id, body, **{"from": who}, **more)


def post(*messages: dict[str, Any]) -> bytes:
    return envelope(value(messages=messages))


def form(who: str, message_id: str, body: str) -> bytes:
    fields = {
        "SmsMessageSid": message_id,
        "SmsStatus": "received",
        "AccountSid": "AC" + "0" * 32,
        "NumMedia": "0",
    }
    people = {"From": f"whatsapp:+{who}", "To": "whatsapp:+15550002222", "WaId": who}
    return urlencode(
        fields | people | {"MessageSid": message_id, "SmsSid": message_id, "Body": body}
    ).encode()


card = message(BOB, "wamid.BCARD000") | {
    "type": "contacts",
    "contacts": [{"name": {"formatted_name": "Ann"}, "phones": [{"phone": f"+{ANN}", "wa_id": ANN}]}],
}
quote = message(
    BOB, "wamid.BQUOTE00", "I agree", group_id="G1", context={"from": ANN, "id": "wamid.AGROUP00"}
)
IN_THE_WORDS_OF_OTHERS = {
    "a contact card": [card],
    "a quote in a group": [quote],
    "a text that is the number": [message(BOB, "wamid.BTEXT000", ANN)],
    "a text that mentions it": [message(BOB, "wamid.BTEXT000", f"call {ANN}")],
    "a reply to the same message": [message(BOB, "wamid.BREPLY00", context={"id": "wamid.CAMPAIGN"})],
}


@pytest.mark.parametrize("name", IN_THE_WORDS_OF_OTHERS)
@pytest.mark.parametrize("batched", [False, True])
def test_what_others_said_stays_also_after_everything_is_built_anew(
    tmp_path: Path, name: str, batched: bool
) -> None:
    own = [
        message(ANN, "wamid.AGROUP00", group_id="G1"),
        message(ANN, "wamid.AREPLY00", context={"id": "wamid.CAMPAIGN"}),
    ]
    said = IN_THE_WORDS_OF_OTHERS[name]
    bodies = [post(*own, *said)] if batched else [post(*own), post(*said)]
    folder = place(tmp_path, bodies)
    bobs = of(folder, BOB)
    assert len(bobs) == 1
    if name == "a text that is the number":
        bobs = [(*bobs[0][:5], None)]
    erase(folder)
    fill_inbox(folder / "inbox.db", bodies)
    for again in ((), ("gather",), ("replay", "--all"), ("replay", "--all", "--rebuild")):
        assert not again or call(folder, *again).returncode == 0
        assert facts(folder) == bobs
        if name != "a text that mentions it":
            assert ANN not in everything(folder)
    erase(folder)
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert [fact[:5] for fact in facts(folder)] == [fact[:5] for fact in bobs]
    said_of_ann = json.loads(call(folder, "privacy", "export", "--phone", f"+{ANN}").stdout)
    assert said_of_ann["notifications"] == [], "and that much is known of Ann from now on"
    assert said_of_ann["mentioned_in"] == []


CARDS = [
    {"name": {"formatted_name": "Ann"}, "phones": [{"phone": "+49 170 11111111", "type": "CELL"}]},
    {"name": {"formatted_name": "Carl"}, "phones": [{"phone": f"+{CAR}", "wa_id": CAR}]},
]


def test_what_a_row_of_others_says_of_the_person_goes_and_the_rest_of_it_stays(tmp_path: Path) -> None:
    cards = message(BOB, "wamid.BCARD000") | {"type": "contacts", "contacts": CARDS}
    folder = place(tmp_path, [post(cards), post(message(BOB, "wamid.BTEXT000"))])
    before = {row["message_id"]: row for row in rows(folder / "responses.db")}
    said_of_ann = json.loads(call(folder, "privacy", "export", "--phone", f"+{ANN}").stdout)
    (mentioned,) = said_of_ann["mentioned_in"]
    assert mentioned["elements"] == [CARDS[0]["phones"][0]], "nothing of Carl, nothing of Bob"
    assert said_of_ann["rows"] == {}
    assert "1 rows about other people that mention the person" in erase(folder)
    after = {row["message_id"]: row for row in rows(folder / "responses.db")}
    assert after["wamid.BTEXT000"] == before["wamid.BTEXT000"]
    row = after["wamid.BCARD000"]
    assert json.loads(row["reply_payload"]) == [CARDS[1]]
    changed = {name for name in row if row[name] != before["wamid.BCARD000"][name]}
    assert changed == {"reply_payload"}
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        (account,) = connection.execute("SELECT responses, other_rows, notifications FROM erasure").fetchall()
    assert account == (1, 0, 1)


def test_what_others_say_later_stays(tmp_path: Path) -> None:
    cards = message(BOB, "wamid.BCARD000") | {"type": "contacts", "contacts": CARDS}
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    erase(folder)
    fill_inbox(folder / "inbox.db", [post(cards | {"timestamp": "4070000000"})], received_at=LATER)
    assert call(folder, "gather").returncode == 0
    assert len(json.loads(rows(folder / "responses.db")[0]["reply_payload"])) == 2


def test_a_target_restored_from_a_copy_is_freed_of_mentions_again(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1")), post(card)])
    copy = (folder / "responses.db").read_bytes()
    erase(folder)
    for side in ("-wal", "-shm"):
        (folder / f"responses.db{side}").unlink(missing_ok=True)
    (folder / "responses.db").write_bytes(copy)
    assert call(folder, "gather").returncode == 0
    assert [fact[4] for fact in facts(folder)] == ["wamid.BCARD000"]
    assert ANN not in everything(folder)


def preference(**more: Any) -> bytes:
    said = {"wa_id": ANN, "detail": "", "category": "marketing_messages", "value": "stop"} | more
    body = json.loads(envelope(value() | {"user_preferences": [said]}))
    body["entry"][0]["changes"][0]["field"] = "user_preferences"
    return json.dumps(body).encode()


@pytest.mark.parametrize("restored", [False, True])
def test_what_the_clock_of_the_provider_puts_after_the_erasure_does_not_come_back(
    tmp_path: Path, restored: bool
) -> None:
    """Neither what no message id tells, nor what others said; however it is batched when it comes again."""
    ahead = {"timestamp": "4070000000"}
    stop = preference(timestamp=4070000000)
    grouped = post(message(ANN, "wamid.AGROUP00", group_id="G1") | ahead)
    folder = place(tmp_path, [stop, grouped, post(card | ahead)])
    assert sorted(fact[1] for fact in facts(folder)) == ["opted_out", "replied", "replied"]
    copy = (folder / "responses.db").read_bytes()
    erase(folder)
    assert [fact[2] for fact in facts(folder)] == [f"+{BOB}"]
    if restored:
        (folder / "responses.db").write_bytes(copy)
    again = json.loads(stop)
    again["entry"] += json.loads(grouped)["entry"] + json.loads(post(card | ahead))["entry"]
    fill_inbox(folder / "inbox.db", [json.dumps(again).encode(), stop, grouped, post(card | ahead)])
    assert call(folder, "gather").returncode == 0
    assert [fact[2] for fact in facts(folder)] == [f"+{BOB}"]
    assert ANN not in everything(folder)
    fill_inbox(folder / "inbox.db", [preference(timestamp=4070000001)], received_at=LATER)
    assert call(folder, "gather").returncode == 0
    assert [fact[1] for fact in of(folder, ANN)] == ["opted_out"], "a new matter"


def test_what_says_no_time_does_not_come_back(tmp_path: Path) -> None:
    """As Twilio's posts: what is redelivered seems to occur anew."""
    posts = [form(ANN, "SM" + "a" * 32, "hi"), form(BOB, "SM" + "b" * 32, ANN)]
    folder = place(tmp_path, posts, provider="twilio")
    erase(folder)
    fill_inbox(folder / "inbox.db", [one + b"&More=1" for one in posts], provider="twilio")
    assert call(folder, "gather").returncode == 0
    assert [fact[2] for fact in facts(folder)] == [f"+{BOB}"]
    assert ANN not in everything(folder)


def test_a_form_in_which_somebody_mentions_a_number_is_theirs(tmp_path: Path) -> None:
    posts = [form(BOB, "SM" + "b" * 32, f"please call {ANN}, thanks"), form(ANN, "SM" + "a" * 32, "hi")]
    folder = place(tmp_path, posts, provider="twilio")
    bobs = of(folder, BOB)
    erase(folder)
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert facts(folder) == bobs != []


def test_who_was_erased_before_does_not_come_back_with_the_next(tmp_path: Path) -> None:
    posts = [form(CAR, "SM" + "c" * 32, ANN), form(ANN, "SM" + "a" * 32, "hi")]
    folder = place(tmp_path, posts, provider="twilio")
    erase(folder, "--phone", f"+{CAR}")
    fill_inbox(folder / "inbox.db", posts[:1], provider="twilio")
    call(folder, "gather")
    erase(folder)
    call(folder, "gather")
    assert facts(folder) == []


def test_a_message_id_that_several_people_share_says_nothing_of_the_others(tmp_path: Path) -> None:
    receipt = status("request-0001", "delivered", recipient_id=ANN)
    folder = place(tmp_path, [envelope(value(statuses=[receipt]))])
    erase(folder)
    others = [
        status("request-0001", "read", recipient_id=BOB),
        status("request-0001", "sent", recipient_id=CAR),
    ]
    fill_inbox(folder / "inbox.db", [envelope(value(statuses=[one])) for one in others])
    call(folder, "gather")
    assert [fact[2] for fact in facts(folder)] in ([f"+{BOB}", f"+{CAR}"], [f"+{CAR}", f"+{BOB}"])


def test_an_event_about_many_stays_without_the_person(tmp_path: Path) -> None:
    threads = [{"id": who, "messages": [message(who, f"wamid.{who}", f"of {who}")]} for who in (ANN, BOB)]
    chunk = {
        "field": "history",
        "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550002222", "phone_number_id": "100000000000001"},
            "history": [{"metadata": {"phase": 0, "chunk_order": 1, "progress": 10}, "threads": threads}],
        },
    }
    body = json.dumps(
        {
            "object": "whatsapp_business_account",
            "entry": [{"id": "9", "time": 1_790_000_000, "changes": [chunk]}],
        }
    ).encode()
    folder = place(tmp_path, [body])
    (before,) = rows(folder / "responses.db", "other_event")
    assert ANN in before["details"]
    erase(folder)
    for again in ((), ("replay", "--all"), ("replay", "--all", "--rebuild"), ("gather",)):
        if again == ("gather",):
            fill_inbox(folder / "inbox.db", [body])
        assert not again or call(folder, *again).returncode == 0
        (after,) = rows(folder / "responses.db", "other_event")
        assert after["key"] == before["key"]
        assert ANN not in after["details"]
        assert f"of {BOB}" in after["details"]


def test_a_receipt_that_names_the_person_only_in_its_details_is_theirs(tmp_path: Path) -> None:
    """As Infobip's reports of what was seen."""
    seen = {
        "from": "15550002222",
        "to": ANN,
        "messageId": "seen-0001",
        "seenAt": "2026-09-21T12:00:00.000+0000",
    }
    seen |= {"sentAt": "2026-09-21T11:00:00.000+0000", "applicationId": "default", "entityId": "default"}
    folder = place(tmp_path, [json.dumps({"results": [seen]}).encode()], provider="infobip")
    assert len(facts(folder)) == 1
    erase(folder)
    assert facts(folder) == []
    fill_inbox(folder / "inbox.db", [json.dumps({"results": [seen]}).encode()], provider="infobip")
    call(folder, "gather")
    assert facts(folder) == []


def test_of_lines_that_a_relay_collects_the_broken_ones_of_others_stay(tmp_path: Path) -> None:
    lines = [post(message(who, f"wamid.{who}")) for who in (ANN, BOB)] + [b'{"object": "what Carl wrote']
    folder = place(tmp_path, [b"\n".join(lines)])
    bobs = of(folder, BOB)
    erase(folder)
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert facts(folder) == bobs
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        ((kept,),) = connection.execute("SELECT body FROM rejected_notification").fetchall()
    assert kept == b"\n".join([lines[1], lines[2]]) or (ANN.encode() not in kept and b"Carl" in kept)


def test_opt_outs_of_others_are_decided_by_the_words_of_the_endpoint(tmp_path: Path) -> None:
    settings = CONFIGURATION + 'opt_out_keywords = ["NOMORE"]\n'
    broken = {"from": BOB, "id": "wamid.broken", "type": 7}
    mixed = post(
        message(BOB, "wamid.B1", "STOP"), message(BOB, "wamid.B2", "nomore"), message(ANN, "wamid.A1"), broken
    )
    folder = place(tmp_path, [mixed], settings=settings)
    bobs = of(folder, BOB)
    assert [fact[1] for fact in bobs].count("opted_out") == 1
    erase(folder)
    assert of(folder, BOB) == bobs
    assert call(folder, "replay", "--all", "--rebuild").returncode == 0
    assert of(folder, BOB) == bobs


def test_a_later_opt_out_that_quotes_an_old_message_counts(tmp_path: Path) -> None:
    folder = place(
        tmp_path, [post(message(ANN, "wamid.A1", context={"id": "wamid.CAMPAIGN", "from": "15550002222"}))]
    )
    erase(folder)
    later = message(ANN, "wamid.LATER000", "STOP", context={"id": "wamid.CAMPAIGN", "from": "15550002222"})
    fill_inbox(folder / "inbox.db", [post(later | {"timestamp": "4070000000"})], received_at=LATER)
    call(folder, "gather")
    assert sorted(fact[1] for fact in facts(folder)) == ["opted_out", "replied"]


def test_what_cannot_be_read_is_kept_later_but_not_when_it_is_redelivered(tmp_path: Path) -> None:
    old, new = (post(message(ANN, "", word) | {"id": None, "timestamp": None}) for word in ("OLD", "NEW"))
    folder = place(tmp_path, [old])
    assert len(rows(folder / "responses.db", "rejected")) == 1
    erase(folder)
    assert rows(folder / "responses.db", "rejected") == []
    fill_inbox(folder / "inbox.db", [old])
    call(folder, "gather")
    assert rows(folder / "responses.db", "rejected") == [], "redelivered"
    received_later = json.dumps(
        {
            "received_at": "2099-01-01T00:00:00.000Z",
            "endpoint": "apteco",
            "provider": "meta",
            "body": new.decode(),
        }
    )
    (folder / "later.ndjson").write_text(received_later + "\n", encoding="utf-8")
    assert call(folder, "inbox", "import", "later.ndjson").returncode == 0
    call(folder, "gather")
    assert len(rows(folder / "responses.db", "rejected")) == 1


def test_bodies_that_nest_deeply_stop_nobody(tmp_path: Path) -> None:
    nested = b'{"a":' * 600 + b"1" + b"}" * 600
    deep = post(message(BOB, "wamid.B1") | {"nested": 0}, {"id": None, "timestamp": None})
    deep = deep.replace(b'"nested": 0', b'"nested": ' + nested)
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    erase(folder)
    fill_inbox(folder / "inbox.db", [deep, post(message(BOB, "wamid.B2"))])
    assert call(folder, "gather").returncode == 0
    assert [fact for fact in of(folder, BOB) if fact[4] == "wamid.B2"]
    erase(folder, "--phone", f"+{CAR}")
    assert call(folder, "privacy", "export", "--phone", f"+{BOB}").returncode == 0


def test_ids_of_ours_and_words_that_stand_everywhere_are_no_people(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(BOB, f"wamid.B{n:07}")) for n in range(30)])
    before = (folder / "inbox.db").read_bytes()
    assert "no person" in erase(folder, "--user-id", "whatsapp", code=2)
    assert "our own" in erase(folder, "--phone", "+100000000000001", code=2)
    assert len(of(folder, BOB)) == 30
    assert (folder / "inbox.db").read_bytes() == before


def test_an_id_of_digits_is_found_as_what_it_is(tmp_path: Path) -> None:
    by_id = message(ANN, "wamid.A1", "secret") | {"from_user_id": "1234567890"}
    del by_id["from"]
    folder = place(tmp_path, [post(by_id)])
    assert len(facts(folder)) == 1
    erase(folder, "--user-id", "1234567890")
    assert facts(folder) == []
    assert b"secret" not in (folder / "inbox.db").read_bytes()


def test_nothing_is_replayed_while_somebody_is_being_erased_and_the_other_way_round(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    with hold_run_lock(load(folder / "gatherer.toml", secrets=True)):
        assert call(folder, "replay", "--all").returncode == 75
        erase(folder, code=75)
    assert call(folder, "replay", "--all").returncode == 0


def test_what_arrives_meanwhile_goes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatherer.privacy import erase as verb

    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    work, arrived = verb.erase, threading.Event()

    def slow(*positional: Any, **keywords: Any) -> Any:
        if not arrived.is_set():
            arrived.set()
            fill_inbox(folder / "inbox.db", [post(message(ANN, "wamid.A2", "meanwhile"))])
            wait_for_later_time()
        return work(*positional, **keywords)

    monkeypatch.setattr(verb, "erase", slow)
    erase(folder)
    assert b"meanwhile" not in (folder / "inbox.db").read_bytes()


def test_what_cannot_be_stored_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"))])
    assert "cannot be stored" in erase(folder, "--phone", f"+{ANN}", "--reference", "T-\udce4", code=2)
    assert "no id has" in erase(folder, "--user-id", "a\x00bcd", code=2)
    assert len(facts(folder)) == 1


def test_a_run_of_another_host_that_had_begun_before_is_made_up_for(tmp_path: Path) -> None:
    """That host has read the notifications, and applies them after the erasure; its own file knows nothing of it."""
    folder = place(tmp_path, [post(message(ANN, "wamid.A1"), message(BOB, "wamid.B1"))])
    with closing(LocalInbox(folder / "inbox.db")) as inbox:
        read = inbox.read(0, Bounds())
    erase(folder)
    with closing(SQLiteTarget(folder / "responses.db")) as target:
        target.apply(decode_batch(read, frozenset()))
    assert of(folder, ANN)
    configure(
        folder,
        '[privacy]\nkey = "a key that nobody guesses"\ntombstones = "of-that-host.ndjson"\n' + CONFIGURATION,
    )
    assert call(folder, "gather").returncode == 0
    assert not of(folder, ANN)
    assert of(folder, BOB)
