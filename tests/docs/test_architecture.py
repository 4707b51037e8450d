"""The reading order in docs/architecture.rst is that of the code."""

import ast
import configparser
import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import DOCS, ROOT, parse

TEXT: Final = (DOCS / "architecture.rst").read_text(encoding="utf-8")
MOST_FILES: Final = {"From the socket to the inbox": 15, "From the command to the committed row": 22}


def listed(heading: str) -> list[Path]:
    """Return the files of the numbered list below `heading`."""
    section = re.split(r"\n\n.+\n-{3,}\n", TEXT.partition(f"\n{heading}\n")[2].partition("\n\n")[2])[0]
    return [Path(name) for name in re.findall(r"^#\. ``(\S+)`` .+\.$", section, re.MULTILINE)]


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path) -> set[str]:
    """Return the modules that the file `path` names in an import, or in a text, as a table of modules does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


@pytest.mark.parametrize("heading", MOST_FILES)
def test_each_listed_file_is_imported_by_one_above_it(heading: str) -> None:
    paths = listed(heading)
    assert 5 < len(paths) <= MOST_FILES[heading]
    assert (
        len(set(paths))
        == len(paths)
        == TEXT.partition(f"\n{heading}\n")[2].partition("\n---")[0].count("\n#. ")
    )
    imported = imported_by(paths[0])
    for path in paths[1:]:
        assert module_of(path) in imported, f"no file above {path} imports it"
        imported |= imported_by(path)


def test_the_packages_are_those_of_the_contract() -> None:
    contract = configparser.ConfigParser()
    contract.read(ROOT / "setup.cfg", encoding="utf-8")
    layers = contract["importlinter:contract:layers"]["layers"].split("\n")
    (block,) = (
        block.text for block in parse("architecture", TEXT).blocks if block.text.startswith("gatherer.cli")
    )
    assert [re.split(r" {2,}", line)[0] for line in block.splitlines()] == [
        layer for layer in layers if layer
    ]


def test_each_file_and_folder_of_the_page_exists() -> None:
    """Named from the root, or from the package."""
    for name in re.findall(r"``([a-zA-Z_]+/[\w/.]*|\w+\.\w{2,3})``", TEXT):
        places = [ROOT / name, *ROOT.glob(f"gatherer/**/{name}")]
        assert any(place.exists() for place in places), name
