"""`gatherer demo`."""

import click


@click.command("demo")
def command() -> None:
    """Not here yet."""
