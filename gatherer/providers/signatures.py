"""How providers sign: what a check of a signature is given, and the checks that several providers share."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Headers(Protocol):
    """Case-insensitive request headers."""

    def get(self, name: str, /) -> str | None:
        """Return the value of the header `name`, None if the request has no such header."""


# Of the headers, the body as received, and the URL that the client requested: whether the signature is right.
BodyCheck = Callable[[Headers, bytes, str], bool]


@dataclass(frozen=True, kw_only=True)
class SignatureSettings:
    """What the configuration of an endpoint says that the check of a signature may need.

    Attributes:
        secrets: the secrets by the name that the provider declares, each name with at least one. While a
            secret is exchanged, the old and the new one are listed: the check accepts either.
        public_url: the URL that the provider was given, where it is not the one that reaches this machine.
        url_key: the last part of the URL's path, where that is secret.
        basic: user and password of HTTP Basic, as `user:password`.

    """

    secrets: Mapping[str, Sequence[str]] = field(repr=False)
    public_url: str | None = None
    url_key: str | None = field(default=None, repr=False)
    basic: str | None = field(default=None, repr=False)


def header_bytes(value: str) -> bytes:
    """Return the bytes of a header value as received, also those that are not UTF-8."""
    return value.encode("utf-8", "surrogateescape")


def equals_any(given: bytes, accepted: Sequence[bytes]) -> bool:
    """Tell whether `given` is one of `accepted`, in a time that does not depend on where they differ."""
    return any([hmac.compare_digest(given, value) for value in accepted])


HUB_SECRETS = "app_secrets"
HUB_HEADERS = ("X-Hub-Signature-256", "X-Hub-Signature")


def hub_signature(settings: SignatureSettings) -> BodyCheck:
    """Return the check of Meta's `X-Hub-Signature-256`: HMAC-SHA256 of the raw body, with any App Secret."""
    # Each body's HMAC is a copy of one of these, which costs less than a new one. `hmac.digest` would release
    # the global interpreter lock, and the thread of the inbox writer would not return it soon.
    keyed = [hmac.new(secret.encode(), digestmod=hashlib.sha256) for secret in settings.secrets[HUB_SECRETS]]

    def signature(key: hmac.HMAC, body: bytes) -> bytes:
        mac = key.copy()
        mac.update(body)
        return b"sha256=" + mac.hexdigest().encode()

    def check(headers: Headers, body: bytes, _url: str) -> bool:
        given = header_bytes(headers.get("X-Hub-Signature-256") or "").lower()  # some relays send upper case
        return equals_any(given, [signature(key, body) for key in keyed])

    return check
