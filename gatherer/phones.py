"""Phone numbers: from the digits providers send to E.164 with a plus sign."""

_SEPARATORS = str.maketrans("", "", "+ ()-.\u00a0\u202a\u202c")


def e164(raw: str | None) -> str | None:
    """Return `raw` as E.164 (`+` and 7 to 15 digits), or None if it is no international number.

    WhatsApp sends international numbers as bare digits; old data carries spaces and plus signs.
    Nothing is guessed: a number is not completed with a country code.
    """
    if not raw:
        return None
    digits = raw if raw.isdigit() else raw.translate(_SEPARATORS)
    if 7 <= len(digits) <= 15 and digits.isascii() and (digits is raw or digits.isdigit()):
        return "+" + digits
    return None
