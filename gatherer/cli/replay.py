"""`gatherer replay`."""

from pathlib import Path
from typing import Any

import click

from gatherer.cli.selection import choosing, selected


@click.command("replay")
@choosing
@click.option("--all", "everything", is_flag=True, help="All notifications that the inbox holds.")
@click.option("--rejected", is_flag=True, help="Notifications with open rejections, as the target kept them.")
@click.option("--inbox", "inbox_name", metavar="NAME", help="From this inbox, where there are several.")
@click.option("--provider", metavar="NAME", help="Decode with this provider instead of the stored one.")
@click.option(
    "--rebuild", is_flag=True, help="First remove the rows that came only from these notifications."
)
@click.option("--dry-run", is_flag=True, help="Try everything, count, and roll back.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_obj
def command(
    config_path: Path | None,
    /,
    *,
    everything: bool,
    rejected: bool,
    inbox_name: str | None,
    provider: str | None,
    rebuild: bool,
    dry_run: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Decode and apply chosen notifications again, for manual recovery.

    Safe to repeat: the same notifications give the same rows. The position of `gather` stays where it is.

    \b
    Examples: gatherer replay --since 2026-11-20
              gatherer replay --rejected --provider wati
              gatherer replay --from-id 1000 --to-id 2000 --rebuild
    """
    some = any(chosen.values())
    if rejected and (some or everything):
        raise click.UsageError("--rejected cannot be combined with another choice")
    if not (some or everything or rejected):
        raise click.UsageError(
            "choose what to replay: --id, --from-id/--to-id, --since/--until, --endpoint, --rejected or --all"
        )
    from gatherer.app.replay import replay
    from gatherer.app.resources import GATHERING, load
    from gatherer.cli.output import (
        figures,
        print_json,
        progress_bar,
        retired_figures,
        retired_sentence,
        sentence,
    )

    selection = None if rejected else selected(**chosen)
    configuration = load(config_path, secrets=GATHERING)
    with progress_bar("replaying") as progress:
        summary = replay(
            configuration,
            selection,
            inbox_name=inbox_name,
            provider=provider,
            rebuild=rebuild,
            dry_run=dry_run,
            progress=lambda done: progress(done, done),
        )
    outcome = summary.outcome
    if as_json:
        seconds = round(summary.seconds, 3)
        print_json(
            {
                "read": summary.read,
                **figures(outcome),
                "removed": outcome.removed,
                **retired_figures(summary.retired),
                "seconds": seconds,
                "dry_run": dry_run,
            }
        )
    else:
        tried = "would have replayed" if dry_run else "replayed"
        removed = f"; removed first: {outcome.removed}" if rebuild else ""
        click.echo(
            f"{tried} {summary.read} notifications in {summary.seconds:.1f} s{removed}; {sentence(outcome)}"
        )
        if too_old := retired_sentence(summary.retired, dry_run=dry_run):
            click.echo(too_old)
