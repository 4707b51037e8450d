"""The columns that the record types declare, and the scripts of both engines, which have to create just these."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.model.records import Rejected, Response
from gatherer.targets import columns
from gatherer.targets.columns import Column
from gatherer.targets.sqlite import inspection
from gatherer.targets.sqlite import schema as sqlite_schema
from gatherer.targets.sqlite.target import SQLiteTarget
from gatherer.targets.sqlserver import schema as sqlserver_schema


def test_a_field_declares_type_width_and_nullability() -> None:
    declared = {column.name: column for column in columns.columns(Response)}
    assert list(declared) == list(Response.__struct_fields__)
    assert declared["key"] == Column(name="key", type="bytes", width=16)
    assert declared["kind"] == Column(name="kind", type="text", width=32)
    assert declared["occurred_at_source"] == Column(name="occurred_at_source", type="text", width=16)
    assert declared["occurred_at"] == Column(name="occurred_at", type="time")
    assert declared["message_id"] == Column(name="message_id", type="text", width=450, nullable=True)
    assert declared["reply_text"] == Column(name="reply_text", type="text", nullable=True)
    assert declared["billable"] == Column(name="billable", type="boolean", nullable=True)
    assert declared["error_code"] == Column(name="error_code", type="integer", nullable=True)


def test_the_bytes_of_a_rejection_are_columns_of_another_table() -> None:
    names = [column.name for column in columns.columns(Rejected)]
    assert [*names, "body", "content_type"] == list(Rejected.__struct_fields__)


def _created(script: str, table: str) -> dict[str, str]:
    """Return the definition of each column in the statement of `script` that creates `table`."""
    body = re.search(rf"CREATE TABLE (?:\$\(schema\)\.)?{table} \((.*?)\n\);", script, re.DOTALL)
    assert body is not None
    lines = [re.sub(r",?(\s+--.*)?$", "", line).strip() for line in body[1].splitlines()]
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("CONSTRAINT")]
    return {name.strip("[]"): definition for name, definition in pairs}


def _sqlserver(column: Column) -> str:
    if column.name == "id":
        return "bigint IDENTITY(1, 1) NOT NULL"
    type_, null = sqlserver_schema.definition(column).split(maxsplit=1)
    # Words and ids compare byte by byte; texts for people have the collation of the database.
    collation = " COLLATE Latin1_General_BIN2" if column.type == "text" and column.width else ""
    return f"{type_}{collation} {null}"


def _sqlite(column: Column) -> str:
    return "INTEGER PRIMARY KEY" if column.name == "id" else sqlite_schema.definition(column)


@pytest.mark.parametrize("table", columns.tables())
@pytest.mark.parametrize(
    ("script", "definition"),
    [
        (sqlserver_schema.packaged("tables"), _sqlserver),
        (sqlite_schema.sql("tables"), _sqlite),
    ],
    ids=["sqlserver", "sqlite"],
)
def test_the_script_creates_the_declared_columns(
    script: str, definition: Callable[[Column], str], table: str
) -> None:
    declared = {column.name: definition(column) for column in columns.tables()[table]}
    created = _created(script, table)
    assert created == declared
    assert list(created) == list(declared), "in the order of the fields"


def test_a_file_as_it_was_created_has_no_differences(tmp_path: Path) -> None:
    SQLiteTarget(tmp_path / "responses.db").close()
    assert inspection.inspect(tmp_path / "responses.db")["problems"] == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("TRIGGER", "message_map_updated"), ("TABLE", "export_cursor"), ("VIEW", "reply")],
)
def test_what_a_file_lacks_is_named(tmp_path: Path, kind: str, name: str) -> None:
    """Without a trigger, exports would silently leave out what the map learned."""
    path = tmp_path / "responses.db"
    SQLiteTarget(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DROP {kind} {name}")
    assert inspection.inspect(path)["problems"] == [f"{path}: {name} is missing"]


def test_columns_of_a_file_that_are_missing_or_different_are_named(tmp_path: Path) -> None:
    path = tmp_path / "responses.db"
    SQLiteTarget(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE other_event DROP COLUMN user_id")
        connection.execute("ALTER TABLE response DROP COLUMN billable")
        connection.execute("ALTER TABLE response ADD COLUMN billable TEXT NOT NULL DEFAULT ''")
        connection.commit()
    assert inspection.inspect(path)["problems"] == [
        f"{path}: response.billable is TEXT NOT NULL instead of INTEGER",
        f"{path}: other_event.user_id is missing",
    ]
