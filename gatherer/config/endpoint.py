"""`[[endpoint]]`: the URLs that receive requests, and how each endpoint authenticates them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    field_validator,
    model_validator,
)

from gatherer import providers
from gatherer.config import messages
from gatherer.config.base import Section
from gatherer.config.mapping import JSONMapping, JsonPointer
from gatherer.config.relays import SNS, EventGrid
from gatherer.config.secret import Secret
from gatherer.model import opt_outs
from gatherer.model.errors import ConfigurationError
from gatherer.providers import mapped_json

# The ways to authenticate that every endpoint has, in addition to the secrets that its provider declares.
_COMMON_WAYS: Final = ("url_key", "bearer_tokens", "basic", "api_key", "sns", "allow_ips")
_URL_KEY: Final = re.compile(r"[A-Za-z0-9_.~-]+")
_RESERVED_PATHS: Final = ("/healthz", "/readyz")
_PUBLIC_URL: Final = re.compile(r"https?://[^\s/?#@]+/[^\s]*")


class Basic(Section):
    """HTTP Basic authentication."""

    user: str
    """The user name."""
    password: Secret
    """The password."""


class ApiKey(Section):
    """A header that must carry a value."""

    header: str = Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    """The name of the header."""
    value: Secret
    """Its value."""


@dataclass(frozen=True)
class _UnknownKey:
    """Replaces the value of a key that the endpoint must not have, so that its validation fails with `problem`."""

    problem: str


def _refuse_unknown(value: object) -> object:
    if isinstance(value, _UnknownKey):
        raise ValueError(value.problem)
    return value


class Endpoint(Section):
    """One receiving URL. A request must pass all configured ways of authentication.

    In addition to the keys below it has the secrets that its provider declares, each a list.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[list[Secret], BeforeValidator(_refuse_unknown)]]

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    """The name of this endpoint, unique. It is stored with every notification: do not change it later."""
    provider: str
    """The service whose notifications arrive here: one of the names that `gatherer providers` lists."""
    path: str = Field(pattern=r"^(/[A-Za-z0-9_.~-]+)+$")
    """The path of the URL, as in `/webhook/whatsapp`."""
    verify_token: Secret | None = None
    """The token with which Meta checks a URL that you register. It authenticates no other request."""
    public_url: str | None = None
    """The URL exactly as given to the provider, but without the `url_key`, for a signature over the URL.
    Left out: taken from the request and the headers of a trusted proxy."""
    url_key: Secret | None = None
    """Makes the URL itself a secret: it is `path`, a slash and this key."""
    bearer_tokens: list[Secret] = []
    """A request must have one of these in the header `Authorization: Bearer …`."""
    basic: Basic | None = None
    """The `user` and `password` of HTTP Basic authentication."""
    api_key: ApiKey | None = None
    """The `header` and the `value` that a request must have."""
    allow_ips: list[IPvAnyNetwork] = []
    """Addresses or networks of the clients that are accepted."""
    sns: SNS | None = None
    """For requests of Amazon SNS: they must have its signature. `topics` are the ARNs of the topics whose messages are
    accepted and whose subscriptions are confirmed; `hosts`, usually left out, are the hosts that `gatherer serve` asks
    for SNS's certificates and confirms subscriptions at: see `docs/relays.rst`."""
    event_grid: EventGrid | None = None
    """For requests of Azure Event Grid: its handshakes are answered for `topics`, the resource ids of topics. `origin`
    is the name that a handshake for CloudEvents must have. Event Grid signs nothing: set `url_key` as well."""
    unwrap: JsonPointer | None = None
    """Where in a body the body of the provider is, if a relay puts it into a wrapper: a JSON Pointer, as in `/body`, with
    `*` for each element of an array, as in `/*/body`. `gather` reads it: see `docs/relays.rst`."""
    unwrap_headers: JsonPointer | None = None
    """Where in the wrapper the headers of the provider are, as in `/*/headers`: an object, or the signature alone. The
    signature is then checked over the text at `unwrap`, which must be exactly what the provider posted."""
    unauthenticated: bool = Field(default=False, strict=True)
    """`true` accepts every request: there is no other way to run without authentication."""
    on_failed_authentication: Literal["refuse", "quarantine"] = "refuse"
    """A request that does not authenticate is refused with a 401, or gets a 200 and is stored apart until
    `gatherer quarantine` releases it."""
    opt_out_keywords: list[str] = list(opt_outs.DEFAULT_KEYWORDS)
    """A reply of exactly one of these words is recorded as an opt-out, too. An empty list turns that off."""
    mapping: JSONMapping | None = None
    """For `provider = "json"`: where the elements of a body are, and what they mean. `gather` reads it, `serve` does not."""

    @model_validator(mode="before")
    @classmethod
    def _mark_unknown_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        allowed = {*cls.model_fields, *_declared_secrets(values.get("provider"))}
        return {
            key: value if key in allowed else _UnknownKey(_why_unknown(key, values.get("provider"), allowed))
            for key, value in values.items()
        }

    @field_validator("provider")
    @classmethod
    def _known(cls, provider: str) -> str:
        try:
            declared = providers.get(provider).secrets
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        for name in declared:
            if name in cls.model_fields:
                raise ValueError(
                    f"the provider {provider!r} declares the secret {name}, which every endpoint has as a key: "
                    "ask its authors to rename it"
                )
        return provider

    @field_validator("path")
    @classmethod
    def _not_reserved(cls, path: str) -> str:
        if path in _RESERVED_PATHS:
            raise ValueError("`gatherer serve` answers health checks at this path; choose another one")
        return path

    @field_validator("url_key")
    @classmethod
    def _plain(cls, key: Secret | None) -> Secret | None:
        if key is not None and key.is_known and not _URL_KEY.fullmatch(key.reveal()):
            raise ValueError("a URL key may contain letters, digits and . _ ~ - only")
        return key

    @field_validator("public_url")
    @classmethod
    def _whole(cls, url: str | None) -> str | None:
        if url is not None and not _PUBLIC_URL.fullmatch(url):
            raise ValueError(
                'expected the whole URL, as in "https://hooks.example.com/webhook", without user and password'
            )
        return url

    @model_validator(mode="after")
    def _authenticated(self) -> "Endpoint":
        for problem in authentication_problems(dict(self)):
            raise ValueError(problem)
        if self.mapping is not None and self.provider != mapped_json.NAME:
            raise ValueError(f'a mapping needs provider = "{mapped_json.NAME}"')
        if self.unwrap_headers is not None and (self.unwrap is None or not any(self.secrets.values())):
            raise ValueError("unwrap_headers needs unwrap, and a secret with which the provider signs")
        return self

    @property
    def secrets(self) -> Mapping[str, list[Secret]]:
        """The secrets with which the provider signs, by the name that it declares."""
        return self.__pydantic_extra__

    @property
    def url_path(self) -> str:
        """The whole path of the URL, including the key. As secret as the key."""
        return self.path if self.url_key is None else f"{self.path}/{self.url_key.reveal()}"


def authentication_problems(endpoint: Mapping[str, Any]) -> Iterator[str]:
    """Yield the errors in the authentication of `endpoint`, given by its keys."""
    ways = (*_declared_secrets(endpoint.get("provider")), *_COMMON_WAYS)
    authenticates = any(endpoint.get(way) for way in ways)
    if endpoint.get("bearer_tokens") and endpoint.get("basic"):
        yield "bearer_tokens and basic both use the Authorization header: choose one"
    if endpoint.get("sns") and endpoint.get("event_grid"):
        yield "sns and event_grid are two services: each needs its own endpoint"
    if endpoint.get("unauthenticated") is True and authenticates:
        yield "unauthenticated = true contradicts the authentication that is configured"
    if endpoint.get("unauthenticated") is True and endpoint.get("on_failed_authentication") == "quarantine":
        yield "with unauthenticated = true nothing is quarantined: remove on_failed_authentication"
    if not endpoint.get("unauthenticated") and not authenticates:
        yield f"no authentication: set {', '.join(ways[:-1])} or {ways[-1]}, or write unauthenticated = true"


def _declared_secrets(provider: object) -> tuple[str, ...]:
    """Return the names of the secrets that `provider` declares; if there is no such provider, those of all."""
    with suppress(ConfigurationError):  # the validator of `provider` reports it
        if isinstance(provider, str):
            return providers.get(provider).secrets
    return tuple(_declaring_providers())


def _declaring_providers() -> dict[str, list[str]]:
    """Return the names of all declared secrets, each with the names of the providers that declare it."""
    declaring: dict[str, list[str]] = {}
    for name in providers.names():
        try:
            declared = providers.get(name).secrets
        except ConfigurationError:  # reported where that provider is used
            continue
        for secret in declared:
            declaring.setdefault(secret, []).append(name)
    return declaring


def _why_unknown(key: str, provider: object, allowed: set[str]) -> str:
    """Return why an endpoint of `provider` must not have the `key`."""
    declaring = _declaring_providers().get(key)
    if declaring is not None:
        return (
            f"the provider {provider!r} does not sign with a secret of this name; {', '.join(declaring)} "
            f"{'do' if len(declaring) > 1 else 'does'}"
        )
    return messages.no_such_key(key, sorted(allowed))
