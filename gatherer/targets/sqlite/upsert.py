"""The upserts of the embedded target: the rule of :mod:`gatherer.model.merge` in SQLite's words.

A row is inserted, or filled from another delivery of the same fact: NULL gets filled; where two deliveries
contradict each other the smaller value in binary order wins, per group of columns that belong together.
What was blanked stays so, and nothing is written when nothing changes. `tests/targets/test_contract.py` holds both
wordings to each other.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

from gatherer.model.merge import TEXT, TOGETHER
from gatherer.model.records import Record, Response

WRITTEN_AT: Final = ("inserted_at", "changed_at")
_RECEIPT: Final = TOGETHER[1]  # the group that every redelivery says anew


@cache
def upsert(table: type[Record], left_out: frozenset[str] = frozenset()) -> str:
    """Return the upsert of one row into `table`, with a parameter for each column in the order of the fields.

    The columns `left_out` are not among the parameters: for rows in which they are NULL.
    """
    columns = [name for name in table.__struct_fields__ if name not in left_out]
    groups = [group for group in TOGETHER if set(group) <= set(columns)]
    alone = [name for name in columns if name != "key" and not any(name in group for group in groups)]
    blankable = TEXT if table is Response else ()
    changes = [
        *(f"{name} = CASE WHEN {_wins(group)} THEN excluded.{name} ELSE {name} END" for group in groups for name in group),
        *(f"{name} = {_filled(name, blankable=name in blankable)}" for name in alone),
    ]  # fmt: skip
    news = [_wins(group) for group in groups if group is not _RECEIPT]
    news += [_is_news(name, blankable=name in blankable) for name in alone]
    said = [name for name in columns if name != "key" and name not in _RECEIPT]
    return f"""
        INSERT INTO {table.table} ({_listed([*columns, *WRITTEN_AT])})
        VALUES ({_listed("?" for _ in [*columns, *WRITTEN_AT])})
        ON CONFLICT (key) DO UPDATE SET {_listed(changes)}, changed_at = excluded.changed_at
        WHERE {_wins(_RECEIPT)}
        -- Most redeliveries say the same again; asked first, that is answered with half the comparisons.
        OR (({_listed(f"excluded.{name}" for name in said)}) IS NOT ({_listed(said)}) AND ({" OR ".join(news)}))
    """


def _filled(name: str, *, blankable: bool) -> str:
    """Return the value that a column has afterwards; if it is `blankable`, none where it was blanked."""
    value = f"coalesce(min({name}, excluded.{name}), {name}, excluded.{name})"
    return f"CASE WHEN blanked_at IS NULL THEN {value} END" if blankable else value


def _is_news(name: str, *, blankable: bool) -> str:
    """Return the condition on which the delivery changes a column of the row."""
    news = f"excluded.{name} < {name} OR ({name} IS NULL AND excluded.{name} IS NOT NULL)"
    return f"(blanked_at IS NULL AND ({news}))" if blankable else news


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _wins(group: Iterable[str]) -> str:
    """Return the condition on which a group of columns of the delivery goes before that of the row."""
    theirs, mine = (_listed(_rank(side + name) for name in group) for side in ("excluded.", ""))
    return f"({theirs}) < ({mine})"


def _rank(value: str) -> str:
    """Order NULL after every value, so that it never wins and is always filled."""
    return f"{value} IS NULL, coalesce({value}, '')"
