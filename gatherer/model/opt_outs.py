"""Words with which people opt out: a reply that consists of such a word is an opt-out as well."""

import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import msgspec

from gatherer.model.records import Kind, Response, make_key

# English, German, French, Spanish, Italian, Dutch, Portuguese; and the label of Meta's own opt-out button.
DEFAULT_KEYWORDS: Final = (
    "STOP",
    "STOP ALL",
    "STOP PROMOTIONS",
    "UNSUBSCRIBE",
    "OPTOUT",
    "OPT OUT",
    "STOPP",
    "ABMELDEN",
    "ABBESTELLEN",
    "ARRET",
    "DESABONNER",
    "DESINSCRIRE",
    "BAJA",
    "CANCELLAMI",
    "AFMELDEN",
    "CANCELAR INSCRICAO",
)
_MAX_LENGTH: Final = 100  # characters; a longer message is not a keyword
# In the details of a reply that Twilio's Advanced Opt-Out took for an opt-out: also words of the account's own.
_DECLARED: Final = '"OptOutType":"STOP"'
_REPLY_TYPES: Final = frozenset(
    {"text", "button", "list"}
)  # typed or tapped; a caption belongs to its picture


Words = Callable[[str], frozenset[str]]  # the normalised keywords of the endpoint of that name


@lru_cache(maxsize=4096)
def normalise(text: str) -> str:
    """Return `text` without case, accents, punctuation, symbols and extra spaces."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in letters if c.isalnum() or c.isspace()).split())


def normalised(keywords: Iterable[str]) -> frozenset[str]:
    """Return `keywords` in the form that :func:`opt_out` compares."""
    return frozenset(filter(None, map(normalise, keywords)))


_DEFAULT: Final = normalised(DEFAULT_KEYWORDS)


def default_words(_endpoint: str) -> frozenset[str]:
    """Return the default keywords, which hold for every endpoint."""
    return _DEFAULT


def opt_out(reply: Response, keywords: frozenset[str]) -> Response | None:
    """Return the opt-out that `reply` amounts to, else None: the whole of it is one of `keywords`, or Twilio says so."""
    text = reply.reply_text if reply.reply_type in _REPLY_TYPES else None
    if text is None or len(text) > _MAX_LENGTH:
        return None
    if normalise(text) not in keywords and _DECLARED not in (reply.details or ""):
        return None
    # Made from the key of the reply, which identifies it for ids of any provider.
    key = make_key("reply", Kind.OPTED_OUT, reply.key.hex())
    return msgspec.structs.replace(reply, key=key, kind=Kind.OPTED_OUT, reply_type="keyword")
