"""`gatherer init`."""

import click


@click.command("init")
def command() -> None:
    """Not here yet."""
