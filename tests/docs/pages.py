"""Reads the pages of docs/: blocks of code, and the comments that say how to test them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
DOCS: Final = ROOT / "docs"
NOT_RUN: Final = "not run"
EXIT_CODE: Final = "exits with"
READY: Final = "runs until the end, ready at"
FILE: Final = "file"
FIRST: Final = "first"
OUTPUT: Final = "output"
NIGHTLY: Final = "nightly"
NEEDS: Final = "needs"
BELOW: Final = "below"  # "FILE: LINE", only in CONTRIBUTING.rst: the block belongs below that line
MARKS: Final = (NOT_RUN, EXIT_CODE, READY, FILE, FIRST, OUTPUT, NIGHTLY, NEEDS, BELOW)
_DIRECTIVE: Final = re.compile(r"(?P<indent> *)\.\. code-block:: (?P<language>\S+)")
_COMMENT: Final = re.compile(rf" *\.\. (?P<mark>{'|'.join(MARKS)})(?:: (?P<value>.+))?")
_GENERATED: Final = ".. This page is generated"


@dataclass(frozen=True, kw_only=True)
class Block:
    """One `code-block` of a page."""

    line: int  # of its directive, from 1
    language: str
    text: str
    marks: Mapping[str, str]  # the comments above it
    output: str | None = None  # what the page says that it prints


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page, in the order in which it is read."""

    name: str  # from docs/, without the suffix
    blocks: tuple[Block, ...]
    nightly: bool
    needs: tuple[str, ...] = ()  # programs


class MarkupError(Exception):
    """A page has blocks that cannot be tested as they are written."""


def pages() -> list[Page]:
    """Return the README, and the pages of docs/ that are written by hand."""
    names = {DOCS.parent / "README.rst": "README"} | {
        path: path.relative_to(DOCS).with_suffix("").as_posix() for path in sorted(DOCS.rglob("*.rst"))
    }
    texts = {name: path.read_text(encoding="utf-8") for path, name in names.items()}
    return [parse(name, text) for name, text in texts.items() if not text.startswith(_GENERATED)]


def parse(name: str, text: str) -> Page:
    """Return the page `name` with its content `text`.

    Raises:
        MarkupError: a mark belongs to no block, or literal text is in no `code-block`.

    """
    lines = text.splitlines()
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    nightly = False
    needs: tuple[str, ...] = ()
    number = 0
    while number < len(lines):
        line = lines[number]
        directive, comment = _DIRECTIVE.fullmatch(line), _COMMENT.fullmatch(line)
        number += 1
        if directive is not None:
            content, end = _indented(lines, number, len(directive["indent"]))
            block = Block(line=number, language=directive["language"], text=content, marks=marks)
            _add(name, blocks, block)
            marks, number = {}, end
        elif comment is not None and comment["mark"] == NIGHTLY:
            nightly = True
        elif comment is not None and comment["mark"] == NEEDS:
            needs = tuple((comment["value"] or "").split(", "))
        elif comment is not None:
            marks[comment["mark"]] = comment["value"] or ""
        elif line.strip() and marks:
            raise MarkupError(f"{name}, line {number}: {marks} is not directly above a code-block")
        elif line.endswith("::") and not line.lstrip().startswith(".. "):
            raise MarkupError(f"{name}, line {number}: literal text must be in a code-block")
    if marks:
        raise MarkupError(f"{name}: {marks} is not directly above a code-block")
    return Page(name=name, blocks=tuple(blocks), nightly=nightly, needs=needs)


def _indented(lines: list[str], start: int, indent: int) -> tuple[str, int]:
    """Return the content of a directive whose first line after it is `start`, and the line after the content."""
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" " * (indent + 1))):
        end += 1
    content = [line for line in lines[start:end] if not re.fullmatch(r" +:[a-z-]+:.*", line)]
    width = min((len(line) - len(line.lstrip()) for line in content if line.strip()), default=0)
    return "\n".join(line[width:] for line in content).strip("\n") + "\n", end


def _add(name: str, blocks: list[Block], block: Block) -> None:
    """Append `block`, or make it the output of the last one."""
    if OUTPUT not in block.marks:
        blocks.append(block)
        return
    if block.language != "text" or not blocks or blocks[-1].output is not None:
        raise MarkupError(f"{name}, line {block.line}: output is a text block below the block that prints it")
    above = blocks.pop()
    blocks.append(
        Block(line=above.line, language=above.language, text=above.text, marks=above.marks, output=block.text)
    )


def matches(wanted: str, printed: str) -> bool:
    """Tell whether `printed` is the output `wanted`, where `…` stands for any text, or alone for any lines."""
    pattern = ""
    for line in wanted.strip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.strip() + "\n") is not None
