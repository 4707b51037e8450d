"""`gatherer gather`."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.app.gather import GatherResult
    from gatherer.pipeline.gather import GatherSummary

REJECTED = 1  # exit code with --fail-on-rejected
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


class Interval(click.ParamType[timedelta]):
    """A duration such as 90s, 5m or 1h."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: D102
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})\s*([smh])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration; write 90s, 5m or 1h", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.command("gather")
@click.option("--every", type=Interval(), metavar="DURATION", help="Keep running: a run every 90s, 5m, 1h …")
@click.option("--cron", metavar="EXPRESSION", help='Keep running: a run at these times, as in "*/5 * * * *".')
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N notifications.")
@click.option("--dry-run", is_flag=True, help="Try everything, count, and roll back.")
@click.option("--fail-on-rejected", is_flag=True, help="Exit 1 if something was newly rejected.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_obj
def command(
    config_path: Path | None,
    *,
    every: timedelta | None,
    cron: str | None,
    limit: int | None,
    dry_run: bool,
    fail_on_rejected: bool,
    as_json: bool,
) -> None:
    """Bring what is new in all inboxes into the target: one run, or runs on a schedule.

    An inbox that fails does not stop the others. The exit code is then 3 if a failure needs the operator,
    else 75. It is 1 if only a step of [[after_run]] failed: the rows are stored, and the next run takes the step again.
    It is 1 as well if everything else is stored, but an inbox has lost notifications.

    \b
    Examples: gatherer gather
              gatherer gather --every 5m
              gatherer gather --json --fail-on-rejected
    """
    if every and cron is not None:
        raise click.UsageError("--every and --cron cannot be combined")
    if (every or cron is not None) and fail_on_rejected:
        raise click.UsageError(
            "--fail-on-rejected is for one run: it cannot be combined with --every or --cron"
        )
    from gatherer.app.gather import gather_inboxes
    from gatherer.app.resources import GATHERING, load
    from gatherer.cli.output import print_json, progress_bar
    from gatherer.files.lock import LockHeldError

    configuration = load(config_path, secrets=GATHERING)

    def run_once() -> tuple[int, int]:
        """Return the exit code, and how many elements or notifications were rejected."""
        try:
            with progress_bar("gathering") as progress:
                result = gather_inboxes(configuration, limit=limit, dry_run=dry_run, progress=progress)
        except LockHeldError as held:
            if as_json:
                print_json({"running": held.holder})
            else:
                click.echo(f"a run is already in progress: {held.holder}")
            return 0, 0
        if as_json:
            print_json(_json(result, dry_run=dry_run))
        else:
            _print(result, dry_run=dry_run)
        return result.exit_code, result.outcome.rejected

    if every or cron is not None:
        from gatherer.app import schedule

        schedule.run(run_once, every=every, cron=cron)
        return
    exit_code, rejected = run_once()
    if exit_code:
        sys.exit(exit_code)
    if rejected and fail_on_rejected:
        sys.exit(REJECTED)


def _json(result: "GatherResult", *, dry_run: bool) -> dict[str, Any]:
    """Return the figures of all inboxes together, and those of each inbox."""
    from gatherer.cli.output import retention_json

    return {
        **_figures(result),
        **retention_json(result.retention),
        "target": result.target,
        "dry_run": dry_run,
        "inboxes": [
            {
                "name": inbox.name,
                **(_figures(inbox.summary) | {"identity": inbox.summary.inbox_id} if inbox.summary else {}),
                "exit_code": inbox.exit_code,
                "problem": inbox.problem,
            }
            for inbox in result.inboxes
        ],
        "after_run": [
            {"name": step.step, "exit_code": step.exit_code, "last_line": step.last_line}
            for step in result.steps
        ],
    }


def _figures(figures: "GatherResult | GatherSummary") -> dict[str, Any]:
    from gatherer.cli.output import outcome_json

    return {
        "read": figures.read,
        **outcome_json(figures.outcome),
        "position": figures.position,
        "times_ahead": figures.times_ahead,
        "purged_unread": figures.purged_unread,
        "missing": figures.missing,
        "seconds": round(figures.seconds, 3),
    }


def _print(result: "GatherResult", *, dry_run: bool) -> None:
    from gatherer.cli.output import outcome_text, retention_text

    verb = "would have gathered" if dry_run else "gathered"
    for inbox in result.inboxes:
        prefix = f"inbox {inbox.name}: " if len(result.inboxes) > 1 else ""
        if inbox.summary is None:
            click.echo(f"{prefix}failed: {inbox.problem}")
            continue
        click.echo(
            f"{prefix}{verb} {inbox.summary.read} notifications in {inbox.summary.seconds:.1f} s, "
            f"up to {inbox.summary.position}, into {result.target}; {outcome_text(inbox.summary.outcome)}"
        )
        if inbox.summary.purged_unread:
            click.echo(f"{prefix}LOST: {inbox.summary.purged_unread} were purged before they were gathered")
        if inbox.summary.missing:
            click.echo(
                f"{prefix}LOST: {inbox.summary.missing} are missing in the inbox; see `gatherer inbox check`"
            )
    if removed := retention_text(result.retention, dry_run=dry_run):
        click.echo(removed)
