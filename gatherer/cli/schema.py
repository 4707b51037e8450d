"""`gatherer schema`."""

import sys
from pathlib import Path

import click

_CONNECTION = click.option(
    "--connection-env",
    metavar="NAME",
    help="SQL Server: log in with the ODBC connection string in this environment variable instead.",
)


@click.group("schema")
def command() -> None:
    """Print, create or check the tables and views of the target."""


@command.command("print")
@click.option("--remove", is_flag=True, help="Print the SQL that drops them with all rows, instead.")
@click.pass_obj
def print_script(config_path: Path | None, *, remove: bool) -> None:
    """Print the SQL that creates the tables and views, to read or to run. Connects to nothing.

    For SQL Server, run it in sqlcmd or a query window. Running it again changes nothing.

    \b
    Example: gatherer schema print > gatherer.sql
    """
    from gatherer.app.resources import load
    from gatherer.app.schema import schema_script

    click.echo(schema_script(load(config_path, secrets=frozenset()), remove=remove), nl=False)


@command.command("apply")
@click.option(
    "--include-tests",
    is_flag=True,
    help="Let the views show test rows as well, with is_test = 1. Without this, they show none from now on.",
)
@_CONNECTION
@click.pass_obj
def apply(config_path: Path | None, *, include_tests: bool, connection_env: str | None) -> None:
    """Make the tables and views that are missing. Needs a login that may create tables.

    A table that is there stays as it is, with its rows; the views are made anew. The login of `gather` needs no such
    right: let a DBA run this once, under their own login.

    \b
    Example: GATHERER_DDL='Server=sql01;Database=Campaigns;Trusted_Connection=yes' \\
               gatherer schema apply --connection-env GATHERER_DDL
    """
    from gatherer.app.resources import TARGET, load
    from gatherer.app.schema import apply_schema

    secrets = frozenset() if connection_env else TARGET
    applied = apply_schema(
        load(config_path, secrets=secrets), include_tests=include_tests, connection_env=connection_env
    )
    click.echo(f"applied: {', '.join(applied)}" if applied else "the tables are up to date")
    if include_tests:
        click.echo("the views show test rows as well, until the next schema apply without --include-tests")


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@_CONNECTION
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool, connection_env: str | None) -> None:
    """Check that the tables and views exist in the version that this gatherer needs, and with its columns.

    Names each column that is missing, or has another type, width or nullability. Exits 3 if anything is wrong.

    \b
    Example: gatherer schema check
    """
    from gatherer.app.resources import TARGET, load
    from gatherer.app.schema import check_schema
    from gatherer.cli.output import print_json
    from gatherer.model.errors import TargetError

    secrets = frozenset() if connection_env else TARGET
    state = check_schema(load(config_path, secrets=secrets), connection_env=connection_env)
    if as_json:
        print_json(state)
    elif state["problem"] is None:
        click.echo(f"{state['target']}: the tables have version {state['version']}, as needed")
    else:
        click.echo(f"Error: {state['target']}: {state['problem']}", err=True)
    if state["problem"] is not None:
        sys.exit(TargetError.exit_code)
