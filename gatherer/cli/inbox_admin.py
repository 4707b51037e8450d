"""`gatherer inbox`, the commands about the whole inbox: `consumers`, `purge`, `backup`, `restore` and `check`."""

import sys
from pathlib import Path

import click

FILE = click.Path(dir_okay=False, path_type=Path)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("consumers")
@click.option(
    "--forget", metavar="NAME", help="Forget this consumer: what it has not read may be purged then."
)
@AS_JSON
@click.pass_obj
def consumers(config_path: Path | None, *, forget: str | None, as_json: bool) -> None:
    """List the consumers of the inbox, and how far each has read. Purging depends on it.

    --forget is for a consumer that does not run any more. One that still runs is listed again after its next run.

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
    listed = inbox.consumers(configuration)
    if as_json:
        print_json(listed)
        return
    for consumer in listed:
        behind = ""
        if consumer["behind"] is not None:
            behind = f", {consumer['behind']} behind, at {consumer['acknowledged_at']}"
        click.echo(f"{consumer['consumer']}: up to {consumer['acknowledged']}{behind} ({consumer['state']})")
    if not listed:
        click.echo("the inbox has no consumer yet: nothing is purged before keep_days_at_most")


@click.command("purge")
@AS_JSON
@click.pass_obj
def purge(config_path: Path | None, *, as_json: bool) -> None:
    """Purge notifications as [inbox] keep_days and keep_days_at_most say. Only while `serve` is stopped.

    A running `serve` purges by itself.

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
        lost = f", {unread} of them before every consumer had read them" if unread else ""
        click.echo(f"{count} notifications purged{lost}")


@click.command("backup")
@click.argument("file", type=FILE)
@click.pass_obj
def backup(config_path: Path | None, file: Path) -> None:
    """Copy the inbox to the new FILE as a consistent snapshot, also while `serve` runs.

    Times in the name are filled in as in strftime. No file is ever replaced. `inbox restore` restores a copy.

    \b
    Example: gatherer inbox backup '/backup/inbox_%Y%m%d_%H%M%S.db'
    """
    from gatherer.app import inbox
    from gatherer.app.resources import load

    path, size = inbox.backup(load(config_path, secrets=False), file)
    click.echo(f"{path}: {size} bytes")


@click.command("restore")
@click.argument("file", type=FILE)
@click.pass_obj
def restore(config_path: Path | None, file: Path) -> None:
    """Put a copy of the backup FILE in the place of the inbox. Only while `serve` is stopped.

    FILE is checked first. The replaced inbox is kept beside the new one. The next run reads the whole restored inbox; what the
    target has already are duplicates, which change no row.

    \b
    Exit codes: 2 FILE is not a backup, or serve is running; 3 FILE is damaged. Nothing was changed then.

    \b
    Example: gatherer inbox restore /backup/inbox_20261120_030000.db
    """
    from gatherer.app import inbox
    from gatherer.app.resources import load

    configuration = load(config_path, secrets=False)
    result = inbox.restore(configuration, file)
    content = result.content
    click.echo(f"{configuration.inbox.path}: {content.count} notifications restored from {file}")
    if result.kept is not None:
        click.echo(
            f"the replaced inbox is kept as {result.kept}. It may have notifications that the backup lacks, and that no "
            "run has gathered: bring them in with `inbox export` and `inbox import`"
        )
    click.echo(
        "the next run reads all notifications of the restored inbox; facts in the target are duplicates"
    )
    for first, last in content.gaps:
        click.echo(f"Warning: the backup lacks the notifications {first} to {last}", err=True)


@click.command("check")
@AS_JSON
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool) -> None:
    """Check the whole inbox for damage and for missing notifications, also while `serve` runs.

    Exit code 3: the check found an error.

    \b
    Example: gatherer inbox check --json
    """
    from dataclasses import asdict

    from gatherer.app import inbox
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json
    from gatherer.model.errors import InboxError

    result = inbox.check(load(config_path, secrets=False))
    if as_json:
        print_json(asdict(result))
    else:
        ids = f"{result.first_id or '-'} to {result.last_id}"
        click.echo(f"{result.count} notifications ({ids}), purged up to {result.purged_to}")
        if result.purged_unread:
            click.echo(f"{result.purged_unread} were purged before every consumer had read them")
        for problem in result.problems:
            click.echo(f"Error: {problem}", err=True)
        for first, last in result.gaps:
            click.echo(f"Error: notifications {first} to {last} are missing, and were not purged", err=True)
    if result.problems or result.gaps:
        sys.exit(InboxError.exit_code)
