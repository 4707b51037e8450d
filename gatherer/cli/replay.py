"""`gatherer replay`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatherer.cli.selection import make_selection, selection_options

if TYPE_CHECKING:
    from gatherer.pipeline.replay import ReplaySummary


@click.command("replay")
@selection_options
@click.option("--all", "everything", is_flag=True, help="All notifications that the inbox holds.")
@click.option("--rejected", is_flag=True, help="Notifications with open rejections, as the target kept them.")
@click.option("--inbox", "inbox_name", metavar="NAME", help="From this inbox, where there are several.")
@click.option("--provider", metavar="NAME", help="Decode with this provider instead of the stored one.")
@click.option("--rebuild", is_flag=True, help="First remove the rows of these notifications; make them anew.")
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
    **choice: Any,
) -> None:
    """Decode and apply chosen notifications again, for manual recovery.

    Safe to repeat: the same notifications give the same rows. The position of `gather` stays where it is.

    \b
    Examples: gatherer replay --since 2026-11-20
              gatherer replay --rejected --provider wati
              gatherer replay --from-id 1000 --to-id 2000 --rebuild
    """
    has_choice = any(choice.values())
    if everything and has_choice:
        raise click.UsageError("--all cannot be combined with another choice")
    if rejected and (has_choice or everything):
        raise click.UsageError("--rejected cannot be combined with another choice")
    if not (has_choice or everything or rejected):
        raise click.UsageError(
            "choose what to replay: --id, --from-id/--to-id, --since/--until, --endpoint, --rejected or --all"
        )
    selection = None if rejected else make_selection(**choice)
    from gatherer.app.replay import replay
    from gatherer.app.resources import GATHERING, load
    from gatherer.cli.output import print_json, progress_bar

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
    if as_json:
        print_json(_json(summary, dry_run=dry_run))
    else:
        _print(summary, rebuild=rebuild, dry_run=dry_run)


def _json(summary: "ReplaySummary", *, dry_run: bool) -> dict[str, Any]:
    from gatherer.cli.output import outcome_json, retention_json

    return {
        "read": summary.read,
        **outcome_json(summary.outcome),
        "removed": summary.outcome.removed,
        "merged": summary.merged,
        **retention_json(summary.retention),
        "seconds": round(summary.seconds, 3),
        "dry_run": dry_run,
    }


def _print(summary: "ReplaySummary", *, rebuild: bool, dry_run: bool) -> None:
    from gatherer.cli.output import outcome_text, retention_text

    verb = "would have replayed" if dry_run else "replayed"
    removed_first = f"; removed first: {summary.outcome.removed}" if rebuild else ""
    if summary.merged:
        removed_first += (
            f"; merged, as a notification of theirs is purged, erased or out of reach: {summary.merged}"
        )
    click.echo(
        f"{verb} {summary.read} notifications in {summary.seconds:.1f} s{removed_first}; "
        f"{outcome_text(summary.outcome)}"
    )
    if removed := retention_text(summary.retention, dry_run=dry_run):
        click.echo(removed)
