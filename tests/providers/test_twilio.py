"""Twilio: what the payload cases do not say. Forms, channels, times, identity, and what is no form of Twilio's."""

from itertools import permutations
from urllib.parse import urlencode

import pytest

from gatherer.model import merge
from gatherer.model.records import Kind, OtherEvent, Reason, Record, Rejected, Response
from gatherer.providers import twilio
from gatherer.providers.base import Decoded
from gatherer.providers.payload import UnreadableBodyError, load_form
from tests.providers.cases import case, notification

FORM = "application/x-www-form-urlencoded"
SID = "SM00000000000000000000000000000001"


def decode(body: bytes) -> Decoded:
    return twilio.decode(notification(body, "twilio", FORM))


def one(**parameters: str) -> Record | Rejected:
    (decoded,) = decode(urlencode(parameters).encode())
    return decoded


def response(**parameters: str) -> Response:
    decoded = one(**parameters)
    assert isinstance(decoded, Response)
    return decoded


# Identity


@pytest.mark.parametrize(
    ("name", "lean"), [("twilio/status_read", "twilio/status_read_lean"), ("twilio/text", "twilio/text_lean")]
)
def test_a_fact_has_one_key_whichever_parameters_come_with_it(name: str, lean: str) -> None:
    assert [fact.key for fact in case(name).decode()] == [fact.key for fact in case(lean).decode()]


def test_the_id_counts_under_each_of_its_three_names() -> None:
    names = ("MessageSid", "SmsSid", "SmsMessageSid")
    keys = {one(**{name: SID, "MessageStatus": "sent"}).key for name in names}
    assert len(keys) == 1
    assert one(MessageSid=SID.lower(), MessageStatus="sent").key not in keys  # ids are case-sensitive


def test_the_two_words_for_a_failure_are_one_fact() -> None:
    assert one(MessageSid=SID, MessageStatus="failed").key == one(MessageSid=SID, SmsStatus="UNDELIVERED").key


def test_each_word_of_a_status_that_is_no_receipt_is_a_fact_of_its_own() -> None:
    words = ("queued", "accepted", "sending", "scheduled", "canceled", "partially_delivered", "something_new")
    events = [one(MessageSid=SID, MessageStatus=word) for word in words]
    assert all(isinstance(event, OtherEvent) for event in events)
    assert len({event.key for event in events}) == len(words)


def test_lean_and_full_deliveries_in_any_order_are_the_same_record() -> None:
    bodies = [
        case(f"twilio/{name}").body for name in ("text", "text_lean", "status_read", "status_read_lean")
    ]
    posts = [notification(body, "twilio", FORM, id=i) for i, body in enumerate(bodies)]
    results = []
    for order in permutations(posts):
        records = [fact for post in order for fact in twilio.decode(post) if isinstance(fact, Record)]
        results.append({record.key: record for record in merge.fold(records)})
    assert all(result == results[0] for result in results)
    assert len(results[0]) == 2
    assert {record.account_id for record in results[0].values()} == {"AC00000000000000000000000000000001"}


# Time


@pytest.mark.parametrize("name", ["Timestamp", "timestamp", "RawDlrDoneDate", "DateSent"])
def test_no_parameter_is_taken_for_a_time(name: str) -> None:
    read = response(MessageSid=SID, MessageStatus="read", **{name: "2611211201"})
    assert (read.occurred_at, read.occurred_at_source) == (read.received_at, "receipt")
    assert read.details == f'{{"{name}":"2611211201"}}'


# People and channels


@pytest.mark.parametrize(
    ("address", "phone"),
    [
        ("whatsapp:+447700900123", "+447700900123"),
        ("WhatsApp:+447700900123", "+447700900123"),
        ("whatsapp: 447700900123", "+447700900123"),  # a plus sign that the sender did not encode
        ("whatsapp:12", None),
        ("whatsapp:", None),
    ],
)
def test_the_phone_stands_behind_the_channel(address: str, phone: str | None) -> None:
    assert response(MessageSid=SID, MessageStatus="sent", To=address).phone == phone
    assert response(MessageSid=SID, Body="x", From=address).phone == phone


@pytest.mark.parametrize("address", ["+447700900123", "messenger:1234567", "rcs:brand", "sms:+447700900123"])
def test_other_channels_are_no_answers_and_no_receipts(address: str) -> None:
    for event in (
        one(MessageSid=SID, MessageStatus="read", To=address),
        one(MessageSid=SID, Body="STOP", From=address),
    ):
        assert isinstance(event, OtherEvent)
        assert event.family == (address.partition(":")[0] if ":" in address else "sms")


def test_the_wa_id_stands_in_for_a_missing_address() -> None:
    assert response(MessageSid=SID, Body="x", WaId="447700900123").phone == "+447700900123"


# Words


@pytest.mark.parametrize("word", ["sent", "delivered", "read"])
def test_a_read_event_is_read_with_any_status_of_a_sent_message(word: str) -> None:
    assert response(MessageSid=SID, MessageStatus=word, EventType="READ").kind is Kind.READ


def test_a_failure_stays_one_beside_a_read_event() -> None:
    assert response(MessageSid=SID, MessageStatus="failed", EventType="READ").kind is Kind.FAILED


@pytest.mark.parametrize(("code", "column"), [("63016", 63016), ("x", None), ("9" * 30, None), ("", None)])
def test_the_error_code_is_a_number_or_only_in_the_errors(code: str, column: int | None) -> None:
    failed = response(MessageSid=SID, MessageStatus="failed", ErrorCode=code)
    assert failed.error_code == column
    assert (failed.errors is None) == (code == "")


def test_an_empty_error_code_of_a_good_message_says_nothing() -> None:
    assert response(MessageSid=SID, MessageStatus="delivered", ErrorCode="").details is None


@pytest.mark.parametrize(
    ("mime", "reply_type"),
    [
        ("image/webp", "image"),
        ("audio/ogg", "audio"),
        ("text/vcard", "contacts"),
        ("text/plain", "document"),
        ("", "document"),
    ],
)
def test_the_type_of_a_medium_follows_from_its_mime_type(mime: str, reply_type: str) -> None:
    answer = response(MessageSid=SID, NumMedia="1", MediaUrl0="https://example.com/x", MediaContentType0=mime)
    assert (answer.reply_type, answer.media_id) == (reply_type, "https://example.com/x")


def test_more_media_than_one_stay_in_the_details() -> None:
    answer = response(
        MessageSid=SID, NumMedia="2", MediaUrl0="a", MediaUrl1="b", MediaContentType1="image/png"
    )
    assert answer.details == '{"MediaContentType1":"image/png","MediaUrl1":"b"}'


@pytest.mark.parametrize("payload", ["{", "5e", "", "[" * 100_000])
def test_a_flow_answer_is_kept_verbatim_even_where_it_is_no_json(payload: str) -> None:
    answer = response(MessageSid=SID, Body="Sent", FlowData=payload)
    assert answer.reply_payload == (payload or None)


# What is no form of Twilio's


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.UNREADABLE),
        (b"\r\n", Reason.UNREADABLE),
        (b"\xef\xbb\xbf", Reason.UNREADABLE),
        (b'{"MessageSid":"SM1","a":"&MessageSid=SM1&MessageStatus=read"}', Reason.UNREADABLE),
        (b'[{"type":"com.twilio.messaging.message.read"}]', Reason.UNREADABLE),
        (b"MessageSid=%C3%28&MessageStatus=sent", Reason.UNREADABLE),
        (b"MessageSid=SM1&Body=\xe9", Reason.UNREADABLE),
        ("MessageSid=SM1".encode("utf-16"), Reason.UNREADABLE),
        (b"&&&", Reason.SHAPE),
        (b"=", Reason.SHAPE),
        (b"<xml/>", Reason.SHAPE),
        (b"messagesid=SM1&messagestatus=sent", Reason.SHAPE),
        (b"MessageStatus=sent", Reason.MISSING_ID),
        (b"MessageSid=&MessageStatus=sent", Reason.MISSING_ID),
        (b"MessageSid=SM1", Reason.MISSING_ID),
        (b"MessageSid=SM1&MessageStatus=", Reason.MISSING_ID),
        (b"MessageSid=SM1&MessageSid=SM2&MessageStatus=sent", Reason.ELEMENT),
        (b"MessageSid=SM1&MessageStatus=sent&MessageStatus=read", Reason.ELEMENT),
    ],
)
def test_a_body_that_is_no_form_of_twilio_is_rejected_with_its_reason(body: bytes, reason: Reason) -> None:
    (rejected,) = decode(body)
    assert isinstance(rejected, Rejected)
    assert (rejected.reason_class, rejected.path, rejected.body) == (reason, "$", body)


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert isinstance(decode(b"\xef\xbb\xbfMessageSid=SM1&MessageStatus=sent")[0], Response)


def test_a_parameter_with_several_values_is_kept_and_fills_no_column() -> None:
    (answer,) = decode(b"MessageSid=SM1&SmsStatus=received&ProfileName=a&ProfileName=b&Body=x&Body=x")
    assert isinstance(answer, Response)
    assert (answer.profile_name, answer.reply_text) == (None, "x")
    assert answer.details == '{"ProfileName":["a","b"]}'


def test_many_values_of_one_name_cost_no_more_than_many_names() -> None:
    body = b"&".join(b"Body=%d" % i for i in range(200_000))
    assert len(load_form(body)["Body"]) == 200_000


def test_a_form_without_text_is_unreadable() -> None:
    with pytest.raises(UnreadableBodyError, match="empty"):
        load_form(b" ")
