"""Secrets in the configuration: written down, or references to the environment or to a file. They are never shown."""

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
    """A secret, or a reference to it. Its value is never shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    area: ClassVar[str] = "endpoints"  # the part that uses it: a machine has the secrets of some areas only

    value: SecretStr | None = None
    env: str | None = None
    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: object, info: ValidationInfo) -> object:
        if isinstance(written, str):
            written = {"value": written}
        if not isinstance(written, dict) or len(written) != 1 or not set(written) <= set(_SOURCES):
            raise ValueError(_EXPECTED)
        (source, content), context = *written.items(), info.context or {}
        if not isinstance(content, str):
            raise ValueError(_EXPECTED)
        if not content:
            raise ValueError("the secret is empty")
        if source == "file":
            messages.without_control_characters(content)
        areas = context.get("secrets") or ()
        if areas is not True and cls.area not in areas:
            return written
        if source == "env":
            if content not in os.environ:
                raise ValueError(f"the environment variable {content} is not set")
            value = os.environ[content]
        elif source == "file":
            value = _read_file(context["folder"], content)
        else:
            value = content
        if not value:
            raise ValueError("the secret is empty")
        return written | {"value": value}

    def reveal(self) -> str:
        """Return the value of the secret.

        Raises:
            ConfigurationError: the configuration was loaded without the secrets of this area.

        """
        if self.value is None:
            raise ConfigurationError("this configuration was loaded without its secrets")
        return self.value.get_secret_value()

    @property
    def is_known(self) -> bool:
        """Whether the value of the secret was read."""
        return self.value is not None

    @property
    def is_written_down(self) -> bool:
        """Whether the configuration file holds the value of the secret, not a reference to it."""
        return self.env is None and self.file is None

    @model_serializer
    def _hide(self) -> Any:
        if self.env is not None:
            return {"env": self.env}
        return {"file": str(self.file)} if self.file is not None else HIDDEN


class TargetSecret(Secret):
    """A secret of the target: only the machine that writes to the target needs it."""

    area: ClassVar[str] = "target"


class InboxSecret(Secret):
    """A secret for the inbox of another machine: only the machine that reads that inbox needs it."""

    area: ClassVar[str] = "inboxes"


class PrivacySecret(Secret):
    """The key that recognises erased people: each machine that decodes notifications needs it."""

    area: ClassVar[str] = "privacy"


AREAS: Final = frozenset({Secret.area, TargetSecret.area, InboxSecret.area, PrivacySecret.area})


def secrets_in(part: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Secret]]:
    """Yield every secret in `part` of a configuration, with the path of its key.

    Args:
        part: a section, or a value of one.
        path: of `part` in the configuration: names of keys, and positions in lists.

    """
    if isinstance(part, Secret):
        yield path, part
    elif isinstance(part, BaseModel):
        fields = type(part).model_fields
        for name, value in part:  # also the secrets that the provider of an endpoint declares
            key = fields[name].alias or name if name in fields else name
            yield from secrets_in(value, (*path, key))
    elif isinstance(part, list):
        for i, value in enumerate(part):
            yield from secrets_in(value, (*path, i))


def _read_file(folder: Path, name: str) -> str:
    """Return the content of the file `name`, relative to `folder`, without the line break that editors add.

    Raises:
        ValueError: the file cannot be read, or it is not UTF-8.

    """
    path = Path(folder, messages.with_home(Path(name)))
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not UTF-8 text") from None
