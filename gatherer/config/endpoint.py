"""`[[endpoint]]`: the URLs that receive, and how each authenticates."""

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

from pydantic import Field, IPvAnyNetwork, ValidationInfo, field_validator, model_validator

from gatherer.config.base import Section
from gatherer.config.secret import Secret
from gatherer.model import opt_outs

# to authenticate
WAYS: Final = (
    "app_secrets",
    "twilio_auth_tokens",
    "url_key",
    "bearer_tokens",
    "basic",
    "api_key",
    "allow_ips",
)
_URL_KEY: Final = re.compile(r"[A-Za-z0-9_.~-]+")
RESERVED_PATHS: Final = ("/healthz", "/readyz")
_PUBLIC_URL: Final = re.compile(r"https?://[^\s/?#@]+/[^\s]*")


class Basic(Section):
    """HTTP Basic authentication."""

    user: str
    password: Secret


class ApiKey(Section):
    """A header that must carry a value."""

    header: str = Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    value: Secret


class Endpoint(Section):
    """One receiving URL. All configured ways of authentication must pass."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    provider: str
    path: str = Field(pattern=r"^(/[A-Za-z0-9_.~-]+)+$")
    verify_token: Secret | None = None
    app_secrets: list[Secret] = []
    twilio_auth_tokens: list[Secret] = []
    public_url: str | None = None
    url_key: Secret | None = None
    bearer_tokens: list[Secret] = []
    basic: Basic | None = None
    api_key: ApiKey | None = None
    allow_ips: list[IPvAnyNetwork] = []
    unauthenticated: bool = Field(default=False, strict=True)
    on_failed_authentication: Literal["refuse", "quarantine"] = "refuse"
    opt_out_keywords: list[str] = list(opt_outs.DEFAULT_KEYWORDS)

    @field_validator("provider")
    @classmethod
    def _known(cls, provider: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("providers")
        if known is not None and provider not in known:
            raise ValueError(f"there is no provider {provider!r}; there are: {', '.join(known)}")
        return provider

    @field_validator("path")
    @classmethod
    def _free(cls, path: str) -> str:
        if path in RESERVED_PATHS:
            raise ValueError("is where serve says whether it is well; choose another path")
        return path

    @field_validator("url_key")
    @classmethod
    def _plain(cls, key: Secret | None) -> Secret | None:
        if key is not None and key.is_known and not _URL_KEY.fullmatch(key.reveal()):
            raise ValueError("a URL key is made of letters, digits and . _ ~ - only")
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
        for problem in authentication_problems(lambda name: getattr(self, name)):
            raise ValueError(problem)
        return self

    @property
    def url_path(self) -> str:
        """The whole path of the URL, including the key. As secret as the key."""
        return self.path if self.url_key is None else f"{self.path}/{self.url_key.reveal()}"


def authentication_problems(get: Callable[[str], object]) -> Iterator[str]:
    """Yield what is wrong with how an endpoint authenticates; `get` returns the value of one of its keys."""
    if get("bearer_tokens") and get("basic"):
        yield "bearer_tokens and basic both use the Authorization header: choose one"
    if get("unauthenticated") is True and any(map(get, WAYS)):
        yield "unauthenticated = true contradicts the authentication that is configured"
    if get("unauthenticated") is True and get("on_failed_authentication") == "quarantine":
        yield "unauthenticated = true leaves nothing to quarantine: take out on_failed_authentication"
    if not get("unauthenticated") and not any(map(get, WAYS)):
        yield f"no authentication: set {', '.join(WAYS[:-1])} or {WAYS[-1]}, or say unauthenticated = true"
