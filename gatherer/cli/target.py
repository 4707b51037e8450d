"""`gatherer target`."""

import sys
from pathlib import Path

import click


@click.group("target")
def command() -> None:
    """Check the database that takes in responses."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool) -> None:
    """Connect to the target, and print the problems that would prevent a run. Writes nothing.

    Driver, encryption, server version, version of the tables, rights of the login, difference of the
    clocks, round-trip time. Exits 3 if something is wrong, 75 if it cannot be reached at present.

    \b
    Example: gatherer target check --json
    """
    from gatherer.app.resources import TARGET, load
    from gatherer.app.schema import inspect_target
    from gatherer.cli.output import print_json
    from gatherer.model.errors import TargetError

    state = inspect_target(load(config_path, secrets=TARGET))
    problems = state["problems"]
    if as_json:
        print_json(state)
    else:
        for name, value in state.items():
            if name != "problems":
                shown = ", ".join(value) or "none" if isinstance(value, list) else value
                click.echo(f"{name.replace('_', ' '):<26} {'-' if shown is None else shown}")
        for problem in problems:
            click.echo(f"Error: {problem}", err=True)
    if problems:
        sys.exit(TargetError.exit_code)
