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

    Of several inboxes, one that cannot be read has its problem shown in its place; the exit code is then
    75 or 3, as with `gather`.

    With tls_certificate, also until when that is valid.

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
    several = {f"inbox {one.pop('name')}": one for one in sections.pop("inboxes", [])}
    for section, values in (several | sections).items():
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
