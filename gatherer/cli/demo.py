"""`gatherer demo`."""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from gatherer.app.demo import Demo, Figures


@click.command("demo")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Work in this new or empty folder, and keep it. Default: a temporary folder.",
)
@click.option(
    "--count", type=click.IntRange(min=1, max=100_000), default=300, show_default=True, metavar="N",
    help="The number of messages in the campaign.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, metavar="N", help="Another seed makes another campaign."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
@click.pass_obj
def command(
    config_path: Path | None, *, directory: Path | None, count: int, seed: int, as_json: bool
) -> None:
    """Send a made-up campaign to a server, gather it, and check that nothing is counted twice.

    Needs no configuration, and changes nothing outside its folder.

    \b
    Examples: gatherer demo
              gatherer demo --count 5000 --directory demonstration
    """
    from rich.console import Console

    from gatherer.app.demo import Demo
    from gatherer.cli.output import print_json

    if config_path is not None:
        raise click.UsageError("the demonstration writes its own configuration: leave out --config")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM stops the server as well
    with _folder(directory) as folder:
        demo = Demo(folder, count=count, seed=seed)
        console = Console(quiet=as_json, highlight=False)
        results = _run_and_print(demo, console, keep=directory is not None)
        if as_json:
            print_json(results)
        failed = [name for name, holds in results["proofs"].items() if not holds]
        if failed:
            from gatherer.app.demo import DemoError

            raise DemoError(f"these checks failed: {'; '.join(failed)}")


@contextlib.contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    """Yield the absolute path of `directory`; without one, of a temporary folder that is deleted afterwards."""
    if directory is not None:
        yield directory.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="gatherer-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _run_and_print(demo: "Demo", console: "Console", *, keep: bool) -> dict[str, Any]:
    """Run the demonstration, print each step, and return the results."""
    from gatherer.cli.output import progress_bar

    campaign = demo.campaign
    console.print(f"A campaign of {campaign.count} messages, in {demo.folder}\n")

    def step(name: str, *lines: str) -> None:
        for i, line in enumerate(lines):
            console.print(f"[bold]{'' if i else name:<20}[/] {line}")

    with demo.server() as address:
        step("1. gatherer serve", f"is listening at {address}")
        with progress_bar("posting") as progress:
            first = demo.post(address, progress)
        step(
            "2. the campaign",
            f"{first.requests} signed requests in {first.seconds:.1f} s, all answered 200",
            f"out of order, in batches, {campaign.repeated} repetitions, one malformed body",
        )
        with progress_bar("gathering") as progress:
            summary = demo.gather(progress)
        inserted, outcome = sum(summary.outcome.inserted.values()), summary.outcome
        step(
            "3. gatherer gather",
            f"{summary.read} notifications in {summary.seconds:.2f} s",
            f"{inserted} new rows, {outcome.duplicates} duplicates, {outcome.rejected} rejected\n",
        )
        before = demo.figures()
        _print_figures(before, console)
        again = demo.gather(lambda _done, _total: None)
        after_second_run = demo.figures()
        demo.post(address, lambda _done, _total: None)
        reposted = demo.gather(lambda _done, _total: None)
        after_reposting = demo.figures()
    # Opt-outs are not counted here: they are derived from replies and failures.
    expected = {kind: number for kind, number in campaign.responses.items() if number}
    proofs = {
        "the tables have every receipt and every answer of the campaign, once": expected.items()
        <= before.kinds.items(),
        "every row is marked as a test": before.tests == sum(before.kinds.values()),
        "the malformed body is stored in `rejected`": len(before.rejected) == 1,
        "a second run changes nothing": after_second_run.digest == before.digest and again.read == 0,
        "posting the whole campaign again changes nothing": after_reposting.digest == before.digest
        and reposted.read == len(demo.bodies),
    }
    console.print("[bold]Checked by comparing every column of every row[/]")
    for name, holds in proofs.items():
        console.print(f"  [green]yes[/]  {name}" if holds else f"  [bold red]NO[/]   {name}")
    _print_next_steps(demo, console, keep=keep)
    return {
        "messages": campaign.count,
        "folder": str(demo.folder) if keep else None,
        "requests": first.figures(),
        "gathered": {"read": summary.read, "seconds": round(summary.seconds, 3)},
        **{name: value for name, value in asdict(before).items() if name != "digest"},
        "proofs": proofs,
    }


def _print_figures(figures: "Figures", console: "Console") -> None:
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    def table(title: str, *columns: str) -> Table:
        new_table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for column in columns:
            new_table.add_column(column, justify="right" if column == "rows" else "left")
        return new_table

    responses = table("Responses", "kind", "rows")
    for kind, number in figures.kinds.items():
        responses.add_row(kind, str(number))
    reactions = table("Reactions now", "emoji", "rows")
    for emoji, number in figures.reactions:
        reactions.add_row(emoji or "(taken back)", str(number))
    failures = table("Failures", "code", "reason", "rows")
    for code, title, number in figures.failures:
        failures.add_row(str(code), Text(title), str(number))
    console.print(Columns([responses, reactions]))
    console.print(failures)
    replies = table("Some of the replies", "type", "text")
    for reply_type, text in figures.replies:
        replies.add_row(reply_type, Text(text))
    console.print(replies)
    for reason in figures.rejected:
        console.print(Text(f"rejected, and stored byte for byte: {reason}\n"))


def _print_next_steps(demo: "Demo", console: "Console", *, keep: bool) -> None:
    console.print("\n[bold]Next[/]")
    if keep:
        console.print(f"  look at the rows     sqlite-utils rows {demo.responses} response -t")
        console.print(f"  see the state        gatherer --config {demo.path} status")
    else:
        console.print("  keep the files       gatherer demo --directory demonstration")
    console.print("  set it up for real   gatherer init")
    console.print("  try that set-up      gatherer simulate --endpoint whatsapp")
