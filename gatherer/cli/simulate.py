"""`gatherer simulate`."""

import click


@click.command("simulate")
def command() -> None:
    """Not here yet."""
