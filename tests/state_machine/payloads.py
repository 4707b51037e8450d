"""Bodies that providers post, each together with the facts that it states: the oracle never decodes a body."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from hypothesis import strategies as st

ENDPOINTS: Final = (
    "meta",
    "meta-2",
    "onprem",
    "wati",
    "twilio",
    "infobip",
)  # provider, and a second one of Meta
NOW: Final = int(time.time())  # seconds since 1970: the right time, when the tests start
DAY: Final = 86_400
PHONES: Final = ("447700900001", "447700900002")


@dataclass(frozen=True)
class Fact:
    """What a body states about one response. Two facts of one identity are one row."""

    kind: str
    message_id: str
    at: int | None  # seconds since 1970, as the element states it
    columns: Mapping[str, Any]  # what else it states: values of columns, by name

    @property
    def identity(self) -> tuple[str, str]:
        return self.kind, self.message_id


@dataclass(frozen=True)
class Payload:
    """A request to one endpoint, and what must become of it."""

    endpoint: str
    body: bytes
    facts: tuple[Fact, ...] = ()
    rejections: tuple[tuple[str, str], ...] = ()  # path and class of reason
    other_events: tuple[tuple[str, str], ...] = ()  # family and message id
    content_type: str = field(default="application/json", compare=False)

    @property
    def provider(self) -> str:
        return self.endpoint.partition("-")[0]


def _fact(kind: str, message_id: str, at: int | None, **columns: Any) -> Fact:
    return Fact(kind, message_id, at, {name: value for name, value in columns.items() if value is not None})


def _facts_of_reply(message_id: str, at: int | None, text: str, **columns: Any) -> tuple[Fact, ...]:
    """Return the reply, and the opt-out that it is as well if it is the word STOP."""
    reply = _fact("replied", message_id, at, reply_text=text, **columns)
    if text != "STOP":
        return (reply,)
    return reply, _fact("opted_out", message_id, at, reply_text=text, **columns)


def receipt(endpoint: str, word: str, number: int, phone: str, at: int, reference: str | None) -> Payload:
    """Return a body with one receipt, in the form of WhatsApp that Meta and on-premises servers post."""
    message_id = f"wamid.OUT{number}"
    element: dict[str, Any] = {"id": message_id, "status": word, "timestamp": str(at), "recipient_id": phone}
    errors: dict[str, Any] = {}
    if reference is not None:
        element["biz_opaque_callback_data"] = reference
    if word == "failed":
        element["errors"] = [{"code": 131026, "title": "Message undeliverable"}]
        errors = {"error_code": 131026, "error_title": "Message undeliverable"}
    fact = _fact(word, message_id, at, phone="+" + phone, client_reference=reference, **errors)
    return _whatsapp(endpoint, {"statuses": [element]}, facts=(fact,))


def reply(
    endpoint: str, number: int, phone: str, at: int, text: str, name: str | None, about: int | None
) -> Payload:
    """Return a body with one text that a person wrote."""
    message_id = f"wamid.IN{number}"
    message: dict[str, Any] = {
        "from": phone, "id": message_id, "timestamp": str(at), "type": "text", "text": {"body": text},
    }  # fmt: skip
    parts: dict[str, Any] = {"messages": [message]}
    if name is not None:
        parts["contacts"] = [{"wa_id": phone, "profile": {"name": name}}]
    quoted = None if about is None else f"wamid.OUT{about}"
    if quoted is not None:
        message["context"] = {"id": quoted}
    facts = _facts_of_reply(
        message_id, at, text, phone="+" + phone, profile_name=name, about_message_id=quoted
    )
    return _whatsapp(endpoint, parts, facts=facts)


def reaction(endpoint: str, number: int, phone: str, at: int, emoji: str, about: int) -> Payload:
    """Return a body with one reaction; an empty `emoji` takes it back."""
    message_id, quoted = f"wamid.RE{number}", f"wamid.OUT{about}"
    content = {"message_id": quoted} | ({"emoji": emoji} if emoji else {})
    message = {
        "from": phone, "id": message_id, "timestamp": str(at), "type": "reaction", "reaction": content,
    }  # fmt: skip
    fact = _fact("reacted", message_id, at, phone="+" + phone, emoji=emoji, about_message_id=quoted)
    return _whatsapp(endpoint, {"messages": [message]}, facts=(fact,))


def partly_bad(endpoint: str, number: int, at: int) -> Payload:
    """Return a body of which one element is a fact, two are rejected, and one is of a type that is not known."""
    message_id, unknown_id = f"wamid.OUT{number}", f"wamid.UN{number}"
    statuses: list[Any] = [{"id": message_id, "status": "sent", "timestamp": str(at)}, 7, {"status": "read"}]
    messages = [{"from": PHONES[0], "id": unknown_id, "timestamp": str(at), "type": "hologram"}]
    prefix = "$" if endpoint == "onprem" else "$.entry[0].changes[0].value"
    return _whatsapp(
        endpoint,
        {"statuses": statuses, "messages": messages},
        facts=(_fact("sent", message_id, at),),
        rejections=((f"{prefix}.statuses[1]", "element"), (f"{prefix}.statuses[2]", "missing_id")),
        other_events=(("messages", unknown_id),),
    )


def _whatsapp(endpoint: str, parts: dict[str, Any], **outcome: Any) -> Payload:
    """Return `parts` as an on-premises server posts them, or in the envelope of Meta."""
    if endpoint == "onprem":
        return Payload(endpoint, json.dumps(parts).encode(), **outcome)
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550002222", "phone_number_id": "100000000000001"},
        **parts,
    }
    entry = {"id": "900000000000001", "changes": [{"field": "messages", "value": value}]}
    body = {"object": "whatsapp_business_account", "entry": [entry]}
    return Payload(endpoint, json.dumps(body).encode(), **outcome)


def wati_read(number: int, at: int) -> Payload:
    """Return Wati's report that a message was read. It names no person."""
    message_id = f"wamid.OUT{number}"
    body = {"eventType": "sentMessageREAD", "statusString": "Read", "id": f"66f{number}"}
    body |= {"whatsappMessageId": message_id, "type": "template", "timestamp": str(at)}
    return Payload("wati", json.dumps(body).encode(), facts=(_fact("read", message_id, at),))


def twilio_status(number: int, word: str) -> Payload:
    """Return Twilio's report about a message: a form without a time, with an id of Twilio's own."""
    message_id = f"SM{number:032}"
    form = {"MessageSid": message_id, "MessageStatus": word, "To": f"whatsapp:+{PHONES[0]}"}
    return Payload(
        "twilio",
        urlencode(form).encode(),
        facts=(_fact(word, message_id, None, phone="+" + PHONES[0]),),
        content_type="application/x-www-form-urlencoded",
    )


def infobip_report(number: int, phone: str, at: int) -> Payload:
    """Return Infobip's report that a message was delivered."""
    message_id = f"fb000000-0000-4000-8000-{number:012}"
    report = {"messageId": message_id, "to": phone, "doneAt": at}
    report["status"] = {"groupId": 3, "groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"}
    fact = _fact("delivered", message_id, at, phone="+" + phone)
    return Payload("infobip", json.dumps({"results": [report]}).encode(), facts=(fact,))


def junk(endpoint: str, body: bytes, path: str, reason: str) -> Payload:
    """Return a body that is no request of the provider: one rejection."""
    return Payload(endpoint, body, rejections=((path, reason),))


JUNK: Final = (
    (b"{", "$", "unreadable"),
    (b"\xff\xfe\x00", "$", "unreadable"),
    (b"[" * 3000, "$", "unreadable"),
    (b'{"entry": 7, "a": "x"}', "$.entry", "element"),
    (b'{"hello": "world"}', "$", "shape"),
    (b"42", "$", "shape"),
)


def payloads() -> st.SearchStrategy[Payload]:
    """Return a strategy: few ids, people and times, so that deliveries meet, repeat and contradict each other."""
    numbers = st.integers(1, 4)
    # Mostly times of the same few minutes; also one of last year, and one of which no right clock can know yet.
    times = st.sampled_from([NOW, NOW, NOW + 60, NOW + 60, NOW + 120, NOW - 400 * DAY, NOW + 4000 * DAY])
    whatsapp = st.sampled_from(["meta", "meta-2", "onprem"])
    phones = st.sampled_from(PHONES)
    optional_number = st.none() | st.integers(1, 2)
    return st.one_of(
        st.builds(
            receipt, whatsapp, st.sampled_from(["sent", "delivered", "read", "failed"]), numbers, phones, times,
            st.sampled_from([None, "ref1", "ref2"]),
        ),
        st.builds(
            reply, whatsapp, numbers, phones, times, st.sampled_from(["hello", "STOP", "ну да 👍"]),
            st.sampled_from([None, "Kim", "Åsa"]), optional_number,
        ),
        st.builds(
            reaction, whatsapp, numbers, phones, times, st.sampled_from(["👍", "❤️", ""]), st.integers(1, 2)
        ),
        st.builds(partly_bad, whatsapp, numbers, times),
        st.builds(wati_read, numbers, times),
        st.builds(twilio_status, numbers, st.sampled_from(["sent", "delivered", "read"])),
        st.builds(infobip_report, numbers, phones, times),
        st.builds(lambda endpoint, case: junk(endpoint, *case), whatsapp, st.sampled_from(JUNK)),
    )  # fmt: skip
