"""The configuration: one TOML file, validated as a whole, with every error at the path of its key."""

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    IPvAnyNetwork,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gatherer import explanations, opt_outs, time_zones
from gatherer.errors import ConfigurationError
from gatherer.secret import AREAS, Secret, TargetSecret

ENVIRONMENT_VARIABLE: Final = "GATHERER_CONFIG"
DEFAULT_NAME: Final = "gatherer.toml"
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
_PUBLIC_URL: Final = re.compile(r"https?://[^\s/?#@]+/[^\s]*")


class InvalidConfiguration(ConfigurationError):
    """The file is there, but wrong. `problems` has one line for each error."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path} has {len(problems)} error{'s' * (len(problems) > 1)}:{listed}")
        self.problems = problems


def _resolve(path: Path, info: ValidationInfo) -> Path:
    explanations.without_control_characters(str(path))
    if not path.name:
        raise ValueError("expected the name of a file")
    return Path(info.context["folder"], explanations.with_home(path)) if info.context else path


ResolvedPath = Annotated[Path, AfterValidator(_resolve)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Basic(_Section):
    """HTTP Basic authentication."""

    user: str
    password: Secret


class ApiKey(_Section):
    """A header that must carry a value."""

    header: str = Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    value: Secret


class Endpoint(_Section):
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
    opt_out_keywords: list[str] = list(opt_outs.DEFAULT_KEYWORDS)

    @field_validator("provider")
    @classmethod
    def _known(cls, provider: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("providers")
        if known is not None and provider not in known:
            raise ValueError(f"there is no provider {provider!r}; there are: {', '.join(known)}")
        return provider

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
        for problem in _authentication_problems(lambda name: getattr(self, name)):
            raise ValueError(problem)
        return self

    @property
    def url_path(self) -> str:
        """The whole path of the URL, including the key. As secret as the key."""
        return self.path if self.url_key is None else f"{self.path}/{self.url_key.reveal()}"


class Server(_Section):
    """Where and how `gatherer serve` listens."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=0, le=65535, strict=True)
    max_body_bytes: int = Field(4_194_304, ge=1024, strict=True)
    body_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    trusted_proxies: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.1")]


class Inbox(_Section):
    """The log of notifications between `serve` and `gather`."""

    path: ResolvedPath = Field(Path("inbox.db"), validate_default=True)


class _Target(_Section):
    """What every target has."""

    time_zone: str = "UTC"
    attribution_hours: int = Field(72, ge=1, le=8760, strict=True)

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        try:
            time_zones.intervals(name)
        except (LookupError, ValueError, OSError):
            raise ValueError(
                f"there is no time zone {name!r}; write an IANA name such as Europe/London"
            ) from None
        return name


class SQLiteTarget(_Target):
    """Where the responses land: an SQLite file."""

    kind: Literal["sqlite"] = "sqlite"
    path: ResolvedPath = Field(Path("responses.db"), validate_default=True)

    @property
    def lock(self) -> Path:
        """The file whose lock a pass holds."""
        return self.path.with_name(self.path.name + ".gather.lock")

    @property
    def state_folder(self) -> Path:
        """Where small things are kept from one run to the next."""
        return self.path.parent


class SQLServerTarget(_Target):
    """Where the responses land: a database in SQL Server."""

    kind: Literal["sqlserver"]
    connection: TargetSecret | None = None
    server: str | None = Field(None, min_length=1)
    database: str | None = Field(None, min_length=1)
    authentication: Literal[
        "integrated",
        "sql",
        "entra-password",
        "entra-integrated",
        "entra-managed-identity",
        "entra-service-principal",
    ] = "integrated"
    user: str | None = Field(None, min_length=1)
    password: TargetSecret | None = None
    encrypt: bool | Literal["strict"] = True
    trust_server_certificate: bool = Field(default=False, strict=True)
    driver: str | None = Field(None, min_length=1)
    # "schema" is a word of pydantic's; in the file it is ours.
    schema_name: str = Field("gatherer", alias="schema", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")
    login_timeout_seconds: int = Field(15, ge=1, le=600, strict=True)
    query_timeout_seconds: int = Field(300, ge=1, le=86400, strict=True)
    lock_timeout_seconds: int = Field(30, ge=1, le=3600, strict=True)
    state: ResolvedPath = Field(Path("state"), validate_default=True)

    @field_validator("encrypt", mode="before")
    @classmethod
    def _words(cls, encrypt: object) -> object:
        if encrypt not in (True, False, "strict") or not isinstance(encrypt, bool | str):
            raise ValueError('expected true, false or "strict"')
        return encrypt

    @property
    def lock(self) -> Path:
        """The file whose lock a pass holds."""
        return self.state / "gather.lock"

    @property
    def state_folder(self) -> Path:
        """Where small things are kept from one run to the next."""
        return self.state


def _kind(target: object) -> str | None:
    """Return which of the targets `target`, the section as written, is meant to be; None: none of them."""
    if isinstance(target, _Target):
        return str(getattr(target, "kind", None))
    kind = target.get("kind", "sqlite") if isinstance(target, dict) else "sqlite"
    return kind if kind in KINDS else None


KINDS: Final = ("sqlite", "sqlserver")
Target = Annotated[
    Annotated[SQLiteTarget, Tag("sqlite")] | Annotated[SQLServerTarget, Tag("sqlserver")],
    Discriminator(_kind),
]


class Configuration(_Section):
    """The whole file."""

    server: Server = Server()
    inbox: Inbox = Field(default_factory=dict, validate_default=True)
    target: Target = Field(default_factory=dict, validate_default=True)
    endpoint: list[Endpoint] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        for problem in _contradictions(self.model_dump()):
            raise ValueError(problem)
        return self


def _authentication_problems(get: Callable[[str], object]) -> Iterator[str]:
    """Yield what is wrong with how an endpoint authenticates; `get` returns the value of one of its keys."""
    if get("bearer_tokens") and get("basic"):
        yield "bearer_tokens and basic both use the Authorization header: choose one"
    if get("unauthenticated") is True and any(map(get, WAYS)):
        yield "unauthenticated = true contradicts the authentication that is configured"
    if not get("unauthenticated") and not any(map(get, WAYS)):
        yield f"no authentication: set {', '.join(WAYS[:-1])} or {WAYS[-1]}, or say unauthenticated = true"


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong between the parts of a configuration, given as plain values, valid or not."""
    listed = values.get("endpoint")
    endpoints = listed if isinstance(listed, list) else []
    target = values.get("target")
    if isinstance(target, dict) and target.get("kind") == "sqlserver":
        yield from _contradictions_of_sqlserver(target)
    for (i, one), (j, other) in combinations(enumerate(endpoints), 2):
        for name in ("name", "path"):
            if (
                isinstance(one, dict)
                and isinstance(other, dict)
                and one.get(name) == other.get(name) is not None
            ):
                yield f"endpoint[{j}].{name}: endpoint[{i}] has the same {name}, {one[name]!r}"
    files = [
        section.get("path") for name in ("inbox", "target") if isinstance(section := values.get(name), dict)
    ]
    if len(files) == 2 and files[0] == files[1] is not None:
        yield "target.path: the inbox has the same path; they are two files"


_PARTS: Final = ("server", "database", "user", "password", "driver")
_WITH_USER: Final = ("sql", "entra-password", "entra-service-principal")


def _contradictions_of_sqlserver(target: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong between the keys of a [target] of kind "sqlserver", given as plain values."""
    if target.get("connection") is not None:
        for name in _PARTS:
            if target.get(name) is not None:
                yield f"target.{name}: connection is a whole connection string: leave this out, or write it there"
        if target.get("authentication", "integrated") != "integrated":
            yield "target.authentication: connection is a whole connection string: leave this out, or write it there"
        return
    for name in ("server", "database"):
        if target.get(name) is None:
            yield f"target.{name}: is missing (or set connection, a whole ODBC connection string)"
    authentication = target.get("authentication", "integrated")
    for name in ("user", "password"):
        if authentication in _WITH_USER and target.get(name) is None:
            yield f'target.{name}: is missing, with authentication = "{authentication}"'
        if authentication in ("integrated", "entra-integrated") and target.get(name) is not None:
            yield (
                f'target.{name}: authentication = "{authentication}" uses the account that gatherer runs under: '
                'leave this out, or write authentication = "sql"'
            )
    if authentication == "entra-managed-identity" and target.get("password") is not None:
        yield 'target.password: authentication = "entra-managed-identity" has no password: leave this out'


def find(given: Path | None) -> Path:
    """Return the configuration file: the one given, else $GATHERER_CONFIG, else ./gatherer.toml."""
    if given is not None:
        return given
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_NAME)


def load(
    path: Path, *, secrets: bool | AbstractSet[str], providers: list[str] | None = None
) -> Configuration:
    """Read and validate the configuration in `path`. Relative paths in it are relative to its folder.

    Args:
        path: the TOML file, UTF-8, with or without a byte order mark.
        secrets: also read the secrets from the environment and from files, and fail if one is missing;
            or only those of some areas: a web server does not have the target's.
        providers: the names an endpoint's provider may have; None does not check.

    Raises:
        ConfigurationError: the file is missing or cannot be read.
        InvalidConfiguration: it is wrong; all errors at once.

    """
    try:
        source = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration at {path}; `gatherer init` writes one") from None
    except OSError as error:
        raise ConfigurationError(
            f"the configuration {path} cannot be read: {error.strerror or error}"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"the configuration {path} is no UTF-8 text; save it as UTF-8 (PowerShell's > writes UTF-16)"
        ) from None
    try:
        values = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfiguration(path, [explanations.of_syntax(error, source)]) from None
    areas = AREAS if secrets is True else secrets or frozenset()
    context = {"folder": path.absolute().parent, "secrets": areas, "providers": providers}
    try:
        return Configuration.model_validate(values, context=context)
    except ValidationError as errors:
        found = [explanations.of_value(dict(error), Configuration) for error in errors.errors()]
        raise InvalidConfiguration(path, list(dict.fromkeys([*found, *_between(values)]))) from None


def _between(values: dict[str, Any]) -> Iterator[str]:
    """Yield the errors between keys, which validation does not come to where a single key is wrong already."""
    endpoints = values.get("endpoint")
    for i, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
        if isinstance(endpoint, dict):
            for problem in _authentication_problems(endpoint.get):
                yield f"endpoint[{i}]: {problem}"
    yield from _contradictions(values)
