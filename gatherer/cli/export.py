"""`gatherer export`."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gatherer.cli.selection import Moment, check_period


@click.command("export")
@click.option(
    "--format",
    type=click.Choice(["csv", "tsv", "ndjson", "ferg", "opt-outs"]),
    default="csv",
    show_default=True,
    help="ferg: for Apteco's email response gatherer; only responses whose campaign is known. opt-outs: who wants no "
    "more marketing, or wants it again; no opt-out is held back.",
)
@click.option(
    "--since", type=Moment(), metavar="TIME", help="Occurred at or after TIME (UTC, or with a zone)."
)
@click.option("--until", type=Moment(), metavar="TIME", help="Occurred before TIME.")
@click.option(
    "--since-last",
    metavar="NAME",
    help="Only rows written since the last export with this NAME, whenever they occurred; with ferg also rows whose "
    "campaign became known since then.",
)
@click.option(
    "--restart",
    metavar="NAME",
    help="Reset the cursor of --since-last NAME, so that the next export writes everything, and do nothing else.",
)
@click.option("--endpoint", metavar="NAME", help="Received at this endpoint.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="sent, read, replied …; repeatable.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to this file in an existing folder. It appears when it is complete. The time is filled in as strftime does, as in "
    "whatsapp_%Y%m%d_%H%M%S.txt. With --since-last an existing file is not replaced. Without responses no file "
    "is written. Default: standard output.",
)
@click.option(
    "--date-format",
    metavar="FORMAT",
    help="For strftime, or UnixTimeStamp. Default: ISO-8601; with ferg %d.%m.%Y %H:%M.",
)
@click.option(
    "--time-zone", metavar="ZONE", help="IANA name. Default: UTC; with ferg the time_zone of [target]."
)
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help='Between the fields of csv, tsv and opt-outs: ";", or the word tab.',
)
@click.option("--bom", is_flag=True, help="Begin with a byte order mark, by which Excel recognises UTF-8.")
@click.option("--include-tests", is_flag=True, help="Write test rows as well; they are marked.")
@click.pass_context
def command(
    context: click.Context,
    /,
    *,
    since: datetime | None,
    until: datetime | None,
    restart: str | None,
    **options: Any,
) -> None:
    """Write responses as text for other programs.

    One line on standard error says how many rows were written, how many were held back, and why.

    \b
    Examples: gatherer export --since 2026-11-01 --kind replied > replies.csv
              gatherer export --format ndjson --since-last warehouse --output 'out/%Y%m%d_%H%M%S.ndjson'
              gatherer export --format ferg --since-last ferg --output '/ferg/in/whatsapp_%Y%m%d_%H%M%S.txt'
              gatherer export --format opt-outs --since-last opt-outs --output 'out/opt-outs_%Y%m%d_%H%M%S.csv'
    """
    check_period(since, until)
    from gatherer.app import export
    from gatherer.app.resources import TARGET, load

    def report(line: str) -> None:
        click.echo(line, err=True)

    if restart is not None:
        sources = [context.get_parameter_source(name) for name in context.params]
        if sources.count(click.core.ParameterSource.COMMANDLINE) > 1:
            raise click.UsageError("--restart cannot be combined with other options")
        export.restart(load(context.obj, secrets=TARGET), restart, report=report)
        return
    export.export(
        load(context.obj, secrets=TARGET),
        export.ExportOptions(since=since, until=until, **options),
        report=report,
    )
