"""Every SQL example of every page is executed, and its output is what the page says."""

import re
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
import sqlglot
from tabulate import tabulate

from gatherer.model.records import WHATSAPP, Kind, make_key
from gatherer.targets.sqlserver import schema
from tests.docs import campaign
from tests.docs.pages import DOCS, NOT_RUN, Block, matches, pages
from tests.targets.engines import SERVER, SQLServerDatabase


def examples(language: str, *, executed: bool = True) -> list[object]:
    """Return the blocks of all pages in `language`; those that are not run are skipped where they are `executed`."""
    return [
        pytest.param(block, id=f"{page.name}:{block.line}", marks=skipped(block) if executed else ())
        for page in pages()
        for block in page.blocks
        if block.language == language
    ]


def skipped(block: Block) -> list[pytest.MarkDecorator]:
    """Return the mark that skips a block which is not run, with its reason."""
    return [pytest.mark.skip(reason=block.marks[NOT_RUN])] if NOT_RUN in block.marks else []


@pytest.fixture(scope="session")
def responses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return campaign.responses(tmp_path_factory.mktemp("campaign"))


def query(path: Path, statement: str) -> str:
    """Return the rows as `sqlite-utils query FILE SQL -t` prints them. Changes are rolled back."""
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute(statement)
        columns = [name for name, *_ in cursor.description or ()]
        return tabulate(cursor.fetchall(), headers=columns) if columns else ""


@pytest.mark.parametrize("example", examples("sql"))
def test_each_example_runs_in_sqlite_and_gives_these_rows(example: Block, responses: Path) -> None:
    printed = query(responses, example.text)
    if example.output is not None:
        assert matches(example.output, printed), f"line {example.line} gives:\n{printed}"


@pytest.mark.parametrize("example", examples("tsql", executed=False))
def test_each_example_for_sql_server_is_valid(example: Block) -> None:
    for batch in schema.split(example.text):
        assert sqlglot.parse(batch, dialect="tsql", error_level=sqlglot.ErrorLevel.RAISE)


@pytest.mark.sqlserver
@pytest.mark.skipif(not SERVER, reason="needs GATHERER_TEST_SQLSERVER")
@pytest.mark.parametrize("example", examples("tsql"))
def test_each_example_runs_in_sql_server(example: Block, tmp_path: Path) -> None:
    database = SQLServerDatabase(tmp_path)
    for batch in schema.split(example.text.replace("gatherer.", f"{database.schema}.")):
        database.session().run(batch)


def test_the_campaign_of_the_examples_is_always_the_same(responses: Path) -> None:
    counts = query(responses, "SELECT kind, count(*) FROM response WHERE is_test = 0 GROUP BY kind")
    wanted = "delivered 252 failed 18 opted_out 6 reacted 27 read 180 replied 51 sent 291"
    assert " ".join(counts.split()).endswith(wanted)
    assert query(responses, "SELECT campaign, mapped FROM campaign_funnel").split()[-3:] == [
        "Autumn",
        "offer",
        "300",
    ]


def test_the_page_of_the_views_has_an_example_for_each_and_names_each_column(responses: Path) -> None:
    text = (DOCS / "analyst.rst").read_text(encoding="utf-8")
    _, *parts = re.split(r"^(.+)\n-{3,}\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    with closing(sqlite3.connect(responses)) as connection:
        columns = {
            table: [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'view' OR name = 'response'"
            )
        }
    inherited = columns.pop("response")
    assert columns
    for view, names in columns.items():
        section = sections[view]
        assert re.search(rf"code-block:: sql\n\n(   .*\n)*?   FROM {view}\b", section), view
        refers = "all columns of the table :doc:`response <reference/tables>`" in section
        assert [
            name for name in names if f"``{name}``" not in section and not (refers and name in inherited)
        ] == []


def test_the_page_for_the_dba_names_each_table() -> None:
    text = (DOCS / "dba.rst").read_text(encoding="utf-8")
    tables = re.findall(r"^CREATE TABLE \$\(schema\)\.(\w+)", schema.packaged("tables"), re.MULTILINE)
    assert tables
    assert [table for table in tables if f"``{table}``" not in text] == []


def test_the_key_that_the_page_computes_in_t_sql_is_the_key_of_the_fact() -> None:
    text = (DOCS / "dba.rst").read_text(encoding="utf-8")
    declared = re.search(r"DECLARE @message_id varchar\(450\) = '(.*)';", text)
    computed = re.search(r"HASHBYTES\('SHA2_256', CONCAT\((.*), @message_id, CHAR\(31\)\)\)", text)
    assert declared is not None
    assert computed is not None
    words = [word.strip("'") for word in computed[1].split(", ")]
    assert words[1::2] == ["CHAR(31)"] * 2
    assert words[::2] == [WHATSAPP, Kind.READ]
    joined = "\x1f".join((*words[::2], declared[1], ""))
    assert sha256(joined.encode()).digest()[:16] == make_key(WHATSAPP, Kind.READ, declared[1])
