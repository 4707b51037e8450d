"""Phone numbers: from the digits providers send to E.164 with a plus sign."""

import re
from typing import Final

SEPARATORS: Final = "+ ()-.\u00a0\u202a\u202c"  # what people write between the digits of a number
_WITHOUT_SEPARATORS: Final = str.maketrans("", "", SEPARATORS)
# Where WhatsApp's id of an account may be another spelling than the number that people dial. Meta, of `wa_id`: it may
# not match the phone number; Brazil has added a 9 to mobile numbers, Mexico had a 1, Argentina has a 9 from abroad.
_SPELLINGS: Final = tuple(
    (re.compile(pattern, re.ASCII), other)
    for pattern, other in (
        (r"\+55(\d\d)9([6-9]\d{7})", r"+55\1\2"),
        (r"\+55(\d\d)([6-9]\d{7})", r"+55\g<1>9\2"),
        (r"\+521(\d{10})", r"+52\1"),
        (r"\+52([2-9]\d{9})", r"+521\1"),
        (r"\+549(\d{10})", r"+54\1"),
        (r"\+54([1-8]\d{9})", r"+549\1"),
    )
)


def e164(raw: str | None) -> str | None:
    """Return `raw` as E.164 (`+` and 7 to 15 digits), or None if it is no international number.

    WhatsApp sends international numbers as bare digits; old data carries spaces and plus signs.
    Nothing is guessed: a number is not completed with a country code.
    """
    if not raw:
        return None
    digits = raw if raw.isdigit() else bare(raw)
    if 7 <= len(digits) <= 15 and digits.isascii() and (digits is raw or digits.isdigit()):
        return "+" + digits
    return None


def bare(text: str) -> str:
    """Return `text` without what stands between the digits of numbers in it."""
    return text.translate(_WITHOUT_SEPARATORS)


def spellings(number: str) -> frozenset[str]:
    """Return the E.164 `number` and, if there is one, the other by which WhatsApp may know the same account."""
    others = {pattern.sub(other, number) for pattern, other in _SPELLINGS if pattern.fullmatch(number)}
    return frozenset({number, *others})
