"""Each opt-out is handed on within the next run, whatever its form: `gather` and `export --format opt-outs`."""

import csv
import io
import json
import re
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.factories import call, configure, fill_inbox
from tests.targets.engines import SERVER, SQLServerDatabase, needs_server

PAYLOADS = Path(__file__).parent.parent / "payloads"
CAMPAIGN = "Autumn offer"

# Payload of a provider, and the words that the person typed or tapped; None: the payload is an opt-out as it is.
FORMS: tuple[tuple[str, str | None], ...] = (
    ("meta/text.json", "Stop."),
    ("meta/text_quoting_our_message.json", "STOPP!!"),
    ("meta/text_of_person_without_phone.json", "désabonner"),
    ("meta/button_of_a_template.json", "Stop promotions"),
    ("meta/button_without_context.json", "Unsubscribe"),
    ("meta/interactive_button.json", "Abmelden"),
    ("meta/interactive_list.json", "Opt-out"),
    ("meta/preference_stop.json", None),
    ("meta/preference_of_person_without_phone.json", None),
    ("onprem/text.json", "«ARRÊT»"),
    ("onprem/text_quoting_our_message.json", "Baja"),
    ("onprem/turn_text_without_phone.json", "stop all"),
    ("enablex/text.json", "Cancellami"),
    ("enablex/text_that_quotes_our_message.json", "afmelden 🙏"),
    ("enablex/button_of_a_template.json", "Stop promotions"),
    ("enablex/interactive_list.json", "STOP"),
    ("wati/text_that_quotes_nothing.json", "Cancelar inscrição"),
    ("wati/text_that_quotes_our_message.json", "abbestellen"),
    ("wati/interactive_button.json", "Stop promotions"),
    ("infobip/text.json", "ＳＴＯＰ"),
    ("infobip/text_quoting_our_message.json", "désinscrire"),
    ("infobip/preference_stop.json", None),
    ("twilio/text.form", "unsubscribe"),
    ("twilio/button.form", "Stop promotions"),
    ("twilio/text_with_opt_out_type.form", "Bitte nicht mehr"),  # a word of the Twilio account's own
)


class OptOut:
    """One opt-out by a person of its own."""

    def __init__(self, number: int, payload: str, words: str | None) -> None:
        path = PAYLOADS / payload
        self.provider = path.parent.name
        record = json.loads(path.with_suffix(".records.json").read_text(encoding="utf-8"))[0]
        body = path.read_text(encoding="utf-8")
        quote = quote_plus if path.suffix == ".form" else json.dumps
        if words is not None:
            written = quote(record["reply_text"])
            if written not in body:  # not escaped
                written = json.dumps(record["reply_text"], ensure_ascii=False)
            assert written in body, payload
            replacement = quote(words)  # as a function, because it may have backslashes
            body = re.sub(rf"(?<!OptOutType=){re.escape(written)}", lambda _: replacement, body)
        if "message_id" in record:
            body = body.replace(quote(record["message_id"]), quote(f"{record['message_id']}{number:02}"))
        self.person = ""
        for column in ("user_id", "phone_raw"):  # the phone counts where there are both
            if column in record:
                old = record[column].lstrip("+")
                self.person = f"{old[:-2]}{number:02}"
                body = body.replace(old, self.person)
        self.about = record.get("about_message_id")
        self.body = body.encode()


def people(content: bytes) -> list[str]:
    """Return the people who opted out in the CSV file `content`: phone without +, else user id."""
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
    assert {row["opted_out"] for row in rows} <= {"1"}, rows
    return [row["phone"].lstrip("+") or row["user_id"] for row in rows]


@pytest.fixture(params=["sqlite", pytest.param("sqlserver", marks=[pytest.mark.sqlserver, needs_server])])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the TOML of an empty target."""
    if request.param == "sqlite":
        return '[target]\npath = "responses.db"\n'
    database = SQLServerDatabase(tmp_path)
    return (
        f'[target]\nkind = "sqlserver"\nconnection = {json.dumps(SERVER)}\nschema = "{database.schema}"\n'
        'state = "state"\n'
    )


def insert_into_map(folder: Path, target: str, message_ids: set[str]) -> None:
    values = [(message_id, CAMPAIGN) for message_id in sorted(message_ids)]
    if "sqlserver" in target:
        for row in values:
            SQLServerDatabase.session().run(
                f"INSERT INTO {SQLServerDatabase.schema}.message_map (message_id, campaign) VALUES (?, ?)",
                *row,
            )
        return
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "responses.db")) as connection, connection:
        connection.executemany("INSERT INTO message_map (message_id, campaign) VALUES (?, ?)", values)


def test_each_opt_out_in_each_form_is_handed_on_with_the_next_run(tmp_path: Path, target: str) -> None:
    opt_outs = [OptOut(number, *form) for number, form in enumerate(FORMS, start=10)]
    assert len({opt_out.person for opt_out in opt_outs}) == len(FORMS) >= 20
    configure(tmp_path, target)

    def hand_on(batch: list[OptOut], number: int) -> tuple[list[str], list[dict[str, str]]]:
        for opt_out in batch:
            fill_inbox(
                tmp_path / "inbox.db", [opt_out.body], endpoint=opt_out.provider, provider=opt_out.provider
            )
        assert call(tmp_path, "gather").returncode == 0
        name = f"opt-outs_{number}.csv"
        exported = call(
            tmp_path, "export", "--format", "opt-outs", "--since-last", "opt-outs", "--output", name
        )
        assert exported.returncode == 0, exported.stderr
        assert re.search(rb"held back: nothing", exported.stderr), exported.stderr
        content = (tmp_path / name).read_bytes()
        return people(content), list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))

    first, second = opt_outs[::2], opt_outs[1::2]
    handed_on, _ = hand_on(first, 1)
    assert sorted(handed_on) == sorted(opt_out.person for opt_out in first)
    insert_into_map(tmp_path, target, {opt_out.about for opt_out in opt_outs if opt_out.about})
    handed_on, rows = hand_on(second, 2)
    assert sorted(handed_on) == sorted(opt_out.person for opt_out in second)
    assert [row["campaign"] for row in rows].count(CAMPAIGN) == sum(bool(o.about) for o in second) > 0
    nothing = call(tmp_path, "export", "--format", "opt-outs", "--since-last", "opt-outs")
    assert nothing.stdout == b""
    everything = call(tmp_path, "export", "--format", "opt-outs")
    assert sorted(people(everything.stdout)) == sorted(opt_out.person for opt_out in opt_outs)
