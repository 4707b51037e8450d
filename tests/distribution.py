"""Build the distribution `whatsapp-gatherer`, and a wheelhouse that contains it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PIP_SECONDS = 280  # the package index may be slow


@dataclass(frozen=True, kw_only=True)
class Build:
    """The files that `python -m build` created from a fresh clone."""

    source: Path  # the clone
    sdist: Path
    wheel: Path


def command(*arguments: str | Path, cwd: Path, seconds: float = 120) -> str:
    """Run a command outside this checkout and return its output; fail if the command fails."""
    # pip treats a checkout in PYTHONPATH as an installed package.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        arguments,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(source: Path) -> Build:
    """Build source distribution and wheel in `source`, an empty folder.

    The folder becomes a repository with the files of this clone, in their current state, in one commit.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone")
    listed = command("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command("git", "init", "--quiet", cwd=source)
    command("git", "add", "--all", cwd=source)
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command("git", *author, "commit", "--quiet", "--message", "all files", cwd=source)
    command(sys.executable, "-m", "build", "--no-isolation", cwd=source, seconds=200)
    [sdist] = (source / "dist").glob("*.tar.gz")
    [wheel] = (source / "dist").glob("*.whl")
    return Build(source=source, sdist=sdist, wheel=wheel)


def fill_wheelhouse(folder: Path, *requirements: str | Path) -> None:
    """Download wheels of `requirements` and their dependencies from the package index into `folder`."""
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", folder)
    command(*pip, *requirements, cwd=folder, seconds=PIP_SECONDS)
