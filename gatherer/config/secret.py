"""Secrets in the configuration: written down, or a reference to the environment or to a file; never shown."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, model_serializer, model_validator

from gatherer.config import messages
from gatherer.model.errors import ConfigurationError

HIDDEN: Final = "********"
_EXPECTED: Final = 'expected "…", { env = "NAME" } or { file = "PATH" }'
_SOURCES: Final = ("value", "env", "file")

KeyPath = tuple[str | int, ...]


class Secret(BaseModel):
    """A value that is never shown, or where to take it from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    area: ClassVar[str] = "endpoints"  # what it is for: not every machine has all secrets

    value: SecretStr | None = None
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: object, info: ValidationInfo) -> object:
        if isinstance(given, str):
            given = {"value": given}
        if not isinstance(given, dict) or len(given) != 1 or not set(given) <= set(_SOURCES):
            raise ValueError(_EXPECTED)
        (source, what), context = *given.items(), info.context or {}
        if not isinstance(what, str):
            raise ValueError(_EXPECTED)
        if not what:
            raise ValueError("the secret is empty")
        if source == "file":
            messages.without_control_characters(what)
        wanted = context.get("secrets") or ()
        if wanted is not True and cls.area not in wanted:
            return given
        if source == "env":
            if what not in os.environ:
                raise ValueError(f"the environment variable {what} is not set")
            found = os.environ[what]
        elif source == "file":
            found = _read_file(context["folder"], what)
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

    @property
    def is_known(self) -> bool:
        """Whether the secret itself has been read."""
        return self.value is not None

    @property
    def is_written_down(self) -> bool:
        """Whether the configuration itself holds the secret, instead of a reference to it."""
        return self.env is None and self.file is None

    @model_serializer
    def _hide(self) -> Any:
        if self.env is not None:
            return {"env": self.env}
        return {"file": str(self.file)} if self.file is not None else HIDDEN


class TargetSecret(Secret):
    """A secret of the target: needed where it is written to, and nowhere else."""

    area: ClassVar[str] = "target"


class InboxSecret(Secret):
    """A secret for reading the inbox of another machine: needed where that is read, and nowhere else."""

    area: ClassVar[str] = "inboxes"


class PrivacySecret(Secret):
    """The key by which people who were erased are known again: needed wherever records are made."""

    area: ClassVar[str] = "privacy"


AREAS: Final = frozenset({Secret.area, TargetSecret.area, InboxSecret.area, PrivacySecret.area})


def secrets_in(part: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Secret]]:
    """Yield every secret in `part` of a configuration, with the path of its key.

    Args:
        part: a section, or a value of one.
        path: where `part` stands: the names of keys, and places in lists.

    """
    if isinstance(part, Secret):
        yield path, part
    elif isinstance(part, BaseModel):
        fields = type(part).model_fields
        for name, value in part:  # also the secrets that the provider of an endpoint declares
            key = fields[name].alias or name if name in fields else name
            yield from secrets_in(value, (*path, key))
    elif isinstance(part, list):
        for place, value in enumerate(part):
            yield from secrets_in(value, (*path, place))


def _read_file(folder: Path, name: str) -> str:
    """Return the content of the file `name`, seen from `folder`, without the line break that editors add."""
    path = Path(folder, messages.with_home(Path(name)))
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is no UTF-8 text") from None
