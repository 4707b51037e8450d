"""What only EnableX's decoder promises; the contract of all providers is proved by `test_contract`."""

import json
from typing import Any

import pytest

from gatherer import providers
from gatherer.model import merge
from gatherer.model.records import Kind, OtherEvent, Rejected, Response, TemplateEvent
from tests.providers.cases import notification

OUT, IN = "wamid.FAKEOUT", "wamid.FAKEIN"
STATUS = {
    "id": OUT,
    "recipient_id": "447700900123",
    "status": "read",
    "timestamp": "1790000030",
    "type": "message",
}
MESSAGE = {"id": IN, "from": "447700900123", "timestamp": "1790000100"}


def decode(body: Any, provider: str = "enablex") -> list[Any]:
    return providers.decode(notification(json.dumps(body).encode(), provider))


def status(**changes: Any) -> Any:
    (record,) = decode({"statuses": [STATUS | changes], "business_phone": "15550002222"})
    return record


def message(**changes: Any) -> Any:
    (record,) = decode({"messages": [MESSAGE | changes], "business_phone": "15550002222"})
    return record


# Identity


@pytest.mark.parametrize("word", ["sent", "delivered", "read", "failed"])
@pytest.mark.parametrize("message_id", [OUT, "gBEGkFAKE", "gBGGkFAKE", "ABEGkFAKE", "ABGGFlFAKE"])
@pytest.mark.parametrize("provider", ["meta", "onprem"])
def test_a_receipt_through_another_provider_is_the_same_fact(
    provider: str, message_id: str, word: str
) -> None:
    element = STATUS | {"id": message_id, "status": word}
    (expected,) = decode({"statuses": [element]}, provider)
    record = status(id=message_id, status=word, extra="urn=1")
    assert record.key == expected.key
    assert merge.merge(record, expected) == merge.merge(expected, record)


def test_an_answer_through_another_provider_is_the_same_fact() -> None:
    for content in (
        {"type": "text", "text": {"body": "hi"}},
        {"type": "reaction", "reaction": {"message_id": OUT, "emoji": "👍"}},
        {"type": "revoke", "revoke": {"original_message_id": "wamid.FAKEBEFORE"}},
        {"type": "poll"},
    ):
        (expected,) = decode({"messages": [MESSAGE | content]}, "meta")
        record = message(**content)
        assert (record.key, type(record)) == (expected.key, type(expected))


def test_an_id_of_enablexs_own_belongs_to_our_number_and_the_recipient() -> None:
    def key(phone: str, recipient: str, message_id: str = "request-1", word: str = "sent") -> bytes:
        element = STATUS | {"id": message_id, "recipient_id": recipient, "status": word}
        (record,) = decode({"statuses": [element], "business_phone": phone})
        return record.key  # type: ignore[no-any-return]

    first = key("15550002222", "447700900123")
    assert first == key("+1 555 000 2222", "447700900123")
    different = [
        key("15550003333", "447700900123"),
        key("15550002222", "447700900124"),
        key("15550002222", "447700900123", "request-2"),
        key("15550002222", "447700900123", "request-1", "read"),
    ]
    assert len({first, *different}) == 5
    (of_whatsapp,) = decode({"statuses": [STATUS | {"id": "request-1", "status": "sent"}]}, "onprem")
    assert of_whatsapp.key != first


# Extra


@pytest.mark.parametrize(
    ("extra", "reference"),
    [
        ("campaign=SPR26;urn=1", "campaign=SPR26;urn=1"),
        ({"urn": "1", "campaign": "SPR26"}, '{"campaign":"SPR26","urn":"1"}'),
        (["a", 1], '["a",1]'),
        (17, "17"),
        (None, None),
        ("", None),
    ],
)
def test_extra_is_the_client_reference_of_receipts_and_answers(extra: Any, reference: str | None) -> None:
    assert status(extra=extra).client_reference == reference
    assert status(extra=extra, status="failed", errors=[{"code": 131026}]).client_reference == reference
    assert message(type="text", text={"body": "hi"}, extra=extra).client_reference == reference


# Deletions


@pytest.mark.parametrize(
    "content",
    [
        {"type": "deleted", "deleted": {"message_id": "wamid.FAKEBEFORE"}},
        {"type": "delete", "delete": {"original_message_id": "wamid.FAKEBEFORE"}},
        {"type": "message_deleted", "message": {"id": "wamid.FAKEBEFORE"}},
        {"type": "deleted", "context": {"id": "wamid.FAKEBEFORE"}},
        {"type": "revoke", "revoke": {"original_message_id": "wamid.FAKEBEFORE"}},
    ],
)
def test_a_deletion_that_names_a_message_revokes_it(content: dict[str, Any]) -> None:
    record = message(**content)
    assert (record.kind, record.message_id, record.about_message_id) == (Kind.REVOKED, IN, "wamid.FAKEBEFORE")


@pytest.mark.parametrize("content", [{}, {"deleted": None}, {"deleted": {"message_id": 7}}, {"deleted": "x"}])
def test_a_deletion_that_names_nothing_stays_an_other_event(content: dict[str, Any]) -> None:
    record = message(type="deleted", **content)
    assert isinstance(record, OtherEvent)
    assert json.loads(record.details or "") == MESSAGE | {"type": "deleted"} | content


# Template updates


def test_a_template_update_is_kept_whole_and_identified_by_its_content() -> None:
    body = {"template": {"name": "spring_offer", "status": "paused"}, "business_phone": "15550002222"}
    (record,) = decode(body)
    assert isinstance(record, TemplateEvent)
    assert (record.event, record.template_name) == ("PAUSED", "spring_offer")
    assert json.loads(record.details or "") == body
    (again,) = decode(body)
    (other,) = decode(body | {"template": {"name": "spring_offer", "status": "approved"}})
    assert record.key == again.key != other.key


def test_receipts_beside_a_template_are_receipts_all_the_same() -> None:
    decoded = decode({"statuses": [STATUS], "template": {"name": "x"}, "business_phone": "15550002222"})
    assert [type(record) for record in decoded] == [Response, OtherEvent]


# Bad input


@pytest.mark.parametrize("junk", [None, True, 7, 1.5, "x", [], {}, [[]], {"a": 1}])
@pytest.mark.parametrize("part", ["statuses", "messages", "contacts", "errors", "business_phone", "template"])
def test_a_part_of_another_type_costs_no_sibling(part: str, junk: Any) -> None:
    body = {"statuses": [STATUS], "messages": [MESSAGE | {"type": "text"}], "business_phone": "15550002222"}
    kinds = {record.kind for record in decode(body | {part: junk}) if isinstance(record, Response)}
    assert kinds == {Kind.READ, Kind.REPLIED} - {{"statuses": Kind.READ, "messages": Kind.REPLIED}.get(part)}


@pytest.mark.parametrize("field", ["id", "status", "recipient_id"])
def test_a_bad_status_costs_only_itself(field: str) -> None:
    decoded = decode(
        {"statuses": [STATUS, STATUS | {field: {"a": 1}}, STATUS], "business_phone": "15550002222"}
    )
    assert [type(record) for record in decoded] == [Response, Rejected, Response]
    assert decoded[1].path == "$.statuses[1]"


def test_a_body_without_our_number_and_without_known_keys_is_rejected() -> None:
    assert [type(record) for record in decode({"hello": "world"})] == [Rejected]
    assert [type(record) for record in decode({"hello": "world", "business_phone": "1"})] == [OtherEvent]
