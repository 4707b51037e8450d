"""The configuration file: find it, read it, validate it, and report every error with the path of its key."""

import os
import tomllib
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from gatherer.config import messages
from gatherer.config.after_run import AfterRun, contradictions_of_steps
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
    """The configuration file has errors. `problems` has one line for each."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        listed = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path} has {len(problems)} error{'s' * (len(problems) > 1)}:{listed}")
        self.problems = problems


class Configuration(Section):
    """The whole file."""

    server: Server = Server()
    """Where and how `gatherer serve` listens."""
    # "inbox" in the file: [inbox], or a list of [[inbox]].
    inboxes: Inboxes = Field(default_factory=dict, validate_default=True, alias="inbox")
    """The inbox on this machine, or a list of inboxes."""
    pull: Pull | None = None
    """Where `gatherer serve` offers its inbox to other machines."""
    target: Target = Field(default_factory=dict, validate_default=True)
    """The database that responses are written to."""
    endpoint: list[Endpoint] = []
    """The URLs that receive."""
    after_run: list[AfterRun] = []
    """What a run does when it has written rows."""
    quarantine: Quarantine = Quarantine()
    """What is stored of requests that did not authenticate."""
    admin: Admin = Admin()
    """Metrics for monitoring."""
    privacy: Privacy = Field(default_factory=dict, validate_default=True)
    """How erased people are recognised."""
    _path: Path = PrivateAttr(Path(DEFAULT_NAME))

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        return self._path.absolute()

    @property
    def inbox(self) -> Inbox:
        """The inbox on this machine.

        Raises:
            ConfigurationError: the file has no inbox with a path, or several.

        """
        if isinstance(self.inboxes, Inbox):
            return self.inboxes
        local = [inbox for inbox in self.inboxes if isinstance(inbox, NamedInbox)]
        if len(local) != 1:
            raise ConfigurationError(
                f"this needs one inbox on this machine, and {len(local)} [[inbox]] have a path: "
                "use a configuration with one of them"
            )
        return local[0]

    @property
    def named_inboxes(self) -> dict[str, Inbox | OfferedInbox]:
        """All inboxes of a run by name."""
        if isinstance(self.inboxes, Inbox):
            return {ALONE: self.inboxes}
        return {inbox.name: inbox for inbox in self.inboxes}

    @property
    def has_several_inboxes(self) -> bool:
        """Whether the file has `[[inbox]]`, even a single one, instead of `[inbox]`."""
        return isinstance(self.inboxes, list)

    @model_validator(mode="after")
    def _consistent(self) -> "Configuration":
        for problem in _contradictions(self.model_dump(by_alias=True)):
            raise ValueError(problem)
        return self


def _contradictions(values: dict[str, Any]) -> Iterator[str]:
    """Yield the contradictions between the sections of a configuration.

    Args:
        values: the sections as plain values; each may be invalid.

    """
    target, inboxes = values.get("target"), values.get("inbox")
    if isinstance(target, dict) and target.get("kind") == "sqlserver":
        yield from contradictions_of_sqlserver(target)
    yield from contradictions_of_steps(values.get("after_run"), target)
    yield from _repetitions("endpoint", values.get("endpoint"), ("name", "path"))
    yield from _repetitions("after_run", values.get("after_run"), ("name",))
    yield from _repetitions("inbox", inboxes, ("name", "path", "url"))
    if isinstance(target, dict) and target.get("path") is not None:
        tables = inboxes if isinstance(inboxes, list) else [inboxes]
        if target["path"] in [table.get("path") for table in tables if isinstance(table, dict)]:
            yield "target.path: the inbox has the same path; the target needs its own file"


def _repetitions(section: str, tables: object, keys: tuple[str, ...]) -> Iterator[str]:
    """Yield each pair of `tables`, the list of a `section`, that has the same value for one of `keys`."""
    if not isinstance(tables, list):
        return
    numbered = [(i, table) for i, table in enumerate(tables) if isinstance(table, dict)]
    for (i, first), (j, second) in combinations(numbered, 2):
        for key in keys:
            if first.get(key) is not None and first.get(key) == second.get(key):
                yield f"{section}[{j}].{key}: {section}[{i}] has the same {key}"


def find(path: Path | None) -> Path:
    """Return the path of the configuration file: `path`, else $GATHERER_CONFIG, else ./gatherer.toml."""
    if path is not None:
        return path
    return Path(os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_NAME)


def load(path: Path, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read and validate the configuration in `path`. Relative paths in it are relative to its folder.

    Args:
        path: the TOML file, UTF-8, with or without a byte order mark.
        secrets: True to read the secrets from the environment and from files as well, and fail if one is
            missing; False to read none; or the areas whose secrets to read, because a web server does not have
            those of the target.

    Raises:
        ConfigurationError: the file is missing or cannot be read.
        InvalidConfigurationError: the file has errors; the exception reports all of them.

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
            f"the configuration {path} is not UTF-8 text; save it as UTF-8 (PowerShell's > writes UTF-16)"
        ) from None
    try:
        values = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfigurationError(path, [messages.of_syntax(error, source)]) from None
    areas = AREAS if secrets is True else secrets or frozenset()
    context = {"folder": path.absolute().parent, "secrets": areas}
    try:
        configuration = Configuration.model_validate(values, context=context)
    except ValidationError as errors:
        problems = [messages.of_value(dict(error), Configuration) for error in errors.errors()]
        problems += _problems_between_keys(values)
        raise InvalidConfigurationError(path, list(dict.fromkeys(problems))) from None
    configuration._path = path  # noqa: SLF001 - of the class above
    return configuration


def _problems_between_keys(values: dict[str, Any]) -> Iterator[str]:
    """Yield the contradictions between keys: pydantic does not check those of a section in which a key is invalid."""
    endpoints = values.get("endpoint")
    for i, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
        if isinstance(endpoint, dict):
            for problem in authentication_problems(endpoint):
                yield f"endpoint[{i}]: {problem}"
    yield from _contradictions(values)
