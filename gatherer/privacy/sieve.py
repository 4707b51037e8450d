"""Telling quickly, from its bytes, that a body has nothing of a person: most have nothing, and reading them takes long."""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gatherer.model.person import Person
from gatherer.model.phones import SEPARATORS

_ENCODED: Final = [one.encode() for one in SEPARATORS]
_SINGLE: Final = b"".join(one for one in _ENCODED if len(one) == 1)
_SEVERAL: Final = [one for one in _ENCODED if len(one) > 1]
# In JSON, and in JSON inside its texts: what may stand between digits, and a slash, as they may be escaped; and a
# character of an identifier, or one that may stand between digits, written as its number.
_ESCAPED: Final = re.compile(rb"\\+[nrt]")
_SLASH: Final = re.compile(rb"\\+/")
_NUMBERED: Final = re.compile(rb"\\u(?:00[0-7aA]|20)")
_WORDS: Final = re.compile(rb"[\w./+-]+")
_AS_THEY_ARE: Final = re.compile(
    rb"[!#-\[\]-~]+"
)  # no writing has another way for these, once a form is unquoted
_PADDING: Final = b"="  # at the end of ids; before the values of forms


class Sieve:
    """What is looked for in bodies: all that a person is known by."""

    def __init__(self, person: Person) -> None:
        """Look for the phone numbers, user ids and message ids of `person`."""
        self._numbers = [phone.removeprefix("+").encode() for phone in person.phones]
        ids = {one.encode("utf-8", "surrogatepass") for one in person.user_ids | person.message_ids}
        bare = {one.rstrip(_PADDING) for one in ids}
        self._words = {one for one in bare if _WORDS.fullmatch(one)}
        user_ids = (
            one.encode("utf-8", "surrogatepass") for one in person.user_ids
        )  # of Twilio's with a prefix
        self._parts = sorted({*(bare - self._words), *user_ids})
        self._is_open = not all(map(_AS_THEY_ARE.fullmatch, self._parts))

    def lets_through(self, body: bytes) -> bool:
        """Tell whether something of the person may be in `body`. Where it says no, there is nothing."""
        if b"%" in body:  # a form, or a text with such a character
            body += b" " + unquote_to_bytes(body)
        if b"\\" in body:
            if _NUMBERED.search(body):
                return True
            body = _SLASH.sub(b"/", body)
        if self._is_open or any(part in body for part in self._parts):
            return True
        if self._words and not self._words.isdisjoint(_WORDS.findall(body)):
            return True
        return bool(self._numbers) and self._has_number(body)

    def _has_number(self, body: bytes) -> bool:
        if b"\\" in body:
            body = _ESCAPED.sub(b"", body)
        if not body.isascii():
            for separator in _SEVERAL:
                body = body.replace(separator, b"")
        body = body.translate(None, _SINGLE)
        return any(number in body for number in self._numbers)
