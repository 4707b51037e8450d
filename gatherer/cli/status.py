"""`gatherer status`."""

import sys
from pathlib import Path
from typing import Any

import click


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the state as one JSON object.")
@click.pass_obj
def command(config_path: Path | None, *, as_json: bool) -> None:
    """Show what each inbox holds, how far the target has got, and how the last run went.

    An inbox that cannot be read is shown with its problem; the exit code is then 3 or 75, as with `gather`.

    With tls_certificate, also until when the certificate is valid.

    \b
    Example: gatherer status --json
    """
    from gatherer.app.resources import READING, load
    from gatherer.app.status import status
    from gatherer.cli.output import print_json

    state, exit_code = status(load(config_path, secrets=READING))
    if as_json:
        print_json(state)
    else:
        _print(state)
    sys.exit(exit_code)


def _print(state: dict[str, Any]) -> None:
    sections = dict(state)
    inboxes = {f"inbox {inbox.pop('name')}": inbox for inbox in sections.pop("inboxes", [])}
    for section, values in (inboxes | sections).items():
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
