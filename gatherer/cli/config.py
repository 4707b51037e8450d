"""`gatherer config`."""

import sys
from pathlib import Path
from typing import Any

import click


@click.group("config")
def command() -> None:
    """Check the configuration, show it, or print a commented example or a sample."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as one JSON object.")
@click.pass_obj
def check(config_path: Path | None, *, as_json: bool) -> None:
    """Check the configuration: print every error at once, with the path of its key.

    Reads the secrets, certificates and keys as well, so run it under the account that runs `gatherer serve`. Exits 2 if
    there is an error; warnings do not change the exit code.

    \b
    Example: gatherer --config /etc/gatherer/gatherer.toml config check
    """
    from gatherer import config
    from gatherer.app import config_warnings
    from gatherer.app.resources import load
    from gatherer.app.server_settings import tls_problems
    from gatherer.cli.output import print_json

    path = config.find(config_path)
    try:
        configuration = load(path, secrets=True)
        if problems := tls_problems(configuration):
            raise config.InvalidConfigurationError(path, problems)
    except config.InvalidConfigurationError as invalid:
        if not as_json:
            raise
        print_json({"file": str(path), "ok": False, "errors": invalid.problems, "warnings": []})
        sys.exit(invalid.exit_code)
    warnings = config_warnings.warnings(configuration, path)
    if as_json:
        print_json({"file": str(path), "ok": True, "errors": [], "warnings": warnings})
        return
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"{path} is ok")


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object instead of TOML.")
@click.pass_obj
def show(config_path: Path | None, *, as_json: bool) -> None:
    """Print the configuration as it is understood, with all defaults and whole paths; secrets hidden.

    \b
    Example: gatherer config show
    """
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json

    values: dict[str, Any] = load(config_path, secrets=False).model_dump(
        mode="json", exclude_none=True, by_alias=True
    )
    if as_json:
        print_json(values)
        return
    import tomli_w

    click.echo(tomli_w.dumps(values), nl=False)


@command.command("example")
def example() -> None:
    """Print a commented example with every key.

    \b
    Example: gatherer config example > gatherer.toml
    """
    from gatherer.config import example as shipped

    click.echo(shipped.text(), nl=False)


@command.command("sample")
@click.argument("name", required=False)
def sample(name: str | None) -> None:
    """List the samples for systemd, cron, Windows, web servers, SQL Server and providers; with NAME, print it.

    The last part of a name is enough if only one sample has it.

    \b
    Examples: gatherer config sample
              gatherer config sample linux/gatherer-serve.service
              gatherer config sample grants.sql > grants.sql
    """
    from gatherer.config import sample as shipped

    if name is None:
        click.echo("\n".join(shipped.names()))
    else:
        click.echo(shipped.text(name), nl=False)
