"""`gatherer gather`."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.app.gather import GatherResult
    from gatherer.pipeline.gather import Summary

REJECTED = 1  # exit code with --fail-on-rejected


class Interval(click.ParamType[timedelta]):
    """A duration such as 90s, 5m or 1h."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: D102
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"([1-9]\d{0,5})\s*([smh])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration; write 90s, 5m or 1h", param, ctx)
        return (
            int(match[1])
            * {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}[match[2]]
        )


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
    """Drain the inbox, or all inboxes, into the target: one run, or one after the other.

    Of several inboxes, one that fails does not stop the others. The exit code is then 3 if one of them
    needs a person, else 75.

    \b
    Examples: gatherer gather
              gatherer gather --every 5m
              gatherer gather --json --fail-on-rejected
    """
    if every and cron is not None:
        raise click.UsageError("--every and --cron exclude each other")
    if (every or cron is not None) and fail_on_rejected:
        raise click.UsageError("--fail-on-rejected is about one run; a schedule goes on")
    from gatherer.app.gather import gather_inboxes
    from gatherer.app.resources import GATHERING, load

    configuration = load(config_path, secrets=GATHERING)

    def one_run() -> tuple[int, int]:
        from gatherer.cli.output import print_json, progress_bar

        with progress_bar("gathering") as progress:
            summary = gather_inboxes(configuration, limit=limit, dry_run=dry_run, progress=progress)
        if isinstance(summary, str):
            if as_json:
                print_json({"running": summary})
            else:
                click.echo(f"a run is already in progress: {summary}")
            return 0, 0
        if as_json:
            print_json(_as_json(summary, dry_run=dry_run))
        else:
            _tell(summary, dry_run=dry_run)
        return summary.exit_code, summary.outcome.rejected

    if every or cron is not None:
        from gatherer.app import schedule

        schedule.run(one_run, every=every, cron=cron)
        return
    exit_code, rejected = one_run()
    if exit_code:
        sys.exit(exit_code)
    if rejected and fail_on_rejected:
        sys.exit(REJECTED)


def _as_json(summary: "GatherResult", *, dry_run: bool) -> dict[str, Any]:
    """Return the figures of all inboxes together, and beside them those of each."""
    from gatherer.cli.output import retired_figures

    return {
        **_figures(summary),
        **retired_figures(summary.retired),
        "target": summary.target,
        "dry_run": dry_run,
        "inboxes": [
            {
                "name": done.name,
                **(_figures(done.summary) | {"identity": done.summary.inbox_id} if done.summary else {}),
                "exit_code": done.exit_code,
                "problem": done.problem,
            }
            for done in summary.inboxes
        ],
    }


def _figures(summary: "GatherResult | Summary") -> dict[str, Any]:
    from gatherer.cli.output import figures

    return {
        "read": summary.read,
        **figures(summary.outcome),
        "position": summary.position,
        "purged_unread": summary.purged_unread,
        "seconds": round(summary.seconds, 3),
    }


def _tell(summary: "GatherResult", *, dry_run: bool) -> None:
    from gatherer.cli.output import retired_sentence, sentence

    tried = "would have gathered" if dry_run else "gathered"
    for done in summary.inboxes:
        of_which = f"inbox {done.name}: " if len(summary.inboxes) > 1 else ""
        if done.summary is None:
            click.echo(f"{of_which}failed: {done.problem}")
            continue
        click.echo(
            f"{of_which}{tried} {done.summary.read} notifications in {done.summary.seconds:.1f} s, "
            f"up to {done.summary.position}, into {summary.target}; {sentence(done.summary.outcome)}"
        )
    if too_old := retired_sentence(summary.retired, dry_run=dry_run):
        click.echo(too_old)
