"""The webhooks of one simulated campaign, generated from a seed: equal seed, count and start give equal bytes.

Its people do not exist. All bodies have the account and the phone number of the tests in Meta's dashboard, so
that the decoder marks the rows as tests.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from gatherer.model import timestamps
from gatherer.simulation import meta_payload, phrases

WAVE: Final = (
    500  # messages whose webhooks are shuffled together; it bounds the memory, however long the campaign is
)
SENDING_SECONDS: Final = 3600.0  # from the first message to the last
CLIENT_REFERENCE: Final = "gatherer-simulation/urn-"

# The events of a hundred messages. Every hundred has this mix, in another order.
OUTCOMES: Final = {
    "failed": 3,  # at once
    "sent, failed": 3,
    "sent": 5,
    "sent, delivered": 29,
    "sent, delivered, read": 32,
    "sent, read": 5,  # WhatsApp leaves out "delivered" when both happen at once
    "sent, delivered, read, text": 7,
    "sent, delivered, read, button": 5,
    "sent, delivered, read, list": 3,
    "sent, delivered, read, flow": 2,
    "sent, delivered, read, reaction": 3,
    "sent, delivered, read, reaction, changed": 2,
    "sent, delivered, read, reaction, removed": 1,
}
KINDS: Final = {  # the kind of response, where the event has another name
    **dict.fromkeys(("text", "button", "list", "flow"), "replied"),
    **dict.fromkeys(("reaction", "changed", "removed"), "reacted"),
}
MEAN_DELAYS: Final = {  # of an event after the one before it, in seconds
    "sent": 1,
    "failed": 20,
    "delivered": 8,
    "read": 1800,
    "changed": 15,
    "removed": 40,
}
MEAN_ANSWER_DELAY: Final = 400.0  # the same for every other event
BATCH_SIZES: Final = ((1, 1, 14), (2, 8, 4), (9, 40, 2))  # smallest, largest, weight
TWO_ENTRIES_FROM: Final = 12  # updates in one body: from so many on, it has two entries
REDELIVERED: Final = 0.05  # share of the bodies that are sent again, byte for byte
REBATCHED: Final = 0.04  # share of the updates that are sent again in another body

PRICING: Final = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"}


class Update(NamedTuple):
    """One element of `statuses` or `messages`, and the contact that belongs to it."""

    array: str
    element: dict[str, Any]
    contact: dict[str, Any] | None


@dataclass(kw_only=True)
class Campaign:
    """The bodies of the requests, and the responses that they must lead to."""

    count: int  # messages
    seed: int
    start: datetime  # when the first message was sent
    malformed: bool = True  # whether one body is not JSON
    responses: Counter[str] = field(
        default_factory=Counter
    )  # facts by kind; complete when `bodies` is exhausted
    repeated: int = 0  # bodies and updates that repeat earlier ones

    def bodies(self) -> Iterator[bytes]:
        """Yield the bodies in the order in which to send them. To be called once."""
        chance = random.Random(self.seed)  # noqa: S311 - the simulation has no secrets
        outcomes: list[str] = []
        for first in range(0, self.count, WAVE):
            updates: list[Update] = []
            for number in range(first, min(first + WAVE, self.count)):
                if not outcomes:
                    outcomes = [outcome for outcome, weight in OUTCOMES.items() for _ in range(weight)]
                    chance.shuffle(outcomes)
                sent_at = self.start + timedelta(seconds=SENDING_SECONDS * number / self.count)
                message = _Message(chance, number, self.seed, sent_at, outcomes.pop().split(", "))
                self.responses.update(message.kinds)
                updates += message.updates()
            bodies = self._batched(chance, updates)
            if self.malformed and first == 0:
                bodies.insert(chance.randrange(len(bodies) + 1), bodies[0][: len(bodies[0]) * 2 // 3])
            yield from bodies

    def _batched(self, chance: random.Random, updates: list[Update]) -> list[bytes]:
        """Return bodies with `updates` in random order; each has one or more, and some updates are in two bodies."""
        repeated = chance.sample(updates, k=round(len(updates) * REBATCHED))
        updates = updates + repeated
        chance.shuffle(updates)
        bodies = []
        while updates:
            [(smallest, largest, _)] = chance.choices(BATCH_SIZES, [weight for *_, weight in BATCH_SIZES])
            size = chance.randint(smallest, largest)
            batch, updates = updates[:size], updates[size:]
            half = len(batch) // 2 if len(batch) >= TWO_ENTRIES_FROM else 0
            parts = [part for part in (batch[:half], batch[half:]) if part]
            bodies.append(meta_payload.encode(meta_payload.envelope(*[_values(part) for part in parts])))
        redelivered = chance.sample(bodies, k=max(1, round(len(bodies) * REDELIVERED)))
        for body in redelivered:
            bodies.insert(chance.randrange(len(bodies) + 1), body)
        self.repeated += len(repeated) + len(redelivered)
        return bodies


def yesterday() -> datetime:
    """Return nine o'clock yesterday (UTC): all events of a campaign that started then are in the past."""
    midnight = timestamps.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(hours=15)


class _Message:
    """One message of the campaign, its recipient, and its events."""

    def __init__(
        self, chance: random.Random, number: int, seed: int, sent_at: datetime, events: list[str]
    ) -> None:
        self._chance = chance
        self._events = events
        self._at = sent_at
        phone = f"1555{(seed * 7919 + number) % 10_000_000:07}"  # area code 555 is not assigned to people
        # WhatsApp does not report the number of a person with a username.
        self._phone: str | None = phone if chance.random() > 0.04 else None
        self._user_id = f"{chance.choice(phrases.COUNTRIES)}.{chance.randrange(10**19, 10**20)}"
        self._name = chance.choice(phrases.NAMES)
        self._reference = f"{CLIENT_REFERENCE}{number:07}"
        self._id = meta_payload.message_id(phone, chance.randbytes(9), outgoing=True)
        self._about = {"from": meta_payload.TEST_BUSINESS_PHONE, "id": self._id}
        self.kinds = [KINDS.get(event, event) for event in events]

    def updates(self) -> Iterator[Update]:
        """Yield the updates about the message, in the order of its events."""
        for event in self._events:
            delay = self._chance.expovariate(1 / MEAN_DELAYS.get(event, MEAN_ANSWER_DELAY))
            self._at += timedelta(seconds=1 + delay)
            match KINDS.get(event):
                case "replied":
                    yield self._answer(**_REPLIES[event](self))
                case "reacted":
                    yield self._answer(type="reaction", reaction=self._reaction(event))
                case _:
                    yield self._status(event)

    def _status(self, event: str) -> Update:
        status: dict[str, Any] = {"id": self._id, "status": event, "timestamp": self._timestamp()}
        if self._phone is not None:
            status["recipient_id"] = self._phone
        if event != "failed" or self._phone is None:
            status["recipient_user_id"] = self._user_id
        status["biz_opaque_callback_data"] = self._reference
        if event == "sent" or event == ("delivered" if "delivered" in self._events else "read"):
            status["pricing"] = PRICING
        if event == "failed":
            [(code, title, details, _)] = self._chance.choices(
                phrases.FAILURES, [weight for *_, weight in phrases.FAILURES]
            )
            error = {"code": code, "title": title, "message": title, "error_data": {"details": details}}
            status["errors"] = [error | {"href": phrases.ERROR_PAGE}]
        return Update("statuses", status, None if event == "failed" else self._contact())

    def _answer(self, **content: Any) -> Update:
        random_part = self._chance.randbytes(9)
        sender = {"from": self._phone} if self._phone is not None else {}
        message = sender | {
            "from_user_id": self._user_id,
            "id": meta_payload.message_id(self._phone or self._user_id, random_part, outgoing=False),
            "timestamp": self._timestamp(),
        }
        contact = self._contact() | {"profile": {"name": self._name}}
        return Update("messages", message | content, contact)

    def _reaction(self, event: str) -> dict[str, str]:
        reaction = {"message_id": self._id}
        return reaction if event == "removed" else reaction | {"emoji": self._chance.choice(phrases.EMOJI)}

    def text_reply(self) -> dict[str, Any]:
        """Return the content of a written answer."""
        text = {"type": "text", "text": {"body": self._chance.choice(phrases.REPLIES)}}
        # Most people write without quoting the message.
        return text | ({"context": self._about} if self._chance.random() < 0.4 else {})

    def button_reply(self) -> dict[str, Any]:
        """Return the content of a tap on a button of the template."""
        text, payload = self._chance.choice(phrases.BUTTONS)
        return {"context": self._about, "type": "button", "button": {"text": text, "payload": payload}}

    def list_reply(self) -> dict[str, Any]:
        """Return the content of a choice from a list."""
        row, title, description = self._chance.choice(phrases.LIST_ROWS)
        reply = {"id": row, "title": title} | ({"description": description} if description else {})
        return self._interactive("list_reply", reply)

    def flow_reply(self) -> dict[str, Any]:
        """Return the content of a completed form."""
        answers = {
            "screen_0_rating": self._chance.choice(phrases.RATINGS),
            "screen_0_comment": self._chance.choice(phrases.COMMENTS),
            "flow_token": self._reference,
        }
        reply = {"response_json": json.dumps(answers), "body": "Sent", "name": "flow"}
        return self._interactive("nfm_reply", reply)

    def _interactive(self, kind: str, reply: dict[str, str]) -> dict[str, Any]:
        return {"context": self._about, "type": "interactive", "interactive": {"type": kind, kind: reply}}

    def _contact(self) -> dict[str, Any]:
        number = {"wa_id": self._phone} if self._phone is not None else {}
        return number | {"user_id": self._user_id}

    def _timestamp(self) -> str:
        return str(int(self._at.timestamp()))


_REPLIES: Final = {
    "text": _Message.text_reply,
    "button": _Message.button_reply,
    "list": _Message.list_reply,
    "flow": _Message.flow_reply,
}


def _values(updates: list[Update]) -> list[meta_payload.Value]:
    """Return `updates` as Meta groups them: statuses together, messages together, each with their contacts."""
    values = []
    for array in ("statuses", "messages"):
        members = [update for update in updates if update.array == array]
        if members:
            contacts = {str(update.contact): update.contact for update in members if update.contact}
            elements = [update.element for update in members]
            values.append(meta_payload.value(contacts=list(contacts.values()), **{array: elements}))
    return values
