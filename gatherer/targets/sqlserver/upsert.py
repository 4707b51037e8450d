"""The T-SQL that writes records: `sql/stage.sql` and `sql/upsert.sql`, rendered for each table from its columns."""

from functools import cache
from typing import Final

from gatherer.model.merge import RECEIPT, TEXT
from gatherer.model.records import Record, Rejected, Response
from gatherer.targets.columns import ORIGINAL, Column, columns
from gatherer.targets.sql_template import any_of, lines, render, wrapped
from gatherer.targets.sqlserver.schema import column_type, definition, packaged, placed, split

_BINARY: Final = "COLLATE Latin1_General_BIN2"  # compares UTF-16 code units


@cache
def staging(table: type[Record] | type[Rejected]) -> tuple[str, str]:
    """Return the statement that makes the staging table of `table`, and the one that puts rows into it."""
    create, stage = split(rendered("stage", table))
    return create, stage


@cache
def upsert(table: type[Record], schema: str) -> tuple[str, str]:
    """Return the statement that inserts staged rows into `table` of `schema`, and the one that updates rows."""
    insert, update = split(placed(rendered("upsert", table), schema))
    return insert, update


def rendered(template: str, table: type[Record] | type[Rejected]) -> str:
    """Return `sql/<template>.sql` for `table`, with its comments; `$(schema)` is left."""
    all_columns = columns(table)
    names = [_quoted(column) for column in all_columns]
    stored = [
        f"{_stored(column.name, table)} AS {column.name}" if _is_replaced(column.name, table) else f"t.{name}"
        for column, name in zip(all_columns, names, strict=True)
    ]
    if table is Response:
        stored.append("t.blanked_at")
    values = {
        "table": table.table,
        "columns": wrapped(names),
        "definitions": lines(f"{_quoted(column):18} {_definition(column)}" for column in all_columns),
        "converted": wrapped(_converted(column) for column in all_columns),
        "paths": lines(
            f"{_quoted(column):18} {_json_type(column)} '$[{index}]'"
            for index, column in enumerate(all_columns)
        ),
        "stored": wrapped(stored),
        "staged": wrapped(f"s.{name}" for name in names),
        "differs": any_of(
            _differs(column, table, blankable=table is Response and column.name in TEXT)
            for column in all_columns
            if column.name not in ("key", *RECEIPT)
        ),
        "assignments": wrapped(
            [
                *(f"{name} = s.{name}" for name in names if name != "[key]"),
                *(
                    f"{name} = NULL"
                    for name in ("told_commit_number", *ORIGINAL.values())
                    if table is Response
                ),
            ]
        ),
    }
    if table is Response:  # counted by kind, every other table as a whole
        values["new_table"] = f"DECLARE @new TABLE (word nvarchar(32) {_BINARY} NOT NULL);"
        values["output"] = "OUTPUT inserted.kind INTO @new"
        values["counts"] = "SELECT word, COUNT(*) AS inserted FROM @new GROUP BY word;"
    else:
        values["new_table"] = values["output"] = ""
        values["counts"] = f"SELECT N'{table.table}' AS word, @inserted AS inserted WHERE @inserted > 0;"
    return render(packaged(template), values)


def _definition(column: Column) -> str:
    """Return what follows the name of `column` in the staging table."""
    type_, _, null = definition(column).partition(" ")
    return f"{type_} {_BINARY} {null}" if column.type == "text" else f"{type_} {null}"


def _json_type(column: Column) -> str:
    """Return the type as which `column` is read from JSON; bytes are hexadecimal there."""
    if column.type == "bytes":
        return f"char({2 * (column.width or 0)})"
    return "nvarchar(max)" if column.type == "text" else column_type(column)


def _converted(column: Column) -> str:
    """Return the value of `column` from what was read from JSON."""
    name = _quoted(column)
    return f"CONVERT({column_type(column)}, {name}, 2)" if column.type == "bytes" else name


def _is_replaced(name: str, table: type[Record] | type[Rejected]) -> bool:
    return table is Response and name in ORIGINAL


def _stored(name: str, table: type[Record] | type[Rejected]) -> str:
    """Return the stored value of the column `name` as deliveries told it."""
    return f"COALESCE(t.{ORIGINAL[name]}, t.{name})" if _is_replaced(name, table) else f"t.{name}"


def _differs(column: Column, table: type[Record] | type[Rejected], *, blankable: bool) -> str:
    """Return the condition on which the staged row has another value of `column` than the stored one, or its first."""
    staged, stored = f"s.{column.name}", _stored(column.name, table)
    # In the table, an unlimited text has the collation of the database.
    collation = f" {_BINARY}" if column.type == "text" and column.width is None else ""
    conditions = [f"{staged} <> {stored}{collation}"]
    if column.type == "text":
        conditions.append(f"DATALENGTH({staged}) <> DATALENGTH({stored})")
    if column.nullable:
        conditions.append(f"({stored} IS NULL AND {staged} IS NOT NULL)")
    condition = " OR ".join(conditions)
    return f"(t.blanked_at IS NULL AND ({condition}))" if blankable else condition


def _quoted(column: Column) -> str:
    return "[key]" if column.name == "key" else column.name  # the one reserved word
