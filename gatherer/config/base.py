"""What all sections of the configuration file have in common."""

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
    """A table of the file: keys that are not named are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)
