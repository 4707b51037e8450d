"""`gatherer export`."""

from datetime import datetime
from pathlib import Path

import click

from gatherer.cli.selection import Moment


@click.command("export")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["csv", "tsv", "ndjson", "ferg"]),
    default="csv",
    show_default=True,
    help="ferg: what Apteco's email response gatherer reads from a folder; only responses whose campaign is known.",
)
@click.option(
    "--since", type=Moment(), metavar="TIME", help="Occurred at or after TIME (UTC, or with a zone)."
)
@click.option("--until", type=Moment(), metavar="TIME", help="Occurred before TIME.")
@click.option(
    "--since-last",
    metavar="NAME",
    help="Only what was written since the last export of this name, however long ago it occurred; with ferg also "
    "what only since then has a campaign.",
)
@click.option("--endpoint", metavar="NAME", help="Received at this endpoint.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="sent, read, replied …; repeatable.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write this file, all at once, when it is complete. Times as in strftime are filled in, as in "
    "whatsapp_%Y%m%d_%H%M%S.txt. With --since-last no file that is there is replaced. Nothing to write: no file. "
    "Default: standard output.",
)
@click.option(
    "--date-format",
    metavar="FORMAT",
    help="As strftime has it, or UnixTimeStamp. Default: ISO-8601; with ferg %d.%m.%Y %H:%M.",
)
@click.option(
    "--time-zone", metavar="ZONE", help="IANA name. Default: UTC; with ferg the time_zone of [target]."
)
@click.pass_obj
def command(
    config_path: Path | None,
    *,
    format_name: str,
    since: datetime | None,
    until: datetime | None,
    since_last: str | None,
    endpoint: str | None,
    kinds: tuple[str, ...],
    output: Path | None,
    date_format: str | None,
    time_zone: str | None,
) -> None:
    """Write responses as text, for other programs.

    \b
    Examples: gatherer export --since 2026-11-01 --kind replied > replies.csv
              gatherer export --format ndjson --since-last warehouse --output 'out/%Y%m%d_%H%M%S.ndjson'
              gatherer export --format ferg --since-last ferg --output '/ferg/in/whatsapp_%Y%m%d_%H%M%S.txt'
    """
    from gatherer.app.export import ExportOptions, export_once
    from gatherer.app.resources import TARGET, load

    export_once(
        load(config_path, secrets=TARGET),
        ExportOptions(
            format_name=format_name,
            since=since,
            until=until,
            since_last=since_last,
            endpoint=endpoint,
            kinds=kinds,
            output=output,
            date_format=date_format,
            time_zone=time_zone,
        ),
        tell=lambda line: click.echo(line, err=True),
    )
