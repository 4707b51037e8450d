"""Phone numbers: from the digits that providers send to E.164 with a plus sign."""

import re
from typing import Final

_SEPARATORS: Final = "+ ()-.\u00a0\u202a\u202c"  # between the digits of numbers that providers send
_WITHOUT_SEPARATORS: Final = str.maketrans("", "", _SEPARATORS)
# People and programs also write hyphens, narrow spaces and direction marks there. Only `comparable` removes these:
# keys of facts are made with `e164`.
SEPARATORS: Final = (
    _SEPARATORS + "/\t\r\n\u200e\u200f\u2010\u2011\u2013\u202b\u202d\u202e\u202f\u2066\u2067\u2068\u2069"
)
_BARE: Final = str.maketrans("", "", SEPARATORS)
_SCHEME: Final = "tel:"
_FROM_ABROAD: Final = "00"  # in place of the plus
# Where WhatsApp's id of an account may differ from the number that people dial. Meta, of `wa_id`: it may
# not match the phone number; Brazil has added a 9 to mobile numbers, Mexico had a 1, Argentina has a 9 from abroad.
_SPELLINGS: Final = tuple(
    (re.compile(pattern, re.ASCII), replacement)
    for pattern, replacement in (
        (r"\+55(\d\d)9([6-9]\d{7})", r"+55\1\2"),
        (r"\+55(\d\d)([6-9]\d{7})", r"+55\g<1>9\2"),
        (r"\+521(\d{10})", r"+52\1"),
        (r"\+52([2-9]\d{9})", r"+521\1"),
        (r"\+549(\d{10})", r"+54\1"),
        (r"\+54([1-8]\d{9})", r"+549\1"),
    )
)


def e164(raw: str | None) -> str | None:
    """Return `raw` as E.164 (`+` and 7 to 15 digits), or None if it is not an international number.

    WhatsApp sends international numbers as bare digits; old data carries spaces and plus signs.
    Nothing is guessed: a number is not completed with a country code.
    """
    if not raw:
        return None
    digits = raw if raw.isdigit() else raw.translate(_WITHOUT_SEPARATORS)
    if 7 <= len(digits) <= 15 and digits.isascii() and (digits is raw or digits.isdigit()):
        return "+" + digits
    return None


def comparable(text: str) -> str | None:
    """Return `text`, an international number in any spelling, as E.164; None if it is not a number."""
    number = text[len(_SCHEME) :] if text[: len(_SCHEME)].lower() == _SCHEME else text
    return e164(bare(number).removeprefix(_FROM_ABROAD))


def bare(text: str) -> str:
    """Return `text` without separators of digits."""
    return text.translate(_BARE)


def spellings(number: str) -> frozenset[str]:
    """Return the E.164 `number` and, if there is one, the other number that WhatsApp may use for the account."""
    alternatives = {
        pattern.sub(replacement, number) for pattern, replacement in _SPELLINGS if pattern.fullmatch(number)
    }
    return frozenset({number, *alternatives})
