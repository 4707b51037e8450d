"""Of 20 opt-outs in all forms, 20 are handed on by the next run.

Real processes: `gatherer serve` with an endpoint of each provider, `gatherer gather`, and the file of `[[after_run]]`.
"""

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from gatherer.model import timestamps
from tests.factories import envelope, run, value
from tests.server_process import configure, run_server
from tests.targets import engines

NOW = int(time.time())
OURS = "15550002222"
STEPS = """
[[after_run]]
name = "opt-outs"
export = { format = "opt-outs", output = 'opt-outs_%Y%m%d_%H%M%S_%f.csv' }
[[after_run]]
name = "ferg"
export = { format = "ferg", output = 'whatsapp_%Y%m%d_%H%M%S_%f.txt' }
"""
MAPPING = """
[endpoint.mapping]
elements = "/events/*"
kind = "/type"
message_id = "/id"
about_message_id = "/about"
phone = "/person"
occurred_at = "/at"
[endpoint.mapping.kinds]
goodbye = "opted_out"
"""


class OptOut(NamedTuple):
    """One person who opts out: what the person did, and how the provider reports it."""

    phone: str  # the person, without +
    words: str
    quoted: str | None  # our message, if the person quotes one

    @property
    def id(self) -> str:
        """The id of the person's own message."""
        return f"wamid.IN{self.phone}"

    @property
    def context(self) -> dict[str, Any]:
        """The part of a message of WhatsApp that quotes ours."""
        return {"context": {"id": self.quoted, "from": OURS}} if self.quoted else {}


def cloud_message(o: OptOut, kind: str, **content: Any) -> dict[str, Any]:
    return {"from": o.phone, "id": o.id, "timestamp": str(NOW), "type": kind, kind: content, **o.context}


def text(o: OptOut) -> dict[str, Any]:
    return cloud_message(o, "text", body=o.words)


def template_button(o: OptOut) -> dict[str, Any]:
    return cloud_message(o, "button", text=o.words, payload="button-2")


def interactive(reply: str) -> Callable[[OptOut], dict[str, Any]]:
    return lambda o: cloud_message(
        o, "interactive", type=reply, **{reply: {"id": "choice-2", "title": o.words}}
    )


def meta(message: Callable[[OptOut], dict[str, Any]]) -> Callable[[OptOut], bytes]:
    return lambda o: envelope(value(messages=[message(o)]))


def onprem(message: Callable[[OptOut], dict[str, Any]]) -> Callable[[OptOut], bytes]:
    return lambda o: json.dumps({"messages": [message(o)]}).encode()


def enablex(message: Callable[[OptOut], dict[str, Any]]) -> Callable[[OptOut], bytes]:
    return lambda o: json.dumps({"messages": [message(o)], "business_phone": OURS}).encode()


def meta_preference(o: OptOut) -> bytes:
    return preference({"wa_id": o.phone})


def meta_preference_without_phone(o: OptOut) -> bytes:
    return preference({"user_id": f"GB.{o.phone}"})


def preference(person: dict[str, str]) -> bytes:
    stop = {"category": "marketing_messages", "value": "stop", "timestamp": NOW, **person}
    metadata = {"display_phone_number": OURS, "phone_number_id": "100000000000001"}
    change = {"field": "user_preferences", "value": {"metadata": metadata, "user_preferences": [stop]}}
    return json.dumps(
        {"object": "whatsapp_business_account", "entry": [{"id": "9", "changes": [change]}]}
    ).encode()


def wati(o: OptOut) -> dict[str, Any]:
    return {
        "eventType": "message",
        "id": f"66f0{o.phone}",
        "whatsappMessageId": o.id,
        "waId": o.phone,
        "timestamp": str(NOW),
        "owner": False,
        "channelPhoneNumber": OURS,
        "replyContextId": o.quoted or "",
    }


def wati_text(o: OptOut) -> bytes:
    return json.dumps(wati(o) | {"type": "text", "text": o.words}).encode()


def wati_template_button(o: OptOut) -> bytes:
    button = {"text": o.words, "payload": '{"ButtonIndex":0}'}
    return json.dumps(wati(o) | {"type": "button", "text": o.words, "buttonReply": button}).encode()


def infobip_text(o: OptOut) -> bytes:
    message = {"type": "TEXT", "text": o.words, **o.context}
    report = {
        "from": o.phone,
        "to": OURS,
        "integrationType": "WHATSAPP",
        "receivedAt": timestamps.iso(timestamps.now()),
        "messageId": o.id,
        "message": message,
    }
    return json.dumps({"results": [report]}).encode()


def infobip_preference(o: OptOut) -> bytes:
    content = {"sender": OURS, "from": o.phone, "notificationMessagesStatus": "STOP"}
    return json.dumps(
        {"from": OURS, "content": content, "createdAt": timestamps.iso(timestamps.now())}
    ).encode()


def twilio_text(o: OptOut) -> bytes:
    return twilio(o, MessageType="text")


def twilio_button(o: OptOut) -> bytes:
    return twilio(o, MessageType="button", ButtonText=o.words, ButtonPayload="button-2")


def twilio_declared(o: OptOut) -> bytes:
    return twilio(o, MessageType="text", OptOutType="STOP")


def twilio(o: OptOut, **fields: str) -> bytes:
    message = {
        "MessageSid": f"SM{o.phone}",
        "SmsStatus": "received",
        "From": f"whatsapp:+{o.phone}",
        "To": f"whatsapp:+{OURS}",
        "Body": o.words,
        **({"OriginalRepliedMessageSid": o.quoted} if o.quoted else {}),
    }
    return urlencode(message | fields).encode()


def json_event(o: OptOut) -> bytes:
    event = {"type": "goodbye", "id": o.id, "about": o.quoted, "person": o.phone, "at": NOW}
    return json.dumps({"events": [event]}).encode()


# The provider, the form of the opt-out, the words, whether the person quotes our message, and whether message_map knows
# that message BEFORE the opt-out arrives or only AFTER.
BEFORE, AFTER = True, False
OPT_OUTS = [
    ("meta", meta(text), "Stop.", True, BEFORE),  # English
    ("meta", meta(text), "STOPP!", False, BEFORE),  # German
    ("meta", meta(text), "Désabonner", True, AFTER),  # French
    ("meta", meta(text), "baja 🙏", False, AFTER),  # Spanish
    ("meta", meta(text), "¡Cancellami!", False, BEFORE),  # Italian
    ("meta", meta(template_button), "Stop promotions", True, BEFORE),  # the label of Meta's own button
    ("meta", meta(interactive("button_reply")), "Unsubscribe", True, AFTER),
    ("meta", meta(interactive("list_reply")), "Abmelden", False, BEFORE),
    ("meta", meta_preference, "", False, BEFORE),  # WhatsApp's own stop
    ("meta", meta_preference_without_phone, "", False, AFTER),
    ("onprem", onprem(text), "Arrêt", True, AFTER),
    ("onprem", onprem(template_button), "Opt-out", True, BEFORE),
    ("wati", wati_text, "stop", False, AFTER),
    ("wati", wati_template_button, "Abbestellen", True, BEFORE),
    ("enablex", enablex(text), "UNSUBSCRIBE", False, BEFORE),
    ("enablex", enablex(template_button), "Désinscrire", True, AFTER),
    ("infobip", infobip_text, "Stop all", True, BEFORE),
    ("infobip", infobip_preference, "", False, AFTER),
    ("twilio", twilio_declared, "no more of this", False, AFTER),  # Twilio says that it is one
    ("json", json_event, "", True, BEFORE),  # a mapping says that it is one
]


def our_message(number: int) -> str:
    return f"wamid.OUT{number}"


def phone(number: int) -> str:
    return f"4477009001{number:02}"


def people(numbers: list[int]) -> list[str]:
    """Return how an export of opt-outs names the people with these numbers in the table."""
    return sorted(
        f"GB.{phone(number)}" if OPT_OUTS[number][1] is meta_preference_without_phone else f"+{phone(number)}"
        for number in numbers
    )


def exported(folder: Path, pattern: str, delimiter: str) -> list[dict[str, str]]:
    """Return the rows of all files with such a name, and delete them."""
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob(pattern)):
        with path.open(encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file, delimiter=delimiter)
        path.unlink()
    return rows


def import_map(folder: Path, numbers: list[int]) -> None:
    """Import the messages to the people with these numbers. They were sent five days ago: no recent reply finds them."""
    sent_at = timestamps.iso(timestamps.from_milliseconds((NOW - 5 * 86400) * 1000))
    rows = [f"{our_message(number)},spring,+{phone(number)},{sent_at}" for number in numbers]
    (folder / "sent.csv").write_text(
        "\n".join(["message_id,campaign,phone,sent_at", *rows]), encoding="utf-8"
    )
    ended = run(folder, "map", "import", "sent.csv")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_20_opt_outs_of_20_are_handed_on_by_the_next_run(tmp_path: Path, engine: str) -> None:
    numbers = list(range(len(OPT_OUTS)))
    assert len(numbers) == 20
    mapped_before = [number for number in numbers if OPT_OUTS[number][4] is BEFORE]
    quoting = [number for number in numbers if OPT_OUTS[number][3]]
    endpoints = [
        f'name = "{provider}"\nprovider = "{provider}"\npath = "/{provider}"\nunauthenticated = true\n'
        + (MAPPING if provider == "json" else "")
        for provider in sorted({provider for provider, *_ in OPT_OUTS})
    ]
    settings = STEPS
    if engine == "sqlserver":
        settings += engines.SQLServerDatabase(tmp_path).settings()
    configure(tmp_path, *endpoints, settings=settings)
    import_map(tmp_path, mapped_before)
    with run_server(tmp_path, *endpoints, settings=settings) as server:
        for number, (provider, form, words, quotes, _) in enumerate(OPT_OUTS):
            body = form(OptOut(phone(number), words, our_message(number) if quotes else None))
            kind = "application/x-www-form-urlencoded" if provider == "twilio" else "application/json"
            assert server.post(body, f"/{provider}", Content_Type=kind).status == 200

        ended = run(tmp_path, "gather")
        assert ended.returncode == 0, ended.stderr
        rows = exported(tmp_path, "opt-outs_*", ",")
        assert sorted(row["phone"] or row["user_id"] for row in rows) == people(numbers)
        assert {row["opted_out"] for row in rows} == {"1"}
        with_campaign = [row["phone"] for row in rows if row["campaign"] == "spring"]
        assert sorted(with_campaign) == people([number for number in quoting if number in mapped_before])
        in_ferg = exported(tmp_path, "whatsapp_*", "\t")
        assert sorted(row["Mobile"] for row in in_ferg if row["MessageType"] == "OptOut") == sorted(
            with_campaign
        )

        import_map(tmp_path, [number for number in numbers if number not in mapped_before])
        assert run(tmp_path, "gather").returncode == 0
        assert exported(tmp_path, "opt-outs_*", ",") == [], "handed on once"
        in_ferg = exported(tmp_path, "whatsapp_*", "\t")
        assert sorted(row["Mobile"] for row in in_ferg if row["MessageType"] == "OptOut") == people(
            [number for number in quoting if number not in mapped_before]
        )
