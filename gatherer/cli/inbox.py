"""`gatherer inbox`: list, show, export and import notifications. The other commands are in `inbox_admin`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gatherer.cli.inbox_admin import AS_JSON, backup, check, consumers, purge, restore
from gatherer.cli.selection import NOTIFICATION_ID, Moment, make_selection, selection_options


@click.group("inbox")
def command() -> None:
    """List, show, export and import notifications; purge, back up, restore and check the inbox."""


@command.command("list")
@selection_options
@click.option(
    "--limit",
    type=NOTIFICATION_ID,
    default=100,
    show_default=True,
    metavar="N",
    help="List at most N notifications.",
)
@AS_JSON
@click.pass_obj
def list_(config_path: Path | None, /, *, limit: int, as_json: bool, **criteria: Any) -> None:
    """List notifications, oldest first: when and where each was received, and how large it is.

    With --json, one object per line.

    \b
    Example: gatherer inbox list --since 2026-11-20 --endpoint whatsapp
    """
    from itertools import islice

    from gatherer.app.inbox import select
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json
    from gatherer.model.timestamps import iso

    selection = make_selection(**criteria)
    configuration = load(config_path, secrets=False)
    for notification in islice(select(configuration, selection), limit):
        values = {
            "id": notification.id,
            "received_at": iso(notification.received_at),
            "endpoint": notification.endpoint,
            "provider": notification.provider,
            "bytes": len(notification.body),
            "remote": notification.remote,
        }
        if as_json:
            print_json(values)
        else:
            click.echo(
                "{id:>10}  {received_at}  {endpoint}  {provider}  {bytes} bytes  {remote}".format(**values)
            )


@command.command("show")
@click.argument("number", type=NOTIFICATION_ID, metavar="ID")
@click.option("--raw", is_flag=True, help="Print the body alone, byte for byte as received.")
@click.pass_obj
def show(config_path: Path | None, number: int, *, raw: bool) -> None:
    """Show one notification as JSON: all its fields, with the body as text, or as Base64 if it is not text.

    \b
    Examples: gatherer inbox show 4711
              gatherer inbox show 4711 --raw > body.json
    """
    from gatherer.app import inbox
    from gatherer.app.inbox import to_line
    from gatherer.app.resources import load

    notification = inbox.show(load(config_path, secrets=False), number)
    if raw:
        sys.stdout.buffer.write(notification.body)
        sys.stdout.buffer.flush()
    else:
        click.echo(to_line(notification))


@command.command("export")
@selection_options
@click.option(
    "--raw",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each body to its own file in FOLDER, instead of NDJSON to standard output.",
)
@click.pass_obj
def export(config_path: Path | None, /, *, raw: Path | None, **criteria: Any) -> None:
    """Export notifications as NDJSON, which `inbox import` reads, or as raw files. They stay in the inbox.

    The export contains personal data: the phone numbers and messages of people.

    \b
    Examples: gatherer inbox export --id 4711 > for-support.ndjson
              gatherer inbox export --since 2026-11-20 --raw bodies
    """
    from gatherer.app.inbox import export_bodies, select, to_line
    from gatherer.app.resources import load

    selection = make_selection(**criteria)
    configuration = load(config_path, secrets=False)
    if raw is not None:
        count = export_bodies(configuration, selection, raw)
    else:
        count = 0
        for notification in select(configuration, selection):
            click.echo(to_line(notification))
            count += 1
    click.echo(f"{count} notifications exported", err=True)


@command.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE…",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="Each file is the body of one notification. Needs --endpoint.")
@click.option("--endpoint", metavar="NAME", help="With --raw: the endpoint at which they count as received.")
@click.option("--provider", metavar="NAME", help="With --raw: the provider. Default: that of the endpoint.")
@click.option(
    "--received-at",
    type=Moment(),
    metavar="TIME",
    help="With --raw: when they count as received. Default: the modification time of each file.",
)
@click.pass_obj
def import_(
    config_path: Path | None,
    files: tuple[Path, ...],
    *,
    raw: bool,
    endpoint: str | None,
    provider: str | None,
    received_at: datetime | None,
) -> None:
    """Append notifications to the inbox, from NDJSON (`-` is standard input) or raw files: all, or none.

    Only while `serve` is stopped. The notifications get new ids, and the next run gathers them. Facts that the
    target has already are counted as duplicates.

    \b
    Examples: gatherer inbox import for-support.ndjson
              gatherer inbox import --raw --endpoint whatsapp bodies/000000004711.body
    """
    from gatherer.app.inbox import import_bodies, import_lines
    from gatherer.app.resources import load

    if raw and endpoint is None:
        raise click.UsageError("--raw needs --endpoint: a body does not say where it was received")
    if not raw and (endpoint or provider or received_at):
        raise click.UsageError(
            "--endpoint, --provider and --received-at need --raw: NDJSON has these values itself"
        )
    configuration = load(config_path, secrets=False)
    if endpoint is not None:
        count = import_bodies(
            configuration, files, endpoint=endpoint, provider=provider, received_at=received_at
        )
    else:
        count = import_lines(configuration, files)
    click.echo(f"{count} notifications imported")


for subcommand in (consumers, purge, backup, restore, check):
    command.add_command(subcommand)
