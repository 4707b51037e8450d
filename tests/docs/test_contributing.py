"""CONTRIBUTING.rst leads from an empty file to a provider that passes its tests."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import BELOW, EXIT_CODE, FILE, NOT_RUN, ROOT, Block, matches, parse

TEXT: Final = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")
LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis"
)
OF_THE_TEST_RUN: Final = ("GATHERER_", "PYTEST_", "PYTHONPATH")


class WalkThroughError(Exception):
    """A step of the walk-through does not do what the text says."""


def follow(text: str, folder: Path) -> None:
    """Do in `folder`, a copy of the repository, what the blocks of `text` say.

    Raises:
        WalkThroughError: a command fails, or prints something else.

    """
    for block in parse("CONTRIBUTING", text).blocks:
        if NOT_RUN in block.marks:
            continue
        if FILE in block.marks:
            path = folder / block.marks[FILE]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8", newline="\n")
        elif BELOW in block.marks:
            name, _, above = block.marks[BELOW].partition(": ")
            source = (folder / name).read_text(encoding="utf-8")
            if source.count(f"{above}\n") != 1:
                raise WalkThroughError(f"{name} has no single line {above!r}")
            indented = "".join(f"    {line}\n" for line in block.text.splitlines())
            (folder / name).write_text(
                source.replace(f"{above}\n", f"{above}\n{indented}"), encoding="utf-8", newline="\n"
            )
        elif block.language == "sh":
            _run(block, folder)


def _run(block: Block, folder: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(OF_THE_TEST_RUN)
    } | {"PYTHONPATH": str(folder), "PYTHONUTF8": "1"}
    output = ""
    for line in block.text.splitlines():
        program, *arguments = shlex.split(line)
        if program == "touch":
            (folder / arguments[0]).touch()
            continue
        assert program == "python", line
        process = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=200,
            check=False,
        )
        output = process.stdout
        if process.returncode != int(block.marks.get(EXIT_CODE, "0")):
            raise WalkThroughError(f"{line} exits with {process.returncode}:\n{output}")
    if block.output is not None and not matches(block.output, output):
        raise WalkThroughError(f"line {block.line} prints:\n{output}")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the folder of a copy of the repository."""
    return Path(shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT))


def test_the_walk_through_leads_to_a_provider_that_passes_its_tests(copy: Path) -> None:
    follow(TEXT, copy)
    page = (copy / "docs" / "providers" / "courier.rst").read_text(encoding="utf-8")
    assert "courier_keys" in page


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('"opened": Kind.READ', '"opened": Kind.PLAYED'),
        ("make_key(NAME, kind, message_id)", 'make_key(NAME, "receipt", message_id)'),
    ],
)
def test_a_mistake_in_the_walk_through_is_noticed(copy: Path, right: str, wrong: str) -> None:
    text = TEXT.replace(right, wrong)
    assert text != TEXT
    with pytest.raises(
        WalkThroughError, match=re.compile(r"test_contract\.py -k courier exits with 1", re.DOTALL)
    ):
        follow(text, copy)
