"""`gatherer inbox`."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gatherer.cli.choosing import NUMBER, Moment, choosing, selected

FILE = click.Path(dir_okay=False, path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("inbox")
def command() -> None:
    """Look at the inbox, take notifications out and back in, purge, copy and check it."""


@command.command("list")
@choosing
@click.option("--limit", type=NUMBER, default=100, show_default=True, metavar="N", help="At most so many.")
@AS_JSON
@click.pass_obj
def list_(config_path: Path | None, /, *, limit: int, as_json: bool, **chosen: Any) -> None:
    """List notifications, oldest first: when and where each arrived, and how large it is.

    With --json one object per line.

    \b
    Example: gatherer inbox list --since 2026-11-20 --endpoint whatsapp
    """
    from itertools import islice

    from gatherer import app
    from gatherer.cli.output import print_json
    from gatherer.timestamps import iso

    configuration = app.load(config_path, secrets=False)
    for one in islice(app.select(configuration, selected(**chosen)), limit):
        values = {
            "id": one.id,
            "received_at": iso(one.received_at),
            "endpoint": one.endpoint,
            "provider": one.provider,
            "bytes": len(one.body),
            "remote": one.remote,
        }
        if as_json:
            print_json(values)
        else:
            click.echo(
                "{id:>10}  {received_at}  {endpoint}  {provider}  {bytes} bytes  {remote}".format(**values)
            )


@command.command("show")
@click.argument("number", type=NUMBER, metavar="ID")
@click.option(
    "--raw", is_flag=True, help="Print the bytes of the body as they were received, and nothing else."
)
@click.pass_obj
def show(config_path: Path | None, number: int, *, raw: bool) -> None:
    """Show one notification: everything known of it as JSON, with its body as text where it is text.

    \b
    Examples: gatherer inbox show 4711
              gatherer inbox show 4711 --raw > body.json
    """
    from gatherer import app

    found = app.show(app.load(config_path, secrets=False), number)
    if raw:
        sys.stdout.buffer.write(found.body)
        sys.stdout.buffer.flush()
    else:
        click.echo(app.to_line(found))


@command.command("export")
@choosing
@click.option(
    "--raw",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each body as a file of its own into FOLDER, instead of lines of JSON to standard output.",
)
@click.pass_obj
def export(config_path: Path | None, /, *, raw: Path | None, **chosen: Any) -> None:
    """Take notifications out: as NDJSON that `inbox import` reads, or as raw files. They stay in the inbox.

    What is exported holds personal data: the numbers and words of people.

    \b
    Examples: gatherer inbox export --id 4711 > for-support.ndjson
              gatherer inbox export --since 2026-11-20 --raw bodies
    """
    from gatherer import app

    configuration = app.load(config_path, secrets=False)
    selection = selected(**chosen)
    if raw is not None:
        count = app.export_bodies(configuration, selection, raw)
    else:
        count = 0
        for notification in app.select(configuration, selection):
            click.echo(app.to_line(notification))
            count += 1
    click.echo(f"{count} notifications exported", err=True)


@command.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE…",
)  # fmt: skip
@click.option("--raw", is_flag=True, help="The files are bodies, each one notification. Needs --endpoint.")
@click.option("--endpoint", metavar="NAME", help="With --raw: the endpoint they count as received at.")
@click.option("--provider", metavar="NAME", help="With --raw: whose they are. Default: that of the endpoint.")
@click.option(
    "--received-at", type=Moment(), metavar="TIME", help="With --raw: when. Default: the time of each file."
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

    Only while `serve` is stopped. They get new ids, and the next pass gathers them; what is known already
    does not double.

    \b
    Examples: gatherer inbox import for-support.ndjson
              gatherer inbox import --raw --endpoint whatsapp bodies/000000004711.body
    """
    from gatherer import app

    if raw and endpoint is None:
        raise click.UsageError("--raw needs --endpoint: a bare body does not say where it was received")
    if not raw and (endpoint or provider or received_at):
        raise click.UsageError(
            "--endpoint, --provider and --received-at go with --raw: NDJSON says all that itself"
        )
    configuration = app.load(config_path, secrets=False)
    if endpoint is not None:
        count = app.import_bodies(
            configuration, files, endpoint=endpoint, provider=provider, received_at=received_at
        )
    else:
        count = app.import_lines(configuration, files)
    click.echo(f"{count} notifications imported")


@command.command("consumers")
@click.option("--forget", metavar="NAME", help="Forget this one: what it has not read may be purged then.")
@AS_JSON
@click.pass_obj
def consumers(config_path: Path | None, *, forget: str | None, as_json: bool) -> None:
    """List who reads the inbox and how far each has got, which is what purging goes by.

    --forget is for a gather host that is gone. One that is not comes back with its next pass.

    \b
    Examples: gatherer inbox consumers
              gatherer inbox consumers --forget old-reports
    """
    from gatherer import app
    from gatherer.cli.output import print_json

    configuration = app.load(config_path, secrets=False)
    if forget is not None:
        app.forget_consumer(configuration, forget)
    found = app.consumers(configuration)
    if as_json:
        print_json(found)
        return
    for one in found:
        behind = "" if one["behind"] is None else f", {one['behind']} behind, at {one['acknowledged_at']}"
        click.echo(f"{one['consumer']}: up to {one['acknowledged']}{behind} ({one['state']})")
    if not found:
        click.echo("nobody has gathered this inbox yet: nothing is purged, unless keep_days_at_most says so")


@command.command("purge")
@AS_JSON
@click.pass_obj
def purge(config_path: Path | None, *, as_json: bool) -> None:
    """Purge what [inbox] keep_days and keep_days_at_most say, now. Only while `serve` is stopped.

    `serve` does this by itself, all the time.

    \b
    Example: gatherer inbox purge
    """
    from gatherer import app
    from gatherer.cli.output import print_json

    steps = app.purge(app.load(config_path, secrets=False))
    count, unread = sum(step.count for step in steps), sum(step.unread for step in steps)
    if as_json:
        print_json({"purged": count, "unread": unread})
    else:
        lost = f", {unread} of which not everybody had gathered" if unread else ""
        click.echo(f"{count} notifications purged{lost}")


@command.command("backup")
@click.argument("file", type=FILE)
@click.pass_obj
def backup(config_path: Path | None, file: Path) -> None:
    """Copy the inbox to the new FILE, in one piece and of one moment, also while `serve` runs.

    Times as in strftime are filled in. No file is ever replaced. Put back in place of the inbox while
    `serve` is stopped, the copy is noticed by `gather` where it lacks what was gathered already.

    \b
    Example: gatherer inbox backup '/backup/inbox_%Y%m%d_%H%M%S.db'
    """
    from gatherer import app

    path, size = app.backup(app.load(config_path, secrets=False), file)
    click.echo(f"{path}: {size} bytes")


@command.command("check")
@AS_JSON
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool) -> None:
    """Look through the whole inbox for damage and for missing ids, also while `serve` runs.

    Exits 3 if something is wrong.

    \b
    Example: gatherer inbox check --json
    """
    from dataclasses import asdict

    from gatherer import app
    from gatherer.cli.output import print_json
    from gatherer.errors import InboxError

    found = app.check(app.load(config_path, secrets=False))
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(
            f"{found.count} notifications ({found.first_id or '-'} to {found.last_id}), purged up to {found.purged_to}"
        )
        if found.purged_unread:
            click.echo(f"{found.purged_unread} were purged that not everybody had gathered")
        for problem in found.problems:
            click.echo(f"Error: {problem}", err=True)
        for first, last in found.gaps:
            click.echo(f"Error: notifications {first} to {last} are missing, and were not purged", err=True)
    if found.problems or found.gaps:
        sys.exit(InboxError.exit_code)
