"""The configuration: one TOML file, validated as a whole, with every error at the path of its key."""

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from gatherer.errors import ConfigurationError

ENVIRONMENT_VARIABLE: Final = "GATHERER_CONFIG"
DEFAULT_NAME: Final = "gatherer.toml"
_CONTROL_CHARACTERS: Final = frozenset("\t\n\r\b\f\x1b")
_BACKSLASHES: Final = (
    "a backslash means something else inside double quotes: write Windows paths in single quotes, "
    r"as in path = 'C:\gatherer\inbox.db'"
)


class InvalidConfiguration(ConfigurationError):
    """The file is there, but wrong. `problems` has one line for each error."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path} has {len(problems)} error{'s' * (len(problems) > 1)}:{listed}")
        self.problems = problems


def _resolve(path: Path, info: ValidationInfo) -> Path:
    if _CONTROL_CHARACTERS & set(str(path)):
        raise ValueError(_BACKSLASHES)
    return Path(info.context["folder"], path.expanduser()) if info.context else path


ResolvedPath = Annotated[Path, AfterValidator(_resolve)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(_Section):
    """A value that is never shown: written down, or taken from the environment or from a file."""

    value: SecretStr | None = None
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: object, info: ValidationInfo) -> object:
        if isinstance(given, str):
            given = {"value": given}
        if not isinstance(given, dict) or len(given) != 1 or not set(given) <= {"value", "env", "file"}:
            raise ValueError('expected "…", { env = "NAME" } or { file = "PATH" }')
        (source, what), context = *given.items(), info.context or {}
        if not isinstance(what, str):
            raise ValueError('expected "…", { env = "NAME" } or { file = "PATH" }')
        if not context.get("secrets"):
            return given
        if source == "env":
            if what not in os.environ:
                raise ValueError(f"the environment variable {what} is not set")
            found = os.environ[what]
        elif source == "file":
            try:
                found = Path(context["folder"], what).read_text(encoding="utf-8-sig").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"the file {what} cannot be read: {error}") from None
        else:
            found = what
        if not found:
            raise ValueError("the secret is empty")
        return given | {"value": found}

    def reveal(self) -> str:
        """Return the secret itself. Only for a configuration loaded with `secrets=True`."""
        if self.value is None:
            raise ConfigurationError("this configuration was loaded without its secrets")
        return self.value.get_secret_value()

    @model_serializer
    def _hide(self) -> Any:
        if self.env is not None:
            return {"env": self.env}
        return {"file": str(self.file)} if self.file is not None else "********"


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
    url_key: Secret | None = None
    bearer_tokens: list[Secret] = []
    basic: Basic | None = None
    api_key: ApiKey | None = None
    allow_ips: list[IPvAnyNetwork] = []
    unauthenticated: bool = False

    @field_validator("provider")
    @classmethod
    def _known(cls, provider: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get("providers")
        if known is not None and provider not in known:
            raise ValueError(f"there is no provider {provider!r}; there are: {', '.join(known)}")
        return provider

    @model_validator(mode="after")
    def _authenticated(self) -> "Endpoint":
        ways = (self.app_secrets, self.url_key, self.bearer_tokens, self.basic, self.api_key, self.allow_ips)
        if self.bearer_tokens and self.basic:
            raise ValueError("bearer_tokens and basic both use the Authorization header: choose one")
        if self.unauthenticated and any(ways):
            raise ValueError("unauthenticated = true contradicts the authentication that is configured")
        if not self.unauthenticated and not any(ways):
            raise ValueError(
                "no authentication: set app_secrets, url_key, bearer_tokens, basic, api_key or allow_ips, "
                "or say unauthenticated = true"
            )
        return self

    @property
    def url_path(self) -> str:
        """The whole path of the URL, including the key. As secret as the key."""
        return self.path if self.url_key is None else f"{self.path}/{self.url_key.reveal()}"


class Server(_Section):
    """Where and how `gatherer serve` listens."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    max_body_bytes: int = Field(4_194_304, ge=1024)
    body_timeout_seconds: float = Field(10, gt=0)
    trusted_proxies: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.1")]


class Inbox(_Section):
    """The log of notifications between `serve` and `gather`."""

    path: ResolvedPath = Field(Path("inbox.db"), validate_default=True)


class Target(_Section):
    """Where the responses land."""

    kind: Literal["sqlite"] = "sqlite"
    path: ResolvedPath = Field(Path("responses.db"), validate_default=True)


class Configuration(_Section):
    """The whole file."""

    server: Server = Server()
    inbox: Inbox = Field(default_factory=dict, validate_default=True)
    target: Target = Field(default_factory=dict, validate_default=True)
    endpoint: list[Endpoint] = []

    @field_validator("endpoint")
    @classmethod
    def _distinct(cls, endpoints: list[Endpoint]) -> list[Endpoint]:
        for what in ("name", "path"):
            seen: dict[str, int] = {}
            for i, endpoint in enumerate(endpoints):
                value = getattr(endpoint, what)
                if value in seen:
                    raise ValueError(f"endpoints {seen[value]} and {i} share the {what} {value!r}")
                seen[value] = i
        return endpoints


def find(given: Path | None) -> Path:
    """Return the configuration file: the one given, else $GATHERER_CONFIG, else ./gatherer.toml."""
    if given is not None:
        return given
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_NAME)


def load(path: Path, *, secrets: bool, providers: list[str] | None = None) -> Configuration:
    """Read and validate the configuration in `path`. Relative paths in it are relative to its folder.

    Args:
        path: the TOML file, UTF-8, with or without a byte order mark.
        secrets: also read the secrets from the environment and from files, and fail if one is missing.
        providers: the names an endpoint's provider may have; None does not check.

    Raises:
        ConfigurationError: the file is missing or cannot be read.
        InvalidConfiguration: it is wrong; all errors at once.

    """
    try:
        source = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration at {path}; `gatherer init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the configuration {path} cannot be read: {error}") from None
    try:
        values = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfiguration(path, [_explain(error, source)]) from None
    context = {"folder": path.absolute().parent, "secrets": secrets, "providers": providers}
    try:
        return Configuration.model_validate(values, context=context)
    except ValidationError as errors:
        raise InvalidConfiguration(path, [_describe(dict(error)) for error in errors.errors()]) from None


def _explain(error: tomllib.TOMLDecodeError, source: str) -> str:
    line = next(iter(str(error).split("(at line ")[1:]), "").split(",")[0]
    written = (
        source.splitlines()[int(line) - 1] if line.isdigit() and int(line) <= source.count("\n") + 1 else ""
    )
    return f"{error}: {_BACKSLASHES}" if "\\" in written else str(error)


def _describe(error: dict[str, Any]) -> str:
    """Return one line: the path of the key and what is wrong with it. Never the value."""
    path = ""
    for part in error["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else str(part)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such key" + _suggest(error["loc"])
    elif error["type"] == "string_pattern_mismatch":
        message = f"must match {error['ctx']['pattern']}"
    return f"{path}: {message}"


def _suggest(location: tuple[str | int, ...]) -> str:
    model: type[BaseModel] = Configuration
    sections: dict[str, type[BaseModel]] = {
        "server": Server,
        "inbox": Inbox,
        "target": Target,
        "endpoint": Endpoint,
    }
    for part in location[:-1]:
        model = sections.get(str(part), model)
    near = difflib.get_close_matches(str(location[-1]), list(model.model_fields), n=1)
    return f"; did you mean {near[0]}?" if near else ""
