"""The file as a whole: found, read, validated, with every error at the path of its key."""

import os
import tomllib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError, model_validator

from gatherer.config import messages
from gatherer.config.base import Section
from gatherer.config.endpoint import Endpoint, authentication_problems
from gatherer.config.inboxes import ALONE, Inboxes, NamedInbox, OfferedInbox
from gatherer.config.monitoring import Admin, Quarantine
from gatherer.config.privacy import Privacy
from gatherer.config.pull import Pull
from gatherer.config.secret import AREAS
from gatherer.config.server import Inbox, Server
from gatherer.config.target import Target, contradictions_of_sqlserver
from gatherer.model.errors import ConfigurationError

ENVIRONMENT_VARIABLE: Final = "GATHERER_CONFIG"
DEFAULT_NAME: Final = "gatherer.toml"


class InvalidConfigurationError(ConfigurationError):
    """The file is there, but wrong. `problems` has one line for each error."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path} has {len(problems)} error{'s' * (len(problems) > 1)}:{listed}")
        self.problems = problems


class Configuration(Section):
    """The whole file."""

    server: Server = Server()
    """Where and how `gatherer serve` listens."""
    # "inbox" in the file: one table, or a list of them.
    inboxes: Inboxes = Field(default_factory=dict, validate_default=True, alias="inbox")
    """The inbox on this machine, or a list of inboxes."""
    pull: Pull | None = None
    """Where `gatherer serve` offers its inbox to other machines."""
    target: Target = Field(default_factory=dict, validate_default=True)
    """The database that responses are written to."""
    endpoint: list[Endpoint] = []
    """The URLs that receive."""
    quarantine: Quarantine = Quarantine()
    """What is stored of requests that did not authenticate."""
    admin: Admin = Admin()
    """Metrics for monitoring."""
    privacy: Privacy = Field(default_factory=dict, validate_default=True)
    """How erased people are recognised."""

    @property
    def inbox(self) -> Inbox:
        """The inbox on this machine.

        Raises:
            ConfigurationError: there is none, or more than one.

        """
        if isinstance(self.inboxes, Inbox):
            return self.inboxes
        here = [one for one in self.inboxes if isinstance(one, NamedInbox)]
        if len(here) != 1:
            raise ConfigurationError(
                f"this needs one inbox on this machine, and {len(here)} [[inbox]] have a path: "
                "use a configuration with one of them"
            )
        return here[0]

    @property
    def named_inboxes(self) -> dict[str, Inbox | OfferedInbox]:
        """All inboxes of a run by name."""
        if isinstance(self.inboxes, Inbox):
            return {ALONE: self.inboxes}
        return {one.name: one for one in self.inboxes}

    @property
    def has_several_inboxes(self) -> bool:
        """Whether the file lists inboxes, be it only one: `[[inbox]]` instead of `[inbox]`."""
        return isinstance(self.inboxes, list)

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        for problem in _contradictions(self.model_dump(by_alias=True)):
            raise ValueError(problem)
        return self


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong between the parts of a configuration, given as plain values, valid or not."""
    listed = values.get("endpoint")
    endpoints = listed if isinstance(listed, list) else []
    target = values.get("target")
    if isinstance(target, dict) and target.get("kind") == "sqlserver":
        yield from contradictions_of_sqlserver(target)
    for (i, one), (j, other) in combinations(enumerate(endpoints), 2):
        for name in ("name", "path"):
            if (
                isinstance(one, dict)
                and isinstance(other, dict)
                and one.get(name) == other.get(name) is not None
            ):
                yield f"endpoint[{j}].{name}: endpoint[{i}] has the same {name}, {one[name]!r}"
    inboxes = values.get("inbox")
    listed = inboxes if isinstance(inboxes, list) else []
    for (i, one), (j, other) in combinations(enumerate(listed), 2):
        for name in ("name", "path", "url"):
            if (
                isinstance(one, dict)
                and isinstance(other, dict)
                and one.get(name) == other.get(name) is not None
            ):
                yield f"inbox[{j}].{name}: inbox[{i}] has the same {name}"
    if isinstance(target, dict):
        files = [one.get("path") for one in (listed or [inboxes]) if isinstance(one, dict)]
        if target.get("path") is not None and target["path"] in files:
            yield "target.path: the inbox has the same path; they are two files"


def find(given: Path | None) -> Path:
    """Return the configuration file: the one given, else $GATHERER_CONFIG, else ./gatherer.toml."""
    if given is not None:
        return given
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_NAME)


def load(path: Path, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read and validate the configuration in `path`. Relative paths in it are relative to its folder.

    Args:
        path: the TOML file, UTF-8, with or without a byte order mark.
        secrets: also read the secrets from the environment and from files, and fail if one is missing;
            or only those of some areas: a web server does not have the target's.

    Raises:
        ConfigurationError: the file is missing or cannot be read.
        InvalidConfigurationError: it is wrong; all errors at once.

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
        raise InvalidConfigurationError(path, [messages.of_syntax(error, source)]) from None
    areas = AREAS if secrets is True else secrets or frozenset()
    context = {"folder": path.absolute().parent, "secrets": areas}
    try:
        return Configuration.model_validate(values, context=context)
    except ValidationError as errors:
        found = [messages.of_value(dict(error), Configuration) for error in errors.errors()]
        raise InvalidConfigurationError(path, list(dict.fromkeys([*found, *_between(values)]))) from None


def _between(values: dict[str, Any]) -> Iterator[str]:
    """Yield the errors between keys, which validation does not come to where a single key is wrong already."""
    endpoints = values.get("endpoint")
    for i, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
        if isinstance(endpoint, dict):
            for problem in authentication_problems(endpoint):
                yield f"endpoint[{i}]: {problem}"
    yield from _contradictions(values)
