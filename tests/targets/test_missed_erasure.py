"""A target that lacks the tombstones of an erased person loses the rows about that person, with every engine."""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from gatherer.model.notification import Notification
from gatherer.model.person import Hashing, Person
from gatherer.pipeline.decode import decode_batch
from gatherer.privacy.erase import sweep
from gatherer.targets.base import Batch, Target
from tests.factories import envelope, notification, text, value
from tests.targets.engines import Database, rows
from tests.targets.test_contract import NOW, response
from tests.targets.test_privacy import key, map_message, other

ANN, BOB = "4917011111111", "4917022222222"
HASHING = Hashing("a secret key")
ERASED_AT = NOW + timedelta(hours=1)
LATER = NOW + timedelta(hours=2)


def decode(notifications: Sequence[Notification]) -> Batch:
    return decode_batch(notifications, frozenset())


@pytest.mark.babelfish("leaves the escapes of JSON in texts from OPENJSON")
def test_rows_about_the_person_are_removed_and_rows_about_others_stay(
    target: Target, database: Database
) -> None:
    person = Person(phones=frozenset({f"+{ANN}"}), message_ids=frozenset({"wamid.OUT00001"}))
    broken = [text("", **{"from": number}) | {"id": None} for number in (ANN, BOB)]
    target.apply(decode([notification(envelope(value(messages=broken)), 7)]))
    target.apply(
        Batch(
            records=[
                response(key(1), phone=f"+{ANN}", message_id="wamid.OUT00002"),
                response(key(2), phone=f"+{ANN}", message_id="wamid.LATER", occurred_at=LATER),
                response(key(3), phone=f"+{BOB}", reply_text=ANN, details=json.dumps({"a": ANN, "b": 1})),
                response(key(4), message_id="wamid.OUT00001", occurred_at=LATER),
                response(key(5), message_id="wamid.OUT00002"),
                response(key(6), message_id="wamid.OUT00003"),
                other(key(7), details=json.dumps({"people": [{"p": ANN}, {"p": BOB}]})),
                other(key(8), details=json.dumps({"people": [{"p": ANN}]})),
            ]
        )
    )
    map_message(database, phone=f"+{ANN}", sent_at="2020-01-01 00:00:00")
    map_message(database, phone=f"+{ANN}", campaign="not sent yet")
    map_message(database, message_id="wamid.OUT00001", sent_at="2020-01-01 00:00:00")
    outcome = sweep(target, HASHING, HASHING.bury(person, ERASED_AT), decode)
    remaining = {row["key"]: row for row in rows(database)}
    assert remaining.keys() == {key(2), key(3), key(6)}
    assert (remaining[key(3)]["reply_text"], remaining[key(3)]["details"]) == (None, '{"b":1}')
    (event,) = rows(database, "other_event")
    assert json.loads(event["details"]) == {"people": [{"p": BOB}]}
    mapped = database.query("SELECT campaign FROM $(schema).message_map")
    assert [row["campaign"] for row in mapped] == ["not sent yet"]
    ((stored,),) = target.kept_notifications()
    assert BOB.encode() in stored.body
    assert ANN.encode() not in stored.body
    assert len(rows(database, "rejected")) == 1
    assert outcome.removed > 0
    assert len(target.tombstones()) == 2
