"""`gatherer replay`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click


class Moment(click.ParamType[datetime]):
    """A time such as 2026-11-20, 2026-11-20T18:30 or 2026-11-20T18:30:00+01:00; UTC without a zone."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: D102
        from datetime import UTC

        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write 2026-11-20 or 2026-11-20T18:30+01:00", param, ctx)


class Number(click.IntRange):
    """An id; one that no database can hold is the same as the highest: it does not exist."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: D102
        number: int = super().convert(value, param, ctx)
        return min(number, HIGHEST)


HIGHEST = 2**63 - 1
NUMBER = Number(min=1)


@click.command("replay")
@click.option("--id", "ids", type=NUMBER, multiple=True, metavar="N", help="This notification; repeatable.")
@click.option("--from-id", type=NUMBER, metavar="N", help="Notifications from this id on.")
@click.option("--to-id", type=NUMBER, metavar="N", help="Notifications up to this id.")
@click.option(
    "--since", type=Moment(), metavar="TIME", help="Received at or after TIME (UTC, or with a zone)."
)
@click.option("--until", type=Moment(), metavar="TIME", help="Received before TIME.")
@click.option("--endpoint", metavar="NAME", help="Received at this endpoint.")
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
    *,
    ids: tuple[int, ...],
    from_id: int | None,
    to_id: int | None,
    since: datetime | None,
    until: datetime | None,
    endpoint: str | None,
    everything: bool,
    rejected: bool,
    inbox_name: str | None,
    provider: str | None,
    rebuild: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decode and apply chosen notifications again, for manual recovery.

    Safe to repeat: the same notifications give the same rows. The position of `gather` stays where it is.

    \b
    Examples: gatherer replay --since 2026-11-20
              gatherer replay --rejected --provider wati
              gatherer replay --from-id 1000 --to-id 2000 --rebuild
    """
    chosen = (ids, from_id, to_id, since, until, endpoint)
    if rejected and (any(chosen) or everything):
        raise click.UsageError("--rejected cannot be combined with another choice")
    if not (any(chosen) or everything or rejected):
        raise click.UsageError(
            "choose what to replay: --id, --from-id/--to-id, --since/--until, --endpoint, --rejected or --all"
        )
    from gatherer import app
    from gatherer.cli.output import figures, print_json, progress_bar, sentence
    from gatherer.inbox.base import Selection

    selection: Selection | None = None
    if not rejected:
        selection = Selection(
            ids=frozenset(ids) if ids else None,
            from_id=from_id,
            to_id=to_id,
            since=since,
            until=until,
            endpoint=endpoint,
        )
    configuration = app.load(config_path, secrets=app.GATHERING)
    with progress_bar("replaying") as progress:
        summary = app.replay_once(
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
