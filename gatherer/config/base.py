"""The base of all sections of the configuration file, the type of paths in them, and a check of host addresses."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from gatherer.config import messages


def _resolve(path: Path, info: ValidationInfo) -> Path:
    messages.without_control_characters(str(path))
    if not path.name:
        raise ValueError("expected the name of a file")
    return Path(info.context["folder"], messages.with_home(path)) if info.context else path


ResolvedPath = Annotated[Path, AfterValidator(_resolve)]


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address of this machine that other machines cannot reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Section(BaseModel):
    """A table of the file. An unknown key is an error. The docstring of a key is its description in the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
