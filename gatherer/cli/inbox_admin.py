"""`gatherer inbox`: what is done with the inbox as a whole. Who reads it, purging, copying, checking."""

import sys
from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("consumers")
@click.option("--forget", metavar="NAME", help="Forget this one: what it has not read may be purged then.")
@AS_JSON
@click.pass_obj
def consumers(config_path: Path | None, *, forget: str | None, as_json: bool) -> None:
    """List who reads the inbox and how far each has got, which is what purging goes by.

    --forget is for a gather host that is gone. One that is not comes back with its next run.

    \b
    Examples: gatherer inbox consumers
              gatherer inbox consumers --forget old-reports
    """
    from gatherer.app import inbox
    from gatherer.app.inbox import forget_consumer
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json

    configuration = load(config_path, secrets=False)
    if forget is not None:
        forget_consumer(configuration, forget)
    found = inbox.consumers(configuration)
    if as_json:
        print_json(found)
        return
    for one in found:
        behind = "" if one["behind"] is None else f", {one['behind']} behind, at {one['acknowledged_at']}"
        click.echo(f"{one['consumer']}: up to {one['acknowledged']}{behind} ({one['state']})")
    if not found:
        click.echo("nobody has gathered this inbox yet: nothing is purged, unless keep_days_at_most says so")


@click.command("purge")
@AS_JSON
@click.pass_obj
def purge(config_path: Path | None, *, as_json: bool) -> None:
    """Purge what [inbox] keep_days and keep_days_at_most say, now. Only while `serve` is stopped.

    `serve` does this by itself, all the time.

    \b
    Example: gatherer inbox purge
    """
    from gatherer.app import inbox
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json

    steps = inbox.purge(load(config_path, secrets=False))
    count, unread = sum(step.count for step in steps), sum(step.unread for step in steps)
    if as_json:
        print_json({"purged": count, "unread": unread})
    else:
        lost = f", {unread} of which not everybody had gathered" if unread else ""
        click.echo(f"{count} notifications purged{lost}")


@click.command("backup")
@click.argument("file", type=FILE)
@click.pass_obj
def backup(config_path: Path | None, file: Path) -> None:
    """Copy the inbox to the new FILE, in one piece and of one moment, also while `serve` runs.

    Times as in strftime are filled in. No file is ever replaced. Put back in place of the inbox while
    `serve` is stopped, the copy is noticed by `gather` where it lacks what was gathered already.

    \b
    Example: gatherer inbox backup '/backup/inbox_%Y%m%d_%H%M%S.db'
    """
    from gatherer.app import inbox
    from gatherer.app.resources import load

    path, size = inbox.backup(load(config_path, secrets=False), file)
    click.echo(f"{path}: {size} bytes")


@click.command("check")
@AS_JSON
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool) -> None:
    """Look through the whole inbox for damage and for missing ids, also while `serve` runs.

    Exits 3 if something is wrong.

    \b
    Example: gatherer inbox check --json
    """
    from dataclasses import asdict

    from gatherer.app import inbox
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json
    from gatherer.model.errors import InboxError

    found = inbox.check(load(config_path, secrets=False))
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
