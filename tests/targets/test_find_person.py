"""Every target finds people by numbers in any format, and removes nothing about other people."""

from typing import Any

import pytest

from gatherer.model.person import Person
from gatherer.model.phones import SEPARATORS
from gatherer.privacy.bodies import written
from gatherer.targets.base import Batch, Target
from tests.targets.engines import Database, rows
from tests.targets.test_contract import NOW, response
from tests.targets.test_privacy import key, map_message, other

ANN = Person(phones=frozenset({"+4917011111111"}))
SPELLINGS = [
    *(f"+49{between}170{between}11111111" for between in SEPARATORS),
    "tel:+4917011111111",
    "0049 170/11111111",
    "+004917011111111",
    "whatsapp:+49 170 11111111",
    "4917011111111\n",
]


def test_rows_of_message_map_are_found_however_the_site_writes_the_number(
    target: Target, database: Database
) -> None:
    for spelling in [*SPELLINGS, "+4917011111112", "+49170111111112", "017011111111"]:
        map_message(database, phone=spelling)
    phones = [row["phone"] for row in target.find(ANN, NOW)["message_map"]]
    assert phones == SPELLINGS


def test_numbers_in_texts_are_found_however_they_are_written(target: Target) -> None:
    """A text as such and, with what JSON writes in another way, in JSON."""
    columns: list[dict[str, Any]] = []
    for spelling in SPELLINGS:
        columns += [{"reply_text": f"call {spelling}."}, {"details": written({"phone": spelling})}]
    columns.append({"client_reference": "+4917011111111"})
    records = [response(key(number), **record) for number, record in enumerate(columns, start=1)]
    events = [
        other(key(100 + number), details=written([spelling])) for number, spelling in enumerate(SPELLINGS)
    ]
    target.apply(Batch(records=[*records, *events, response(key(99), reply_text="+49 170 1111111 2")]))
    rows_by_table = target.find(ANN, NOW)
    assert {row["key"] for row in rows_by_table["response"]} == {record.key for record in records}
    assert {row["key"] for row in rows_by_table["other_event"]} == {record.key for record in events}


@pytest.mark.parametrize(
    "number",
    [r"+49\/170\/11111111", r"49\u00a0170 11111111", r"\u002b491701111111\u0031", r"49\t170\n11111111"],
)
def test_numbers_in_received_json_are_found(target: Target, number: str) -> None:
    """A Flow's answers are kept as they came."""
    received = f'{{"friend": "{number}"}}'
    target.apply(
        Batch(
            records=[
                response(key(1), phone="+15550009999", reply_payload=received),
                response(key(2), phone="+15550009999", reply_payload='{"friend": "49170\\/2"}'),
                other(key(3), details=received),
            ]
        )
    )
    rows_by_table = target.find(ANN, NOW)
    assert [row["key"] for row in rows_by_table["response"]] == [key(1)]
    assert [row["key"] for row in rows_by_table["other_event"]] == [key(3)]
    assert target.find(Person(message_ids=frozenset({"wamid.1"})), NOW)["response"] == []


def test_a_number_with_two_zeros_after_the_plus_is_found(target: Target) -> None:
    """Numbers that were received with two zeros in place of the plus are stored like this."""
    target.apply(Batch(records=[response(key(1), phone="+004917011111111"), response(key(2), phone_raw="tel:+4917011111111")]))  # fmt: skip
    assert [row["key"] for row in target.find(ANN, NOW)["response"]] == [key(1), key(2)]


@pytest.mark.parametrize("keep", [[], [key(1)], [key(1), key(2)], [key(3)]])
def test_a_rebuild_keeps_records_that_it_is_told_to(
    target: Target, database: Database, keep: list[bytes]
) -> None:
    target.apply(Batch(records=[response(key(1)), response(key(2)), response(key(3), notification_id=9)]))
    number = response(key(1)).notification_id
    outcome = target.rebuild([("inbox-a", number)], [], keep)
    remaining = {key(3), *(record for record in keep)}
    assert {row["key"] for row in rows(database)} == remaining
    assert outcome.removed == 3 - len(remaining)
    assert target.rebuild([("inbox-a", number)], []).removed == len(remaining) - 1, "nothing is remembered"
