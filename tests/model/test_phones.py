"""Phone numbers: E.164 or nothing, never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatherer.model import phones
from gatherer.model.phones import e164


@pytest.mark.parametrize(
    "raw",
    [
        "15550001111",
        "+15550001111",
        "+1 555 000 1111",
        "+1 (555) 000-1111",
        "1.555.000.1111",
        "\u202a+15550001111\u202c",
        "+1\u00a0555\u00a0000\u00a01111",
    ],
)
def test_every_way_to_write_a_number_is_one_number(raw: str) -> None:
    assert e164(raw) == "+15550001111"


@pytest.mark.parametrize(
    "raw", [None, "", "+", "123456", "1234567890123456", "call me", "US.10000000000000000001", "١٥٥٥٠٠٠١١١١",
            "²²²²²²²²", "1555000111x", "Y2FwaV9ncm91cDpGQUtF", "0x1555000"]
)  # fmt: skip
def test_what_is_no_international_number_is_none(raw: str | None) -> None:
    assert e164(raw) is None


@given(st.text())
def test_a_result_is_always_a_plus_and_seven_to_fifteen_digits(raw: str) -> None:
    phone = e164(raw)
    assert phone is None or (
        phone[0] == "+" and phone[1:].isascii() and phone[1:].isdigit() and 8 <= len(phone) <= 16
    )
    assert phone is None or e164(phone) == phone


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("+5511987654321", "+551187654321"),
        ("+5215512345678", "+525512345678"),
        ("+5491123456789", "+541123456789"),
    ],
)
def test_one_account_may_have_two_spellings(one: str, other: str) -> None:
    assert phones.spellings(one) == phones.spellings(other) == {one, other}


@pytest.mark.parametrize("number", ["+4917012345678", "+551134567890", "+5511234567", "+5212345", "+5411234"])
def test_most_have_one(number: str) -> None:
    assert phones.spellings(number) == {number}
