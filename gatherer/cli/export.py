"""`gatherer export`."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatherer.cli.selection import Moment

if TYPE_CHECKING:
    from gatherer.pipeline.export import Format


@click.command("export")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "tsv", "ndjson", "ferg"]),
    default="csv",
    show_default=True,
    help="ferg: for Apteco's email response gatherer; only responses whose campaign is known.",
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
@click.option("--endpoint", metavar="NAME", help="Received at this endpoint.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="sent, read, replied …; repeatable.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write to this file, which appears when it is complete. The time is filled in as strftime does, as in "
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
@click.pass_obj
def command(
    config_path: Path | None,
    *,
    format_: "Format",
    since: datetime | None,
    until: datetime | None,
    since_last: str | None,
    endpoint: str | None,
    kinds: tuple[str, ...],
    output: Path | None,
    date_format: str | None,
    time_zone: str | None,
) -> None:
    """Write responses as text for other programs.

    \b
    Examples: gatherer export --since 2026-11-01 --kind replied > replies.csv
              gatherer export --format ndjson --since-last warehouse --output 'out/%Y%m%d_%H%M%S.ndjson'
              gatherer export --format ferg --since-last ferg --output '/ferg/in/whatsapp_%Y%m%d_%H%M%S.txt'
    """
    from gatherer.app.export import ExportOptions, export
    from gatherer.app.resources import TARGET, load

    export(
        load(config_path, secrets=TARGET),
        ExportOptions(
            format=format_,
            since=since,
            until=until,
            since_last=since_last,
            endpoint=endpoint,
            kinds=kinds,
            output=output,
            date_format=date_format,
            time_zone=time_zone,
        ),
        report=lambda line: click.echo(line, err=True),
    )
