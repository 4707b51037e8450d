"""`gatherer map`."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from gatherer.targets.base import MapStatus

WRONG_ROWS: Final = 1  # exit code: rows were left out
_SHOWN: Final = 20  # wrong rows


@click.group("map")
def command() -> None:
    """Say which campaign each message belongs to, and see what is missing."""


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--query", metavar="SQL", help="Import the rows of this query in the database of the target.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=NAME",
    help="This column of message_map has another name in the source; repeatable.",
)
@click.option("--campaign", metavar="NAME", help="The campaign of rows without one.")
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help="Between the fields of FILE, or the word tab. Default: comma, semicolon, tab or |, as the header has.",
)
@click.option("--encoding", default="utf-8-sig", metavar="NAME", help="Of FILE. Default: UTF-8.")
@click.option("--time-zone", metavar="ZONE", help="IANA name, of times without a zone. Default: UTC.")
@click.option("--date-format", metavar="FORMAT", help="Of sent_at, for strptime. Default: ISO 8601.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
@click.pass_obj
def import_(
    config_path: Path | None,
    /,
    *,
    file: Path | None,
    query: str | None,
    columns: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Fill message_map from FILE or from a query. Importing the same rows again changes nothing.

    FILE is CSV or TSV with a header, or a query if its name ends in .sql. The columns are campaign, message_id,
    client_reference, communication_key, urn, phone, business_phone, message_name and sent_at, in any order. Each row
    needs a campaign, and message_id, client_reference, or phone and sent_at.

    A row that cannot be imported is named on stderr and left out; the others are imported.

    \b
    Exit codes: 1 rows were left out; 2 nothing was imported, as the source or an option is wrong.

    \b
    Examples: gatherer map import sent.csv
              gatherer map import orbit.sql --time-zone Europe/London
              gatherer map import sent.csv --column urn=customer_number --campaign Autumn
    """
    if (file is None) == (query is None):
        raise click.UsageError("give one source: FILE or --query SQL")
    pairs = [pair.partition("=") for pair in columns]
    if not all(name and equals for _, equals, name in pairs):
        raise click.UsageError("--column must be COLUMN=NAME")
    from gatherer.app.message_map import import_map
    from gatherer.app.resources import TARGET, load
    from gatherer.cli.output import print_json
    from gatherer.pipeline.message_map import ImportOptions

    lines = 0

    def report(line: str) -> None:
        nonlocal lines
        lines += 1
        if lines <= _SHOWN:
            click.echo(line, err=True)

    names = {column: name for column, _, name in pairs}
    import_options = ImportOptions(file=file, query=query, columns=names, **options)
    result = import_map(load(config_path, secrets=TARGET), import_options, report=report)
    if lines > _SHOWN:
        click.echo(f"and {lines - _SHOWN} more", err=True)
    if as_json:
        print_json(dataclasses.asdict(result))
    else:
        click.echo(
            f"{result.rows} rows: {result.inserted} new, {result.changed} changed, {result.unchanged} unchanged, "
            f"{result.wrong} left out; {result.unbound} without message id and reference, not yet bound"
        )
    if result.wrong:
        sys.exit(WRONG_ROWS)


@command.command("status")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=7,
    show_default=True,
    metavar="N",
    help="Look back N days.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the state as one JSON object.")
@click.pass_obj
def status(config_path: Path | None, *, days: int, as_json: bool) -> None:
    """Show responses without a campaign, and messages without any receipt after 24 hours.

    A mapped message without a receipt is the only evidence from outside that a notification was lost, or that the
    message was never sent. Messages of the last days count, by their time of sending.

    \b
    Example: gatherer map status --days 30
    """
    from gatherer.app.message_map import map_status
    from gatherer.app.resources import TARGET, load
    from gatherer.cli.output import print_json

    state = map_status(load(config_path, secrets=TARGET), days=days)
    if as_json:
        print_json({"days": days, **_json(state)})
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in state.without_campaign.items()) or "none"
    click.echo(f"responses without a campaign, last {days} days: {kinds}")
    mapped = sum(sent for _, sent, _ in state.campaigns)
    silent = sum(missing for _, _, missing in state.campaigns)
    click.echo(f"mapped messages without any receipt after 24 hours: {silent} of {mapped}")
    for campaign, sent, missing in state.campaigns:
        if missing:
            click.echo(f"  {campaign}: {missing} of {sent}")
    click.echo(f"rows of the map without message id and reference: {state.unbound}")


def _json(state: "MapStatus") -> dict[str, object]:
    return {
        "without_campaign": state.without_campaign,
        "campaigns": [
            {"campaign": campaign, "mapped": mapped, "without_receipt": missing}
            for campaign, mapped, missing in state.campaigns
        ],
        "unbound": state.unbound,
    }
