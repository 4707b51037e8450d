"""The base of all sections of the configuration file, and the type of paths in them."""

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


class Section(BaseModel):
    """A table of the file: an unknown key is an error. The docstring of a key is its description in the documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
