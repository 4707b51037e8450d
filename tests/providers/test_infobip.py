"""Infobip: what the payload cases do not say. Identity over shapes, whose phone it is, order, wrong types."""

import copy
import json
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from gatherer.model import merge
from gatherer.model.records import Kind, OtherEvent, Reason, Record, Rejected, Response
from gatherer.providers import infobip
from gatherer.providers.base import Decoded
from tests.factories import envelope, text, value
from tests.providers.cases import case, notification
from tests.providers.mutating import JUNK

ID = "fb000000-0000-4000-8000-000000000001"
STATUS = {"groupName": "DELIVERED", "name": "DELIVERED_TO_HANDSET"}
AT = "2026-11-21T12:01:56.494+0100"


def decode(*results: Any) -> Decoded:
    return infobip.decode(notification(json.dumps({"results": results}).encode(), "infobip"))


def response(**result: Any) -> Response:
    (decoded,) = decode(result)
    assert isinstance(decoded, Response), decoded
    return decoded


def answer(**message: Any) -> Response:
    return response(messageId="m", receivedAt=AT, message=message, **{"from": "447700900123"})


# Identity


def test_a_read_receipt_has_one_key_in_the_older_and_the_newer_form() -> None:
    (newer,), (older,) = case("infobip/seen").decode(), case("infobip/seen_in_the_older_form").decode()
    assert newer.key == older.key
    both = merge.fold([newer, older])
    assert both == merge.fold([older, newer])
    assert both[0].phone == "+447700900123"  # the older form alone says whose it is


@pytest.mark.parametrize(
    "more", ["applicationId", "entityId", "bulkId", "callbackData", "to", "doneAt", "price"]
)
def test_no_field_beside_the_id_is_part_of_a_key(more: str) -> None:
    lean = response(messageId=ID, status=STATUS)
    assert response(messageId=ID, status=STATUS, **{more: "1"}).key == lean.key


def test_every_word_of_one_outcome_is_one_fact_and_every_outcome_another() -> None:
    names = {"PENDING": ("PENDING_ENROUTE", "PENDING_WAITING_DELIVERY"), "EXPIRED": ("EXPIRED_UNKNOWN",)}
    keys = [
        {response(messageId=ID, status={"groupName": group, "name": name}).key for name in words}
        for group, words in names.items()
    ]
    assert [len(group_keys) for group_keys in keys] == [1, 1]
    assert keys[0] != keys[1]
    assert response(messageId=ID.upper(), status=STATUS).key != response(messageId=ID, status=STATUS).key


def test_a_message_with_an_id_of_whatsapps_is_the_same_fact_as_through_meta() -> None:
    from gatherer.providers import meta

    same = "wamid.HBgMFAKE0123456789"
    (through_meta,) = meta.decode(notification(envelope(value(messages=[text(same)])), "meta"))
    through_infobip = response(messageId=same, receivedAt=AT, message={"type": "TEXT", "text": "hello"})
    assert through_infobip.key == through_meta.key
    chosen = response(
        messageId="ABEG-1", receivedAt=AT, message={"type": "TEXT"}
    )  # merely looks a bit like one
    assert chosen.key != response(messageId="wamid.ABEG-1", receivedAt=AT, message={"type": "TEXT"}).key


def test_the_life_of_a_message_is_the_same_in_any_order() -> None:
    names = ("delivery_pending", "delivery_delivered", "seen", "seen_in_the_older_form", "deletion")
    posts = [case(f"infobip/{name}").notification(id=i) for i, name in enumerate(names)]
    results = []
    for order in permutations(posts):
        records = [fact for post in order for fact in infobip.decode(post) if isinstance(fact, Record)]
        results.append({record.key: record for record in merge.fold(records)})
    assert len(results[0]) == 4
    assert all(result == results[0] for result in results)


# Whose phone


def test_the_person_is_the_recipient_of_a_delivery_and_the_sender_of_an_answer() -> None:
    delivered = response(messageId=ID, status=STATUS, to="447700900123", **{"from": "442079460958"})
    assert (delivered.phone, delivered.business_phone) == ("+447700900123", "+442079460958")
    replied = response(messageId="m", message={"type": "TEXT"}, to="442079460958", **{"from": "447700900123"})
    assert (replied.phone, replied.business_phone) == ("+447700900123", "+442079460958")


def test_a_seen_report_with_both_numbers_has_no_phone() -> None:
    record = response(messageId=ID, seenAt=AT, to="447700900123", **{"from": "442079460958"})
    assert (record.kind, record.phone, record.phone_raw, record.business_phone) == (
        Kind.READ,
        None,
        None,
        None,
    )
    assert record.details == '{"from":"442079460958","to":"447700900123"}'


def test_the_contact_tells_the_phone_or_the_user_id() -> None:
    contact = {"phoneNumber": "447700900123", "userId": "GB.1"}
    replied = response(messageId="m", message={"type": "TEXT"}, contact=contact)
    assert (replied.phone, replied.user_id) == ("+447700900123", "GB.1")


# Times and words


@pytest.mark.parametrize(
    ("at", "source"),
    [
        ("2026-11-21T12:01:56.494+0100", "element"),
        ("2026-11-21T11:01:56.494Z", "element"),
        (1795258916494, "element"),
        ("1795258916", "element"),
        ("yesterday", "receipt"),
        ("0001-01-01T00:00:00.000+0000", "receipt"),
        ({}, "receipt"),
        (True, "receipt"),
        (None, "receipt"),
    ],
)
def test_times_are_read_in_every_form_and_junk_is_none(at: Any, source: str) -> None:
    delivered = response(messageId=ID, status=STATUS, doneAt=at, sentAt="2020-01-01T00:00:00.000+0000")
    assert delivered.occurred_at_source == source
    if source == "element":
        assert delivered.occurred_at.isoformat()[:19] == "2026-11-21T11:01:56"


def test_what_was_sent_happened_when_it_was_sent_and_not_when_it_was_done() -> None:
    sent = response(
        messageId=ID, status={"groupName": "PENDING"}, sentAt="2026-11-21T11:00:00.000+0000", doneAt=AT
    )
    assert (sent.kind, sent.occurred_at.minute) == (Kind.SENT, 0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"groupName": "pending"}, Kind.SENT),
        ({"groupId": 1}, Kind.SENT),
        ({"groupId": "3"}, Kind.DELIVERED),
        ({"groupName": "EXPIRED", "groupId": 3}, Kind.FAILED),
        ({"groupId": 5, "name": "REJECTED_DESTINATION"}, Kind.FAILED),
    ],
)
def test_the_group_tells_the_outcome(status: dict[str, Any], kind: Kind) -> None:
    assert response(messageId=ID, status=status).kind is kind


@pytest.mark.parametrize(
    "status", [{"groupName": "PENDING", "name": "PENDING_ACCEPTED"}, {"groupName": "ACCEPTED"}]
)
def test_what_infobip_only_accepted_is_not_sent(status: dict[str, Any]) -> None:
    assert [type(fact) for fact in decode({"messageId": ID, "status": status})] == [OtherEvent]


@pytest.mark.parametrize(
    ("reaction", "emoji"),
    [
        ({"emoji": "👍", "action": "ADDED"}, "👍"),
        ({"emoji": "👍"}, "👍"),
        ({"emoji": "👍", "action": "REMOVED"}, ""),
        ({"action": "REMOVED"}, ""),
        ({"emoji": 5, "action": "ADDED"}, None),
        ({"emoji": "", "action": "ADDED"}, None),
        ({}, None),
    ],
)
def test_only_removed_takes_a_reaction_back(reaction: dict[str, Any], emoji: str | None) -> None:
    assert answer(type="REACTION", **reaction).emoji == emoji


@pytest.mark.parametrize("given", ["CK-1", "", 5, {"ck": 1}, ["a"], None])
def test_callback_data_of_any_type_is_the_client_reference(given: Any) -> None:
    wanted = {"": None, 5: "5"}.get(given, given) if not isinstance(given, dict | list) else json.dumps(given)
    got = response(messageId=ID, status=STATUS, callbackData=given).client_reference
    assert got == (wanted.replace(" ", "") if isinstance(wanted, str) else wanted)


def test_a_preference_without_a_person_is_rejected() -> None:
    body = {"content": {"notificationMessagesStatus": "STOP"}, "createdAt": AT}
    (rejected,) = infobip.decode(notification(json.dumps(body).encode(), "infobip"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason_class is Reason.MISSING_ID


def test_an_opt_out_and_a_later_one_are_two_facts() -> None:
    keys = set()
    for at in (AT, AT.replace("12:", "13:")):
        body = {"content": {"notificationMessagesStatus": "STOP", "from": "447700900123"}, "createdAt": at}
        keys |= {fact.key for fact in infobip.decode(notification(json.dumps(body).encode(), "infobip"))}
    assert len(keys) == 2


# Bad input


@pytest.mark.parametrize("channel", [{"channel": "SMS"}, {"integrationType": "VIBER"}, {"smsCount": 1}])
def test_other_channels_are_no_receipts(channel: dict[str, Any]) -> None:
    assert [type(fact) for fact in decode({"messageId": ID, "status": STATUS, **channel})] == [OtherEvent]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_any_value_in_any_field_costs_only_its_own_result(junk: Any) -> None:
    """Junk in each field of each shape, between two good reports."""
    shapes = [
        {
            "messageId": ID,
            "to": "447700900123",
            "doneAt": AT,
            "status": STATUS,
            "error": {"id": 1},
            "callbackData": "c",
        },
        {"messageId": ID, "from": "1", "to": "2", "seenAt": AT},
        {"messageId": ID, "to": "2", "deletedAt": AT},
        {
            "messageId": ID,
            "from": "1",
            "message": {"type": "TEXT", "text": "x", "context": {"id": "q"}},
            "contact": {},
        },
        {"messageId": ID, "from": "1", "message": {"type": "REACTION", "emoji": "x"}, "pairedMessageId": "p"},
    ]
    for shape in shapes:
        for name in shape:
            broken = copy.deepcopy(shape) | {name: junk}
            decoded = decode(
                {"messageId": "a", "status": STATUS}, broken, {"messageId": "b", "status": STATUS}
            )
            assert len(decoded) == 3
            first, middle, last = decoded
            assert isinstance(first, Response)
            assert isinstance(last, Response)
            assert not isinstance(middle, Rejected) or (
                middle.path == "$.results[1]" and middle.reason_class in (Reason.ELEMENT, Reason.MISSING_ID)
            )


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (b'{"results":null}', []),
        (b'{"results":[]}', []),
        (b'{"results":5}', [Rejected]),
        (b'{"results":{"messageId":"a","seenAt":"x"}}', [Response]),
        (b'{"messageId":"a","seenAt":"x"}', [Response]),
        (b"[]", [Rejected]),
        (b"messageId=a&to=b", [Rejected]),
        (b'{"results":[{"messageId":"\\ud800","seenAt":"x"}]}', [Response]),
    ],
)
def test_the_envelope_may_be_missing_or_empty(body: bytes, kinds: list[type]) -> None:
    assert [type(fact) for fact in infobip.decode(notification(body, "infobip"))] == kinds


def test_both_forms_of_one_message_become_the_same_record() -> None:
    """The names of the keys differ, and so does where the message stands; a mixture is understood too."""
    common = {"messageId": "FAKE1", "receivedAt": "2026-09-21T14:13:21.000+0000"}
    older = {"from": "447700900123", "to": "447700900999"}
    newer = {"sender": "447700900123", "destination": "447700900999"}
    message = {"type": "TEXT", "text": "yes"}
    forms = [
        common | numbers | content
        for numbers in (older, newer)
        for content in ({"message": message}, {"content": [message]}, {"content": message, "event": "MO"})
    ]
    records = [replace(response(**form), details=None) for form in forms]
    assert records[0].reply_text == "yes"
    assert records == [records[0]] * len(forms)


@pytest.mark.parametrize("channel", ["SMS", "VIBER_BM", "RCS"])
@pytest.mark.parametrize("element", ["report", "message"])
def test_another_channel_is_never_a_response(channel: str, element: str) -> None:
    result: dict[str, Any] = {
        "messageId": "FAKE1",
        "channel": channel,
        "sender": "x",
        "destination": "447700900123",
    }
    if element == "report":
        result |= {"status": {"groupName": "DELIVERED"}, "doneAt": "2026-09-21T14:13:21.000+0000"}
    else:
        result |= {"content": [{"type": "TEXT", "text": "yes"}], "receivedAt": "2026-09-21T14:13:21.000+0000"}
    (event,) = decode(result)
    assert isinstance(event, OtherEvent)
    assert event.family == channel.lower()


def test_an_explicit_channel_outweighs_a_count_of_sms() -> None:
    report = {"messageId": "FAKE1", "to": "447700900123", "status": {"groupName": "DELIVERED"}, "smsCount": 1}
    assert decode(report)[0].table == "other_event"
    assert decode({**report, "channel": "WHATSAPP"})[0].table == "response"
