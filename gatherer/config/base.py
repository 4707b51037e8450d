"""The base of all sections of the configuration file, the type of paths in them, and a check of host addresses."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from gatherer.config import messages


def _resolve(path: Path, info: ValidationInfo) -> Path:
    messages.without_control_characters(str(path))
    if not path.name:
        raise ValueError("expected the name of a file")
    return Path(info.context["folder"], messages.with_home(path)) if info.context else path


ResolvedPath = Annotated[Path, AfterValidator(_resolve)]


_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def _check_host(host: str) -> str:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST_NAME.fullmatch(host):
            raise ValueError("must be the address or the name of a host, as in 127.0.0.1") from None
    return host


Host = Annotated[str, AfterValidator(_check_host)]


def is_loopback(host: str) -> bool:
    """Return whether `host` is an address of this machine that other machines cannot reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Section(BaseModel):
    """A table of the file. An unknown key is an error. The docstring of a key is its description in the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
