"""The SQL that writes records: `sql/upsert.sql`, rendered for each table from its columns.

It is the rule of :mod:`gatherer.model.merge` in SQL; `tests/targets/test_contract.py` holds both to each other.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

from gatherer.model.merge import RECEIPT, TEXT, TOGETHER
from gatherer.model.records import Record, Response
from gatherer.targets.columns import ORIGINAL, Column, columns
from gatherer.targets.sql_template import any_of, lines, render, wrapped
from gatherer.targets.sqlite.schema import sql

WRITTEN: Final = ("inserted_at", "changed_at", "commit_number")


@cache
def upsert(table: type[Record], left_out: frozenset[str] = frozenset()) -> str:
    """Return the upsert of one row into `table`, with a parameter for each column in the order of the fields.

    The columns `left_out` are not among the parameters: for rows in which they are NULL.
    """
    by_name = {column.name: column for column in columns(table) if column.name not in left_out}
    groups = [[by_name[name] for name in group] for group in TOGETHER if by_name.keys() >= set(group)]
    grouped = {column.name for group in groups for column in group}
    alone = [column for column in by_name.values() if column.name != "key" and column.name not in grouped]
    blankable = TEXT if table is Response else ()
    assignments = [
        f"{column.name} = CASE WHEN {_wins(group)} THEN excluded.{column.name} ELSE {column.name} END"
        for group in groups
        for column in group
    ]
    assignments += [
        f"{column.name} = {_filled(column, table, blankable=column.name in blankable)}" for column in alone
    ]
    if table is Response:
        assignments += [f"{name} = NULL" for name in ("told_commit_number", *ORIGINAL.values())]
    receipt = [by_name[name] for name in RECEIPT]
    changes = [_wins(group) for group in groups if group != receipt]
    changes += [_changes(column, table, blankable=column.name in blankable) for column in alone]
    compared = [name for name in by_name if name != "key" and name not in RECEIPT]
    written = [*by_name, *WRITTEN]
    values = {
        "table": table.table,
        "columns": wrapped(written),
        "parameters": wrapped("?" * len(written)),
        "assignments": lines(assignments),
        "received_before": _wins(receipt),
        "delivered": wrapped(f"excluded.{name}" for name in compared),
        "stored": wrapped(_stored(name, table) for name in compared),
        "changes": any_of(changes),
    }
    return render(sql("upsert"), values)


def _stored(name: str, table: type[Record]) -> str:
    """Return the value of the column `name` as deliveries told it."""
    return f"coalesce({ORIGINAL[name]}, {name})" if table is Response and name in ORIGINAL else name


def _filled(column: Column, table: type[Record], *, blankable: bool) -> str:
    """Return the value that `column` gets; if it is `blankable`, NULL where the row was blanked."""
    name, stored = column.name, _stored(column.name, table)
    value = f"min({stored}, excluded.{name})"
    if column.nullable:
        value = f"coalesce({value}, {stored}, excluded.{name})"
    return f"CASE WHEN blanked_at IS NULL THEN {value} END" if blankable else value


def _changes(column: Column, table: type[Record], *, blankable: bool) -> str:
    """Return the condition on which the delivery changes `column`."""
    name = column.name
    changes = f"excluded.{name} < {_stored(name, table)}"
    if column.nullable:
        changes += f" OR ({name} IS NULL AND excluded.{name} IS NOT NULL)"
    return f"(blanked_at IS NULL AND ({changes}))" if blankable else changes


def _wins(group: Iterable[Column]) -> str:
    """Return the condition on which the delivery wins over the row in a group of columns."""
    delivered, stored = (", ".join(_rank(side, column) for column in group) for side in ("excluded.", ""))
    return f"({delivered}) < ({stored})"


def _rank(side: str, column: Column) -> str:
    """Return what orders NULL after every value, so that it never wins and is always filled."""
    value = f"{side}{column.name}"
    return f"{value} IS NULL, coalesce({value}, '')" if column.nullable else value
