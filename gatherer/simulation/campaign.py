"""The webhooks of one campaign, made up from a seed: the same seed, count and start give the same bytes.

Its people do not exist. All its bodies carry the account and the number of the tests in Meta's dashboard, so
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
    500  # messages whose webhooks are shuffled together: what memory holds, however long the campaign
)
SENDING_SECONDS: Final = 3600.0  # it takes an hour to send
CLIENT_REFERENCE: Final = "gatherer-simulation/urn-"

# What happens to a hundred messages. Every hundred has this mix, in another order.
OUTCOMES: Final = {
    "failed": 3,  # at once
    "sent, failed": 3,
    "sent": 5,
    "sent, delivered": 29,
    "sent, delivered, read": 32,
    "sent, read": 5,  # WhatsApp leaves out the delivered when both happen at once
    "sent, delivered, read, text": 7,
    "sent, delivered, read, button": 5,
    "sent, delivered, read, list": 3,
    "sent, delivered, read, flow": 2,
    "sent, delivered, read, reaction": 3,
    "sent, delivered, read, reaction, changed": 2,
    "sent, delivered, read, reaction, removed": 1,
}
KINDS: Final = {  # of response, where the outcome has another name
    **dict.fromkeys(("text", "button", "list", "flow"), "replied"),
    **dict.fromkeys(("reaction", "changed", "removed"), "reacted"),
}
LATER: Final = {
    "sent": 1,
    "failed": 20,
    "delivered": 8,
    "read": 1800,
    "changed": 15,
    "removed": 40,
}  # seconds
ANSWERED_AFTER: Final = 400.0
BATCHES: Final = ((1, 1, 14), (2, 8, 4), (9, 40, 2))  # smallest, largest, weight
SEVERAL_ENTRIES_FROM: Final = 12  # updates in one body
REDELIVERED: Final = 0.05  # of the bodies, byte for byte
REBATCHED: Final = 0.04  # of the updates, once more in another body

PRICING: Final = {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"}


class Update(NamedTuple):
    """One element of `statuses` or `messages`, and the contact that goes with it."""

    array: str
    element: dict[str, Any]
    contact: dict[str, Any] | None


@dataclass(kw_only=True)
class Campaign:
    """The bodies to post, and the responses that they must lead to."""

    count: int  # messages
    seed: int
    start: datetime  # when the first message was sent
    malformed: bool = True  # with one body that is not JSON
    responses: Counter[str] = field(
        default_factory=Counter
    )  # facts by kind; complete when `bodies` is exhausted
    repeated: int = 0  # bodies and updates that repeat earlier ones

    def bodies(self) -> Iterator[bytes]:
        """Yield the bodies in the order in which to post them. To be called once."""
        chance = random.Random(self.seed)  # noqa: S311 - nothing here is a secret
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
        """Return `updates` in random order, in bodies of one to many, some of them more than once."""
        again = chance.sample(updates, k=round(len(updates) * REBATCHED))
        updates = updates + again
        chance.shuffle(updates)
        bodies = []
        while updates:
            [(least, most, _)] = chance.choices(BATCHES, [weight for *_, weight in BATCHES])
            size = chance.randint(least, most)
            batch, updates = updates[:size], updates[size:]
            half = len(batch) // 2 if len(batch) >= SEVERAL_ENTRIES_FROM else 0
            parts = [part for part in (batch[:half], batch[half:]) if part]
            bodies.append(meta_payload.encode(meta_payload.envelope(*[_values(part) for part in parts])))
        redelivered = chance.sample(bodies, k=max(1, round(len(bodies) * REDELIVERED)))
        for body in redelivered:
            bodies.insert(chance.randrange(len(bodies) + 1), body)
        self.repeated += len(again) + len(redelivered)
        return bodies


def yesterday() -> datetime:
    """Return nine o'clock yesterday (UTC): all of a campaign that started then has happened by now."""
    midnight = timestamps.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(hours=15)


class _Message:
    """One message of the campaign, the person it went to, and what happened."""

    def __init__(
        self, chance: random.Random, number: int, seed: int, sent_at: datetime, happened: list[str]
    ) -> None:
        self._chance = chance
        self._happened = happened
        self._at = sent_at
        phone = f"1555{(seed * 7919 + number) % 10_000_000:07}"  # 555: numbers that are assigned to no person
        self._phone: str | None = (
            phone if chance.random() > 0.04 else None
        )  # the rest: people with a username
        self._user_id = f"{chance.choice(phrases.COUNTRIES)}.{chance.randrange(10**19, 10**20)}"
        self._name = chance.choice(phrases.NAMES)
        self._reference = f"{CLIENT_REFERENCE}{number:07}"
        self._id = meta_payload.message_id(phone, chance.randbytes(9), outgoing=True)
        self._about = {"from": meta_payload.TEST_BUSINESS_PHONE, "id": self._id}
        self.kinds = [KINDS.get(what, what) for what in happened]

    def updates(self) -> Iterator[Update]:
        """Yield what is reported about the message, in the order in which it happened."""
        for what in self._happened:
            after = self._chance.expovariate(1 / LATER.get(what, ANSWERED_AFTER))
            self._at += timedelta(seconds=1 + after)
            match KINDS.get(what):
                case "replied":
                    yield self._answer(**_REPLIES[what](self))
                case "reacted":
                    yield self._answer(type="reaction", reaction=self._reaction(what))
                case _:
                    yield self._status(what)

    def _status(self, word: str) -> Update:
        status: dict[str, Any] = {"id": self._id, "status": word, "timestamp": self._timestamp()}
        if self._phone is not None:
            status["recipient_id"] = self._phone
        if word != "failed" or self._phone is None:
            status["recipient_user_id"] = self._user_id
        status["biz_opaque_callback_data"] = self._reference
        if word == "sent" or word == ("delivered" if "delivered" in self._happened else "read"):
            status["pricing"] = PRICING
        if word == "failed":
            [(code, title, details, _)] = self._chance.choices(
                phrases.FAILURES, [weight for *_, weight in phrases.FAILURES]
            )
            error = {"code": code, "title": title, "message": title, "error_data": {"details": details}}
            status["errors"] = [error | {"href": phrases.ERROR_PAGE}]
        return Update("statuses", status, None if word == "failed" else self._contact())

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

    def _reaction(self, what: str) -> dict[str, str]:
        reaction = {"message_id": self._id}
        return reaction if what == "removed" else reaction | {"emoji": self._chance.choice(phrases.EMOJI)}

    def text_reply(self) -> dict[str, Any]:
        """Return the content of an answer that was written."""
        text = {"type": "text", "text": {"body": self._chance.choice(phrases.REPLIES)}}
        # Most people just write; a person who swipes the message quotes it.
        return text | ({"context": self._about} if self._chance.random() < 0.4 else {})

    def button_reply(self) -> dict[str, Any]:
        """Return the content of a tap on a button of the template."""
        text, payload = self._chance.choice(phrases.BUTTONS)
        return {"context": self._about, "type": "button", "button": {"text": text, "payload": payload}}

    def list_reply(self) -> dict[str, Any]:
        """Return the content of a choice from a list."""
        row, title, description = self._chance.choice(phrases.LIST_ROWS)
        chosen = {"id": row, "title": title} | ({"description": description} if description else {})
        return self._interactive("list_reply", chosen)

    def flow_reply(self) -> dict[str, Any]:
        """Return the content of a form that was filled in."""
        answers = {
            "screen_0_rating": self._chance.choice(phrases.RATINGS),
            "screen_0_comment": self._chance.choice(phrases.COMMENTS),
            "flow_token": self._reference,
        }
        completed = {"response_json": json.dumps(answers), "body": "Sent", "name": "flow"}
        return self._interactive("nfm_reply", completed)

    def _interactive(self, what: str, chosen: dict[str, str]) -> dict[str, Any]:
        return {"context": self._about, "type": "interactive", "interactive": {"type": what, what: chosen}}

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
        chosen = [update for update in updates if update.array == array]
        if chosen:
            contacts = {str(update.contact): update.contact for update in chosen if update.contact}
            elements = [update.element for update in chosen]
            values.append(meta_payload.value(contacts=list(contacts.values()), **{array: elements}))
    return values
