"""Phone numbers: E.164 or None, never a guess."""

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
def test_every_notation_of_a_number_gives_its_e164_form(raw: str) -> None:
    assert e164(raw) == "+15550001111"


@pytest.mark.parametrize(
    "raw", [None, "", "+", "123456", "1234567890123456", "call me", "US.10000000000000000001", "١٥٥٥٠٠٠١١١١",
            "²²²²²²²²", "1555000111x", "Y2FwaV9ncm91cDpGQUtF", "0x1555000"]
)  # fmt: skip
def test_invalid_numbers_are_none(raw: str | None) -> None:
    assert e164(raw) is None


@given(st.text())
def test_every_result_is_a_plus_sign_and_seven_to_fifteen_digits(raw: str) -> None:
    phone = e164(raw)
    assert phone is None or (
        phone[0] == "+" and phone[1:].isascii() and phone[1:].isdigit() and 8 <= len(phone) <= 16
    )
    assert phone is None or e164(phone) == phone


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("+5511987654321", "+551187654321"),
        ("+5215512345678", "+525512345678"),
        ("+5491123456789", "+541123456789"),
    ],
)
def test_both_spellings_of_an_account_are_known(first: str, second: str) -> None:
    assert phones.spellings(first) == phones.spellings(second) == {first, second}


@pytest.mark.parametrize("number", ["+4917012345678", "+551134567890", "+5511234567", "+5212345", "+5411234"])
def test_most_numbers_have_one_spelling(number: str) -> None:
    assert phones.spellings(number) == {number}
