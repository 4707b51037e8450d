"""Rendering the packaged SQL that is the same for each table: `$(name)` stands for a list of its columns."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

_VARIABLE: Final = re.compile(r"\$\((\w+)\)")
_LINE: Final = 100  # characters


def render(template: str, values: Mapping[str, str]) -> str:
    """Return `template` with each `$(name)` that `values` has replaced, and the value's lines indented like the first.

    A line that holds nothing but the name of an empty value is left out.
    """
    return "".join(_rendered(line, values) for line in template.splitlines(keepends=True))


def _rendered(line: str, values: Mapping[str, str]) -> str:
    names = _VARIABLE.findall(line)
    if any(values.get(name) == "" and line.strip() == f"$({name})" for name in names):
        return ""
    indent = line[: len(line) - len(line.lstrip())]
    for name in names:
        if name in values:
            line = line.replace(f"$({name})", values[name].replace("\n", f"\n{indent}"))
    return line


def wrapped(words: Iterable[str]) -> str:
    """Return `words` with commas between them, as many in a line as fit."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) > _LINE:
            lines.append("")
        lines[-1] += f"{word}, "
    return "\n".join(line.rstrip() for line in lines).rstrip(",")


def lines(words: Iterable[str]) -> str:
    """Return `words` with commas between them, one on each line."""
    return ",\n".join(words)


def any_of(conditions: Iterable[str]) -> str:
    """Return the condition that one of `conditions` holds, one on each line."""
    return "\nOR ".join(conditions)
