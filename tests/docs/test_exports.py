"""The columns of each format of `gatherer export` are those of its page, in that order."""

import csv
import io
import re
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from gatherer.cli.export import command
from gatherer.pipeline.export import Format, Layout, write_responses
from gatherer.targets.base import Export
from tests.docs.pages import DOCS
from tests.targets.engines import DATABASES, ENGINES
from tests.targets.test_views import Facts, fact

FORMATS = get_args(Format)


def documented(name: str) -> list[str]:
    """Return the columns that the page lists for the format `name`."""
    page = (DOCS / "exports.rst").read_text(encoding="utf-8")
    _, _, rest = page.partition(f".. columns of {name}\n\n.. list-table::")
    assert rest, name
    table = re.match(r"(?:\n|   .*)+", rest)
    assert table is not None
    cells = re.findall(r"^   \* - (``.*)$", table[0], re.MULTILINE)
    return [column for cell in cells for column in re.findall(r"``(\w+)``", cell)]


def test_the_command_has_each_format() -> None:
    (option,) = (parameter for parameter in command.params if parameter.name == "format")
    assert tuple(option.type.choices) == FORMATS  # type: ignore[attr-defined]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", FORMATS)
def test_the_page_has_the_columns_of_each_format(tmp_path: Path, engine: str, name: Format) -> None:
    with closing(Facts(DATABASES[engine](tmp_path))) as facts:
        facts.map("spring", message_id="w1").tell(fact("sent", "w1"), fact("opted_out", "r1"))
        written = io.StringIO()
        write_responses(facts.target, Export(), Layout(format=name), written.write)
        values: list[Any] = [
            value for batch in facts.target.export(Export()) for row in batch for value in row.values()
        ]
    line = written.getvalue().splitlines()[0]
    if name == "ndjson":
        columns = re.findall(r'"(\w+)": ', line)
    else:
        delimiter = "\t" if name in ("tsv", "ferg") else ","
        (columns,) = csv.reader([line], delimiter=delimiter)
    assert columns == documented("csv" if name in ("csv", "tsv", "ndjson") else name)
    assert {type(value) for value in values} <= {str, int, bool, datetime, type(None)}, "no decimal fractions"
