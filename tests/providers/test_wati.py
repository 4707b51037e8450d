"""What only Wati's decoder promises; the contract of all providers is proved by `test_contract`."""

import json
from itertools import permutations
from random import Random
from typing import Any

import pytest

from gatherer import providers
from gatherer.model import merge
from gatherer.model.records import Kind, OtherEvent, Record, Rejected, Response
from tests.providers.cases import case, notification

# A real conversation comes as nine posts: Wati posts v1 and v2 of each event when both are ticked.
CONVERSATION = (
    "template_sent",
    "template_sent_v2",
    "delivered",
    "delivered_v2",
    "read",
    "read_v3_in_other_case",
    "text_that_quotes_our_message",
    "replied_is_a_marker",
    "replied_v2_is_the_same_marker",
)


def decode(event: Any, provider: str = "wati", **changes: Any) -> list[Any]:
    return providers.decode(notification(json.dumps(event).encode(), provider, **changes))


def only_record(event: Any) -> Any:
    (record,) = decode(event)
    return record


def event_of(name: str) -> dict[str, Any]:
    return json.loads(case(f"wati/{name}").body)  # type: ignore[no-any-return]


def folded(names: tuple[str, ...]) -> dict[bytes, Record]:
    posts = [(CONVERSATION.index(name), name) for name in names]
    records = [
        record
        for number, name in posts
        for record in providers.decode(case(f"wati/{name}").notification(id=number))
        if not isinstance(record, Rejected)
    ]
    return {record.key: record for record in merge.fold(records)}


def test_nine_requests_of_a_conversation_are_four_facts_and_a_marker_in_any_order() -> None:
    expected = folded(CONVERSATION)
    kinds = sorted(record.kind for record in expected.values() if isinstance(record, Response))
    assert kinds == ["delivered", "read", "replied", "reply_marker", "sent"]
    dice = Random(9)
    for _ in range(200):
        assert folded(tuple(dice.sample(CONVERSATION, len(CONVERSATION)))) == expected


def test_marker_and_reply_stay_two_records_whichever_comes_first() -> None:
    names = ("text_that_quotes_our_message", "replied_is_a_marker", "replied_v2_is_the_same_marker")
    results = [folded(order) for order in permutations(names)]
    assert all(result == results[0] for result in results)
    by_kind = {record.kind: record for record in results[0].values() if isinstance(record, Response)}
    ours = event_of("template_sent")["whatsappMessageId"]
    assert set(by_kind) == {Kind.REPLIED, Kind.REPLY_MARKER}
    assert by_kind[Kind.REPLY_MARKER].about_message_id == by_kind[Kind.REPLIED].about_message_id == ours
    assert by_kind[Kind.REPLY_MARKER].message_id is None
    assert by_kind[Kind.REPLY_MARKER].reply_text is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("template_sent", "template_sent_v2"),
        ("template_sent", "template_sent_v2_bsuid"),
        ("delivered", "delivered_v2"),
        ("read", "read_v3_in_other_case"),
        ("replied_is_a_marker", "replied_v2_is_the_same_marker"),
    ],
)
def test_every_version_of_an_event_is_the_same_fact(first: str, second: str) -> None:
    records = [only_record(event_of(name)) for name in (first, second)]
    assert records[0].key == records[1].key
    merged = merge.merge(*records)
    assert merged == merge.merge(*reversed(records))
    if merged.kind is not Kind.REPLY_MARKER:
        assert merged.provider_message_id == event_of(second)["localMessageId"]


@pytest.mark.parametrize("suffix", ["", "_v2", "_V2", "_v2_bsuid", "_v17_whatever"])
@pytest.mark.parametrize(
    ("stem", "kind"),
    [
        ("sessionMessageSent", "sent"),
        ("templateMessageSent", "sent"),
        ("sentMessageDELIVERED", "delivered"),
        ("sentMessageREAD", "read"),
        ("sentMessageREPLIED", "reply_marker"),
        ("templateMessageFailed", "failed"),
        ("sessionMessageFailed", "failed"),
        ("message", "replied"),
    ],
)
def test_an_event_is_known_by_its_stem_in_any_case(stem: str, kind: str, suffix: str) -> None:
    for word in (stem, stem.upper(), stem.lower()):
        record = only_record({"eventType": word + suffix, "whatsappMessageId": "wamid.FAKE", "type": "text"})
        assert record.kind == kind


@pytest.mark.parametrize(
    "word", ["threadUpdate", "markedUnread", "sentMessage", "read", "_v2", "message2", "v2"]
)
def test_a_word_that_looks_like_another_stays_an_other_event(word: str) -> None:
    record = only_record({"eventType": word, "whatsappMessageId": "wamid.FAKE", "type": "text"})
    assert isinstance(record, OtherEvent)


# The same fact through another provider

OUT, IN = "wamid.FAKEOUT", "wamid.FAKEIN"


def through_meta(part: str, element: dict[str, Any]) -> Any:
    value = {"messaging_product": "whatsapp", part: [element]}
    changes = [{"field": "messages", "value": value}]
    (record,) = decode(
        {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}, "meta"
    )
    return record


@pytest.mark.parametrize(
    ("event", "word"),
    [
        ("templateMessageSent", "sent"),
        ("sentMessageDELIVERED_v2", "delivered"),
        ("sentMessageREAD", "read"),
        ("templateMessageFailed", "failed"),
    ],
)
def test_a_receipt_through_meta_is_the_same_fact(event: str, word: str) -> None:
    record = only_record({"eventType": event, "whatsappMessageId": OUT, "timestamp": "1790000000"})
    expected = through_meta("statuses", {"id": OUT, "status": word, "timestamp": "1790000000"})
    assert record.key == expected.key
    assert merge.merge(record, expected) == merge.merge(expected, record)


def test_an_answer_through_meta_is_the_same_fact() -> None:
    at = "1790000100"
    event = {"eventType": "message", "whatsappMessageId": IN, "timestamp": at, "waId": "15550001111"}
    message = {"id": IN, "from": "15550001111", "timestamp": at}
    pairs = [
        (event | {"type": "text", "text": "hi"}, message | {"type": "text", "text": {"body": "hi"}}),
        (
            event | {"type": "reaction", "text": "👍", "replyContextId": OUT},
            message | {"type": "reaction", "reaction": {"message_id": OUT, "emoji": "👍"}},
        ),
        (event | {"type": "poll"}, message | {"type": "poll"}),
    ]
    for wati, meta in pairs:
        record, expected = only_record(wati), through_meta("messages", meta)
        assert record.key == expected.key
        assert type(record) is type(expected)
        columns = ("kind", "about_message_id", "emoji", "reply_type", "reply_text", "phone", "occurred_at")
        for column in columns:
            assert getattr(record, column, None) == getattr(expected, column, None)


# Identity where WhatsApp has given no id


def test_a_failure_without_whatsapp_id_is_identified_by_watis_own() -> None:
    failure = {
        "eventType": "templateMessageFailed",
        "failedCode": "132001",
        "failedDetail": "no such template",
    }
    local = only_record(failure | {"localMessageId": "guid-1"})
    assert (local.kind, local.message_id, local.provider_message_id) == (Kind.FAILED, "guid-1", None)
    assert (local.error_code, local.error_details) == (132001, "no such template")
    v1 = only_record(failure | {"id": "r1"})
    v2 = only_record(
        failure | {"id": "r1", "localMessageId": "guid-2", "eventType": "templateMessageFailed_v2"}
    )
    assert v1.key == v2.key
    assert merge.merge(v1, v2).provider_message_id == "guid-2"
    assert only_record(failure | {"whatsappMessageId": "r1"}).key != v1.key  # another id space


def test_a_notice_without_a_time_that_is_sent_again_after_midnight_is_the_same_notice() -> None:
    body = event_of("template_approved")
    first = notification(json.dumps(body).encode(), "wati")
    days = [first, first._replace(received_at=first.received_at.replace(day=20))]
    keys = [record.key for post in days for record in providers.decode(post)]
    assert keys[0] == keys[1]


def test_unknown_events_are_identified_by_their_content_without_their_version() -> None:
    event = {"eventType": "callStatus", "id": "1", "status": "ringing"}
    same = event | {"eventType": "callStatus_v2", "localMessageId": "guid-1"}
    assert only_record(event).key == only_record(same).key
    assert only_record(event).key != only_record(event | {"status": "ended"}).key
    assert only_record(event).key != only_record(event | {"eventType": "callEnded"}).key


# Reactions


@pytest.mark.parametrize("text", [None, ""])
def test_a_reaction_without_emoji_was_taken_back(text: Any) -> None:
    reaction = {"eventType": "message", "type": "reaction", "whatsappMessageId": IN, "replyContextId": OUT}
    assert only_record(reaction | {"text": text}).emoji == ""
    assert only_record(reaction).emoji == ""


@pytest.mark.parametrize("text", [7, 1.5, True, False, [], ["👍"], {}, {"emoji": "👍"}])
def test_a_broken_emoji_is_not_a_removed_reaction(text: Any) -> None:
    reaction = {"eventType": "message", "type": "reaction", "whatsappMessageId": IN, "text": text}
    assert only_record(reaction).emoji is None


@pytest.mark.parametrize("data", ["👍", {"unicode": "👍"}, ["👍"], 7])
def test_something_else_where_the_emoji_might_be_is_not_a_removed_reaction(data: Any) -> None:
    reaction = {"eventType": "message", "type": "reaction", "whatsappMessageId": IN, "data": data}
    record = only_record(reaction)
    assert record.emoji is None
    assert json.loads(record.details)["data"] == data


# Whose message


@pytest.mark.parametrize("owner", [True, "true", "True"])
def test_a_message_of_ours_is_no_answer(owner: Any) -> None:
    record = only_record(
        {"eventType": "message", "whatsappMessageId": IN, "type": "text", "text": "STOP", "owner": owner}
    )
    assert isinstance(record, OtherEvent)


@pytest.mark.parametrize("owner", [False, "false", None, 0, "", "no"])
def test_a_message_of_theirs_is_an_answer(owner: Any) -> None:
    record = only_record(
        {"eventType": "message", "whatsappMessageId": IN, "type": "text", "text": "STOP", "owner": owner}
    )
    assert (record.kind, record.reply_text) == (Kind.REPLIED, "STOP")


def test_only_samples_of_the_documentation_are_tests() -> None:
    assert only_record(event_of("sample_callback")).is_test
    assert not only_record(event_of("text_that_quotes_nothing")).is_test


# Bad input


@pytest.mark.parametrize("junk", [True, 1.5, [], [1], {}, {"a": 1}])
@pytest.mark.parametrize("name", ["whatsappMessageId", "localMessageId", "waId"])
def test_an_id_of_another_type_costs_only_its_own_event(name: str, junk: Any) -> None:
    good = event_of("delivered")
    decoded = decode([good, good | {name: junk}, good])
    assert [type(record) for record in decoded] == [Response, Rejected, Response]
    assert decoded[1].path == "$[1]"


@pytest.mark.parametrize("junk", [None, True, 7, 1e300, "x", [], {"a": [1]}])
def test_no_other_value_costs_an_event(junk: Any) -> None:
    ids = {"whatsappMessageId", "localMessageId", "waId", "eventType", "replyContextId", "type", "owner"}
    for name in (
        "delivered_v2",
        "failed",
        "reaction",
        "interactive_list",
        "image_with_caption",
        "new_contact",
    ):
        event = event_of(name)
        for key in event.keys() - ids:
            assert not isinstance(only_record(event | {key: junk}), Rejected), key


def test_an_empty_array_has_no_elements() -> None:
    assert decode([]) == []
