"""`[[inbox]]`: several inboxes for one target, in files on this machine or offered by other machines."""

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from gatherer.config.base import ResolvedPath, Section, is_loopback
from gatherer.config.secret import InboxSecret
from gatherer.config.server import Inbox

ALONE: Final = "inbox"  # the name of the only inbox of an [inbox]
NAME: Final = r"^[A-Za-z0-9_.-]{1,100}$"
_PIN: Final = re.compile(
    r"(?:sha-?256(?: fingerprint)?[:/=]\s*)?((?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2})", re.IGNORECASE
)
_REMOTE_KEYS: Final = ("url", "token", "ca", "pin")


class NamedInbox(Inbox):
    """One of several inboxes: a file on this machine."""

    name: str = Field(pattern=NAME)
    """The name of this inbox, unique in the list. The target stores it with its position: do not change it
    later."""
    path: ResolvedPath
    """The SQLite file of this inbox."""


class OfferedInbox(Section):
    """One of several inboxes: offered by the `[pull]` of another machine."""

    name: str = Field(pattern=NAME)
    """The name of this inbox, unique in the list. The target stores it with its position: do not change it
    later."""
    url: str
    """Where the other machine offers its inbox, as in `https://web1.example.org:8443`."""
    token: InboxSecret
    """One of the `tokens` in the `[pull]` of the other machine."""
    admin_token: InboxSecret | None = None
    """One of its `admin_tokens`. Only `gatherer privacy erase` needs it."""
    ca: ResolvedPath | None = None
    """A PEM file with the authority that issued the certificate of the other machine. Left out: the
    authorities that this machine trusts."""
    pin: str | None = None
    """The SHA-256 fingerprint of the certificate of the other machine, instead of `ca`."""

    @model_validator(mode="before")
    @classmethod
    def _elsewhere(cls, values: Any) -> Any:
        if isinstance(values, dict) and "path" in values:
            raise ValueError("path is for an inbox on this machine, url for one on another: choose one")
        return values

    @field_validator("url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        is_plain = (
            not (parts.query or parts.fragment or parts.username) and url.isprintable() and " " not in url
        )
        if parts.scheme not in ("https", "http") or not host or not is_plain:
            raise ValueError('expected a URL such as "https://web1.example.org:8443"')
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("the token and the notifications would not be encrypted: expected https://…")
        return url.rstrip("/")

    @field_validator("pin")
    @classmethod
    def _plain(cls, pin: str | None) -> str | None:
        if pin is None:
            return None
        match = _PIN.fullmatch(pin.strip())
        if match is None:
            raise ValueError("expected the SHA-256 fingerprint of the certificate: 64 hexadecimal digits")
        return match[1].replace(":", "").lower()

    @model_validator(mode="after")
    def _one_way(self) -> "OfferedInbox":
        if self.ca is not None and self.pin is not None:
            raise ValueError("ca and pin are two ways to authenticate the server: choose one")
        if (self.ca or self.pin) and self.url.startswith("http://"):
            raise ValueError("ca and pin are for certificates, which an http:// URL does not use")
        return self


def _where(inbox: object) -> Literal["file", "offered"]:
    if isinstance(inbox, dict):
        return "offered" if any(key in inbox for key in _REMOTE_KEYS) else "file"
    return "offered" if isinstance(inbox, OfferedInbox) else "file"


def _form(inboxes: object) -> Literal["one", "several"]:
    return "several" if isinstance(inboxes, list) else "one"


SomeInbox = Annotated[
    Annotated[NamedInbox, Tag("file")] | Annotated[OfferedInbox, Tag("offered")], Discriminator(_where)
]
Inboxes = Annotated[
    Annotated[Inbox, Tag("one")] | Annotated[list[SomeInbox], Tag("several"), Field(min_length=1)],
    Discriminator(_form),
]
