"""What elements of one body share, and that one of them never costs another."""

from datetime import UTC, datetime
from typing import Any

from gatherer.model.records import OtherEvent, Reason, Record, Rejected
from gatherer.providers.base import Decoded, ElementError
from gatherer.providers.origin import Origin, decode_each, decode_one, other
from tests.providers.cases import RECEIVED_AT, notification

ENTRY_AT = datetime(2026, 9, 21, tzinfo=UTC)
POST = notification(b"{}", "meta")


def decode(origin: Origin, element: Any) -> Record:
    if element == "defect":
        raise ZeroDivisionError
    if element == "deep":
        raise RecursionError
    if element == "bad":
        raise ElementError("it is bad")
    return other(origin, element, "family", None)


def test_a_bad_element_and_a_defect_of_ours_cost_only_themselves() -> None:
    decoded = Decoded()
    decode_each(
        Origin(POST, "meta"), ["good", "bad", "defect", "deep", "good too"], decode, ("list",), decoded
    )
    assert [type(fact) for fact in decoded] == [OtherEvent, Rejected, Rejected, Rejected, OtherEvent]
    rejected = [fact for fact in decoded if isinstance(fact, Rejected)]
    assert [(fact.path, fact.reason_class) for fact in rejected] == [
        ("$.list[1]", Reason.ELEMENT),
        ("$.list[2]", Reason.DECODER),
        ("$.list[3]", Reason.ELEMENT),
    ]
    assert rejected[1].reason == "the decoder failed: ZeroDivisionError"


def test_a_single_element_is_rejected_at_its_own_path() -> None:
    decoded = Decoded()
    decode_one(Origin(POST, "meta"), "bad", decode, ("value",), decoded)
    assert [fact.path for fact in decoded if isinstance(fact, Rejected)] == ["$.value"]


def test_the_best_time_is_the_elements_then_the_entrys_then_receipt() -> None:
    origin = Origin(POST, "meta", entry_at=ENTRY_AT)
    assert origin.when("1790000000")[1] == "element"
    assert origin.when("junk") == (ENTRY_AT, "entry")
    assert Origin(POST, "meta").when(None) == (RECEIVED_AT, "receipt")


def test_a_notice_is_identified_by_the_entrys_time_and_never_by_that_of_receipt() -> None:
    assert Origin(POST, "meta", entry_at=ENTRY_AT).notice_time() == "2026-09-21T00:00:00.000Z"
    assert Origin(POST, "meta").notice_time() == ""
