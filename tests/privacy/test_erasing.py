"""A person who is erased is gone from everywhere, stays away, and nobody else loses anything."""

import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatherer.inbox.reader import LocalInbox
from tests.factories import (
    CONFIGURATION,
    all_rows,
    configure,
    envelope,
    fill_inbox,
    reaction,
    receipts,
    run,
    status,
    text,
    value,
)
from tests.server.pull.pull_server import TOKEN, run_pull_server
from tests.server_process import run_server

ANN, BOB = "4917011111111", "4917022222222"
KEY = '[privacy]\nkey = "a key that nobody guesses"\n'
ADMIN = "token-of-the-administrator"
WROTE = "What Ann wrote"


def of(phone: str, message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "recipient_id": phone} if "status" in message else {**message, "from": phone}


def contact(phone: str, **more: str) -> dict[str, Any]:
    return {"wa_id": phone, "profile": {"name": f"Name of {phone}"}, **more}


def bodies() -> list[bytes]:
    """Return what was posted: about Ann alone, about Bob alone, about both in one, about Ann without her number."""
    both = value(
        statuses=[of(ANN, status("wamid.A1", "delivered")), of(BOB, status("wamid.B1", "delivered"))],
        messages=[of(ANN, text("wamid.A2", WROTE)), of(BOB, text("wamid.B2", "What Bob wrote"))],
    )
    both["contacts"] = [contact(ANN, user_id="DE.ann"), contact(BOB)]
    without_number = status("wamid.A1", "read")
    del without_number["recipient_id"]
    by_user_id = text("wamid.A3", WROTE)
    del by_user_id["from"]
    by_user_id["from_user_id"] = "DE.ann"
    return [
        receipts("wamid.A1").replace(b"15550001111", ANN.encode()),
        receipts("wamid.B1").replace(b"15550001111", BOB.encode()),
        envelope(both),
        envelope(value(statuses=[without_number])),
        envelope(value(messages=[of(ANN, reaction("wamid.A4", "wamid.A1", emoji="\U0001f600"))])),
        envelope(value(messages=[by_user_id])),
        # One element of each that cannot be read: the bytes are kept with the rejection.
        envelope(value(statuses=[of(ANN, status("wamid.A5")), {"status": 7}, of(BOB, status("wamid.B5"))])),
        envelope(value(messages=[of(ANN, text("wamid.A6", WROTE)) | {"timestamp": None, "id": None}])),
    ]


def only_bob() -> list[bytes]:
    return [body.replace(ANN.encode(), b"ANN") for body in bodies()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    fill_inbox(tmp_path / "inbox.db", bodies())
    configure(tmp_path, KEY + CONFIGURATION)
    assert run(tmp_path, "gather").returncode == 0
    return tmp_path


def erase(folder: Path, *options: str, code: int = 0) -> str:
    ended = run(folder, "--log-level", "warning", "privacy", "erase", *options)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), (
        ended.stdout + ended.stderr
    ).decode()
    return (ended.stdout + ended.stderr).decode()


def facts(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return all rows, whichever delivery brought them first."""
    return all_rows(folder / "responses.db", aside=("received_at", "inbox_id", "notification_id"))


def phones(folder: Path) -> set[str | None]:
    return {row["phone"] for row in facts(folder)["response"]}


def traces(folder: Path) -> list[str]:
    """Return in which files there is anything of Ann, byte by byte."""
    needles = [ANN.encode(), WROTE.encode(), b"wamid.A", b"DE.ann"]
    return [
        f"{path.name}: {needle!r}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    ]


def query(folder: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "responses.db")) as connection:
        return connection.execute(statement).fetchall()


def test_everything_of_the_person_goes_and_nothing_of_others(place: Path) -> None:
    assert traces(place)
    before = facts(place)
    said = erase(place, "--phone", f"+{ANN}", "--yes", "--reference", "T-1")
    assert "DE.ann" in said, "also known by"
    assert traces(place) == []
    after = facts(place)
    assert after["response"] == [row for row in before["response"] if row["phone"] == f"+{BOB}"]
    assert len(after["response"]) == 4
    assert [row["path"] for row in after["rejected"]] == ["$.entry[0].changes[0].value.statuses[0]"]
    ((body,),) = query(place, "SELECT body FROM rejected_notification")
    assert BOB.encode() in body
    with closing(LocalInbox(place / "inbox.db")) as inbox:
        assert inbox.status().count == len(bodies()), "ids have no gaps"
    assert run(place, "inbox", "check").returncode == 0
    ((account,),) = query(place, "SELECT reference FROM erasure")
    assert account == "T-1"
    assert not re.search(r"ANN|1701111", str(query(place, "SELECT * FROM erasure")))


def test_a_dry_run_shows_the_same_and_changes_nothing(place: Path) -> None:
    before = {path.name: path.read_bytes() for path in place.glob("*") if path.suffix in (".db", ".ndjson")}
    shown = json.loads(erase(place, "--phone", "+49 170 1111 1111", "--dry-run", "--json"))
    assert {
        path.name: path.read_bytes() for path in place.glob("*") if path.suffix in (".db", ".ndjson")
    } == before
    done = json.loads(erase(place, "--phone", f"+{ANN}", "--yes", "--json"))
    assert shown == {**done, "erased": False}
    assert shown["found"] == {
        "sent": 2,
        "delivered": 1,
        "read": 1,
        "replied": 2,
        "reacted": 1,
        "rejected_notification": 2,
        "notification": 7,
    }
    again = json.loads(erase(place, "--phone", f"+{ANN}", "--yes", "--json"))
    assert again["found"] == {}


def test_by_the_user_id_the_same_is_found(place: Path) -> None:
    assert ANN in erase(place, "--user-id", "DE.ann", "--yes")
    assert traces(place) == []


LONG, SHORT = "5511987654321", "551187654321"  # of one account of Brazil


@pytest.mark.parametrize(("held", "typed"), [(LONG, SHORT), (SHORT, LONG)])
def test_the_other_spelling_of_a_number_is_found_and_stays_away(
    tmp_path: Path, held: str, typed: str
) -> None:
    posted = [envelope(value(messages=[of(held, text("wamid.C1", WROTE))]))]
    fill_inbox(tmp_path / "inbox.db", [*posted, only_bob()[1]])
    configure(tmp_path, KEY + CONFIGURATION)
    assert run(tmp_path, "gather").returncode == 0
    erase(tmp_path, "--phone", f"+{typed}", "--yes")
    assert phones(tmp_path) == {f"+{BOB}"}
    fill_inbox(tmp_path / "inbox.db", [posted[0].replace(b"wamid.C1", b"wamid.C2")])
    assert run(tmp_path, "gather").returncode == 0
    assert phones(tmp_path) == {f"+{BOB}"}


def test_a_user_id_leads_to_both_spellings_of_its_number(tmp_path: Path) -> None:
    named = value(messages=[of(LONG, text("wamid.C1", WROTE))])
    named["contacts"] = [contact(LONG, user_id="BR.carla")]
    fill_inbox(
        tmp_path / "inbox.db",
        [
            envelope(named),
            envelope(value(messages=[of(SHORT, text("wamid.C2", WROTE))])),
            only_bob()[1],
        ],
    )
    configure(tmp_path, KEY + CONFIGURATION)
    assert run(tmp_path, "gather").returncode == 0
    erase(tmp_path, "--user-id", "BR.carla", "--yes")
    assert phones(tmp_path) == {f"+{BOB}"}


def test_neither_replay_nor_redelivery_bring_the_person_back(place: Path) -> None:
    erase(place, "--phone", f"+{ANN}", "--yes")
    settled = facts(place)
    assert run(place, "replay", "--all").returncode == 0
    assert facts(place) == settled
    fill_inbox(place / "inbox.db", reversed(bodies()))
    ended = run(place, "gather", "--json")
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["erased"] > 5
    assert facts(place) == settled
    assert run(place, "replay", "--all", "--rebuild").returncode == 0
    assert [row["key"] for row in facts(place)["response"]] == [row["key"] for row in settled["response"]]
    assert ANN.encode() not in b"".join(
        body for (body,) in query(place, "SELECT body FROM rejected_notification")
    )


def test_what_the_person_does_later_is_gathered(place: Path) -> None:
    erase(place, "--phone", f"+{ANN}", "--yes")
    later = of(ANN, text("wamid.NEW", "STOP")) | {"timestamp": "4070000000"}
    fill_inbox(place / "inbox.db", [envelope(value(messages=[later]))], received_at=4_070_000_000_000)
    run(place, "gather")
    kinds = {row["kind"] for row in facts(place)["response"] if row["phone"] == f"+{ANN}"}
    assert kinds == {"replied", "opted_out"}


def test_a_late_receipt_of_an_old_message_does_not_bring_the_person_back(place: Path) -> None:
    erase(place, "--phone", f"+{ANN}", "--yes")
    late = of(ANN, status("wamid.A1", "failed", at=4_070_000_000))
    fill_inbox(place / "inbox.db", [envelope(value(statuses=[late]))])
    run(place, "gather")
    assert phones(place) == {f"+{BOB}"}


def test_a_target_restored_from_a_copy_is_freed_of_the_person_again(place: Path) -> None:
    shutil.copy(place / "responses.db", place / "copy")
    erase(place, "--phone", f"+{ANN}", "--yes")
    settled = facts(place)
    for file in place.glob("responses.db*"):
        file.unlink()
    shutil.copy(place / "copy", place / "responses.db")
    (place / "copy").unlink()
    assert f"+{ANN}" in phones(place)
    ended = run(place, "gather")
    assert ended.returncode == 0
    assert b"restored" in ended.stderr
    assert facts(place) == settled
    assert traces(place) == []
    assert b"restored" not in run(place, "gather").stderr, "once is enough"


def test_a_lost_file_of_tombstones_is_made_again_from_the_target(place: Path) -> None:
    erase(place, "--phone", f"+{ANN}", "--yes")
    (file,) = place.rglob("tombstones.ndjson")
    content = file.read_text()
    file.unlink()
    run(place, "gather")
    assert sorted(file.read_text().splitlines()) == sorted(content.splitlines())
    file.write_text(content[:-20])  # cut off while it was written
    run(place, "gather")
    whole = [line for line in file.read_text().splitlines() if line.endswith("}")]
    assert sorted(whole) == sorted(content.splitlines())


def test_while_serve_runs_it_does_it(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        for body in bodies():
            assert server.post(body).status == 200
        config = tmp_path / "gatherer.toml"
        config.write_text(KEY + config.read_text())
        assert run(tmp_path, "gather").returncode == 0
        erase(tmp_path, "--phone", f"+{ANN}", "--yes")
        assert traces(tmp_path) == []
        assert server.post(b"{}").status == 200
        assert len(server.rows("id")) == len(bodies()) + 1
    assert run(tmp_path, "gather").returncode == 0, "the position is still one of this inbox"


def test_the_position_may_be_a_notification_of_the_person(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", bodies()[:1])
    configure(tmp_path, KEY + CONFIGURATION)
    run(tmp_path, "gather")
    erase(tmp_path, "--phone", f"+{ANN}", "--yes")
    fill_inbox(tmp_path / "inbox.db", bodies()[1:2])
    ended = run(tmp_path, "gather", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["inserted"]) == (0, {"sent": 1})


def test_what_was_not_gathered_yet_goes_as_well(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", bodies())
    configure(tmp_path, KEY + CONFIGURATION)
    erase(tmp_path, "--phone", f"+{ANN}", "--yes")
    assert run(tmp_path, "gather").returncode == 0
    assert phones(tmp_path) == {f"+{BOB}"}
    assert len(facts(tmp_path)["response"]) == 4
    assert traces(tmp_path) == []


def test_the_inbox_of_another_machine(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", bodies())
    with run_pull_server(web, pull=f'admin_tokens = ["{ADMIN}"]\n') as offered:
        inbox = f"[[inbox]]\nname = 'web1'\nurl = '{offered.url}'\ntoken = '{TOKEN}'\nca = '{offered.ca}'\n"
        configure(tmp_path, KEY + inbox)
        run(tmp_path, "gather")
        assert "admin_token" in erase(tmp_path, "--phone", f"+{ANN}", "--yes", code=2)
        configure(tmp_path, KEY + inbox + "admin_token = 'not that one'\n")
        assert "admin_token is not one of" in erase(tmp_path, "--phone", f"+{ANN}", "--yes", code=3)
        configure(tmp_path, KEY + inbox + f"admin_token = '{TOKEN}'\n")
        erase(tmp_path, "--phone", f"+{ANN}", "--yes", code=3)
        configure(tmp_path, KEY + inbox + f"admin_token = '{ADMIN}'\n")
        erase(tmp_path, "--phone", f"+{ANN}", "--yes")
        assert traces(web) == []
        assert run(tmp_path, "gather").returncode == 0
    assert phones(tmp_path) == {f"+{BOB}"}


def test_the_admin_token_reads_nothing(tmp_path: Path) -> None:
    fill_inbox(tmp_path / "inbox.db", bodies())
    with run_pull_server(tmp_path, pull=f'admin_tokens = ["{ADMIN}"]\n') as offered:
        with pytest.raises(Exception, match="the token is not one of"):
            offered.open(token=ADMIN)


def test_subject_tells_what_is_held_and_nothing_of_others(place: Path) -> None:
    ended = run(place, "privacy", "export", "--phone", f"+{ANN}")
    assert ended.returncode == 0
    held = json.loads(ended.stdout)
    assert held["known_by"] == {"phone": [f"+{ANN}"], "user_id": ["DE.ann"]}
    assert len(held["rows"]["response"]) == 7
    assert {row.get("reply_text") for row in held["rows"]["response"]} == {None, WROTE}
    assert len(held["notifications"]) == 7
    assert BOB not in ended.stdout.decode()
    assert "Bob" not in ended.stdout.decode()
    path = place / "ann.json"
    assert run(place, "privacy", "export", "--phone", f"+{ANN}", "--output", str(path)).returncode == 0
    assert json.loads(path.read_text(encoding="utf-8")) == held
    for output, code, message in ((path, 2, b"exists"), (place / "no" / "ann.json", 3, b"cannot be written")):
        failed = run(place, "privacy", "export", "--phone", f"+{ANN}", "--output", str(output))
        assert failed.returncode == code
        assert message in failed.stderr
    assert json.loads(path.read_text(encoding="utf-8")) == held


def test_wrong_input_is_one_line(place: Path, tmp_path: Path) -> None:
    assert "identify the person" in erase(place, "--yes", code=2)
    assert "needs its country code" in erase(place, "--phone", "0170 1111111", "--yes", code=2)
    assert "needs its country code" in erase(place, "--phone", "Ann", "--yes", code=2)
    assert "at least 4 characters" in erase(place, "--user-id", "Ann", "--yes", code=2)
    assert "cannot ask for confirmation" in erase(place, "--phone", f"+{ANN}", code=2)
    assert "one of our own numbers" in erase(place, "--phone", "+15550002222", "--yes", code=2)
    configure(place)
    assert "privacy.key is missing" in erase(place, "--phone", f"+{ANN}", "--yes", code=2)
    configure(place, '[privacy]\nkey = "short"\n' + CONFIGURATION)
    assert "privacy.key: is too short" in erase(place, "--phone", f"+{ANN}", "--yes", code=2)


def test_another_key_is_noticed_before_anybody_comes_back(place: Path) -> None:
    erase(place, "--phone", f"+{ANN}", "--yes")
    fill_inbox(place / "inbox.db", bodies())
    for key in ("", '[privacy]\nkey = "another key that nobody guesses"\n'):
        configure(place, key + CONFIGURATION)
        ended = run(place, "gather")
        assert ended.returncode == 2
        assert b"privacy.key" in ended.stderr
    assert phones(place) == {f"+{BOB}"}


def test_a_passing_gather_is_not_disturbed(place: Path) -> None:
    from gatherer.files import lock

    with lock.exclusive(place / "responses.db.gather.lock"):
        assert "a run is in progress" in erase(place, "--phone", f"+{ANN}", "--yes", code=75)


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(2, 12))])
def test_kill_9_at_any_moment_and_once_more_is_as_good_as_once(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    fill_inbox(tmp_path / "inbox.db", bodies() * 50)
    configure(tmp_path, KEY + CONFIGURATION)
    run(tmp_path, "gather")
    others = [row for row in facts(tmp_path)["response"] if row["phone"] == f"+{BOB}"]
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "gatherer", "privacy", "erase", "--phone", f"+{ANN}", "--yes"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(0.4, 2.0))
        process.kill()
        process.wait()
    erase(tmp_path, "--phone", f"+{ANN}", "--yes")
    assert traces(tmp_path) == []
    assert facts(tmp_path)["response"] == others
    assert run(tmp_path, "inbox", "check").returncode == 0
    assert run(tmp_path, "replay", "--all").returncode == 0
    assert facts(tmp_path)["response"] == others


def test_a_no_erases_nothing(place: Path) -> None:
    """Asked on a real terminal."""
    pty = pytest.importorskip("pty", reason="LOUD: needs a terminal to be asked on")
    for answer, gone in ((b"n\n", False), (b"y\n", True)):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "gatherer", "privacy", "erase", "--phone", f"+{ANN}"],
            cwd=place,
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(slave)
        os.write(master, answer)
        out, error = process.communicate(timeout=60)
        os.close(master)
        assert process.returncode == 0, error
        assert (b"nothing was erased" not in out) is gone
        assert (traces(place) == []) is gone
