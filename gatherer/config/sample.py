"""The samples of `config/`: service units, scheduled tasks, web server configurations, grants."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from gatherer.model.errors import ConfigurationError


def names() -> list[str]:
    """Return the names of all samples, such as `linux/gatherer-serve.service`, sorted."""
    return sorted(_samples(_folder(), ""))


def text(name: str) -> str:
    """Return the content of a sample.

    Args:
        name: a name that `names` returns, or its last part if only one sample has it. A backslash counts as a slash.

    Raises:
        ConfigurationError: no sample, or more than one, has this name.

    """
    samples = _samples(_folder(), "")
    wanted = name.replace("\\", "/")
    matches = [known for known in sorted(samples) if wanted in (known, known.rpartition("/")[2])]
    if not matches:
        raise ConfigurationError(f"unknown sample {name!r}; the samples are: {', '.join(sorted(samples))}")
    if len(matches) > 1:
        raise ConfigurationError(f"{len(matches)} samples are called {name!r}: {', '.join(matches)}")
    return samples[matches[0]].read_text(encoding="utf-8")


def _folder() -> Traversable:
    """Return the folder of the samples: inside the package when built, beside it in a checkout."""
    packaged = files("gatherer.config") / "samples"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "config"


def _samples(folder: Traversable, prefix: str) -> dict[str, Traversable]:
    """Return the files below `folder` by name. Pages that explain the samples are left out."""
    samples: dict[str, Traversable] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            samples |= _samples(entry, f"{prefix}{entry.name}/")
        elif not entry.name.endswith(".rst"):
            samples[f"{prefix}{entry.name}"] = entry
    return samples
