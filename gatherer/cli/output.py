"""Output that several commands share: JSON, tables, progress bars, the counts of an outcome."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.targets.base import Outcome, RetentionResult


def print_json(value: object) -> None:
    """Print `value` as one JSON object on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def outcome_json(outcome: "Outcome") -> dict[str, Any]:
    """Return the counts of `outcome` for JSON."""
    return {
        "inserted": dict(sorted(outcome.inserted.items())),
        "filled": outcome.filled,
        "duplicates": outcome.duplicates,
        "rejected": outcome.rejected,
        "resolved": outcome.resolved,
        "erased": outcome.erased,
    }


def outcome_text(outcome: "Outcome") -> str:
    """Return the counts of `outcome` as part of a sentence."""
    new = ", ".join(f"{count} {name}" for name, count in sorted(outcome.inserted.items())) or "nothing"
    parts = [f"new: {new}", f"filled: {outcome.filled}", f"duplicates: {outcome.duplicates}"]
    if outcome.rejected:
        parts.append(f"rejected: {outcome.rejected}")
    if outcome.resolved:
        parts.append(f"rejections resolved: {outcome.resolved}")
    if outcome.erased:
        parts.append(f"skipped, about erased people: {outcome.erased}")
    return "; ".join(parts)


def retention_json(retention: "RetentionResult") -> dict[str, Any]:
    """Return what `[target] keep_days` removed, for JSON; an empty dict if nothing was too old."""
    return {"retention": dataclasses.asdict(retention)} if retention.blanked or retention.deleted else {}


def retention_text(retention: "RetentionResult", *, dry_run: bool) -> str:
    """Return what `[target] keep_days` removed, as a sentence; an empty text if nothing was too old."""
    parts = []
    if retention.blanked:
        parts.append(f"the text of {retention.blanked} answers")
    if retention.deleted:
        parts.append(f"{retention.deleted} rows")
    verb = "would no longer keep" if dry_run else "no longer kept"
    return f"{verb}: {', '.join(parts)}" if parts else ""


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on stderr if that is a terminal. Yields a function to call with (done, total)."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_table(rows: list[dict[str, str]]) -> None:
    """Print `rows`, which have the same keys, as a table: as wide as the terminal, or 160 characters without one."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_lines=True, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
