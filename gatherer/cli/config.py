"""`gatherer config`."""

import click


@click.command("config")
def command() -> None:
    """Not here yet."""
