"""`gatherer subject`."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import click


def identifying(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say who somebody is."""
    phone = click.option(
        "--phone", "phones", multiple=True, metavar="NUMBER", help="With its country code; repeatable."
    )
    user_id = click.option(
        "--user-id", "user_ids", multiple=True, metavar="ID", help="Business-scoped user id; repeatable."
    )
    return phone(user_id(command))


def check_somebody(phones: tuple[str, ...], user_ids: tuple[str, ...]) -> None:
    """Refuse to look for nobody."""
    if not (phones or user_ids):
        raise click.UsageError("say who: --phone or --user-id")
    if not all(one.isprintable() and one.strip() for one in user_ids):
        raise click.UsageError("--user-id has characters in it that no id has")


@click.command("subject")
@identifying
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file, which must not be there. Default: standard output.",
)
@click.pass_obj
def command(
    config_path: Path | None, *, phones: tuple[str, ...], user_ids: tuple[str, ...], output: Path | None
) -> None:
    """Export what is held about a person, as JSON: rows of the target, and what inboxes and rejections hold.

    Of what others said there is only what an erasure would take out of it: the number, or the contact with the
    number. What the person said is whole, also where it is about others: whom they quoted, which contacts they
    shared. What one identifier leads to counts as well: the user ids that came with a phone number, the messages
    exchanged.

    \b
    Examples: gatherer subject --phone +4917012345678
              gatherer subject --phone +4917012345678 --user-id DE.123 --output ticket-4711.json
    """
    check_somebody(phones, user_ids)
    from gatherer.app.privacy import open_people, person_of
    from gatherer.app.resources import READING, load
    from gatherer.cli.output import progress_bar
    from gatherer.privacy import subject

    person = person_of(phones, user_ids)
    configuration = load(config_path, secrets=READING)
    with open_people(configuration, dry_run=True) as people, progress_bar("searching") as progress:
        found = people.trace(person, progress=progress)
    text = json.dumps(subject.describe(found), ensure_ascii=False, indent=2)
    if output is None:
        click.echo(text)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror or error}") from None
