"""`gatherer status`."""

from pathlib import Path

import click


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the state as one JSON object.")
@click.pass_obj
def command(config_path: Path | None, *, as_json: bool) -> None:
    """Show what the inbox holds, how far the target has got, and how the last pass went.

    With tls_certificate, also until when that is valid.

    \b
    Example: gatherer status --json
    """
    from gatherer import app, certificates, report
    from gatherer.cli.output import print_json

    configuration = app.load(config_path, secrets=app.TARGET)
    with app.open_inbox(configuration) as inbox, app.open_target(configuration, dry_run=True) as target:
        state = report.status(inbox, target)
    state["inbox"] |= app.inbox_room(configuration) or {}
    if configuration.server.tls_certificate is not None:
        state["certificate"] = certificates.state(configuration.server.tls_certificate)
    if as_json:
        print_json(state)
        return
    for section, values in state.items():
        click.echo(section.replace("_", " "))
        if values is None:
            click.echo("  none yet")
            continue
        for name, value in values.items():
            if isinstance(value, list):
                value = ", ".join(value)
            if isinstance(value, dict):
                value = ", ".join(f"{table} {count}" for table, count in value.items())
            click.echo(f"  {name.replace('_', ' '):<24} {'-' if value is None else value}")
