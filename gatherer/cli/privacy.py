"""`gatherer privacy`: export what is held about a person, and erase a person."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.privacy.tracing import Found

_WORDS = {
    "notification": "notifications in inboxes",
    "rejected_notification": "notifications kept with rejections",
    "other_event": "other events",
    "message_map": "rows of message_map",
    "mention": "rows about others that mention them",
}


def person_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that identify a person."""
    phone = click.option(
        "--phone", "phones", multiple=True, metavar="NUMBER", help="With its country code; repeatable."
    )
    user_id = click.option(
        "--user-id", "user_ids", multiple=True, metavar="ID", help="Business-scoped user id; repeatable."
    )
    return phone(user_id(command))


def check_person(phones: tuple[str, ...], user_ids: tuple[str, ...]) -> None:
    """Refuse a command line that identifies no person.

    Raises:
        click.UsageError: there is no option that identifies a person, or a user id has control characters in it.

    """
    if not (phones or user_ids):
        raise click.UsageError("say who: --phone or --user-id")
    if not all(user_id.isprintable() and user_id.strip() for user_id in user_ids):
        raise click.UsageError("--user-id has characters in it that no id has")


@click.group("privacy")
def command() -> None:
    """Export what is held about a person, or erase a person.

    \b
    Examples: gatherer privacy export --phone +4917012345678
              gatherer privacy erase --phone +4917012345678 --dry-run
    """


@command.command("export")
@person_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to this file, which must not be there. Default: standard output.",
)
@click.pass_obj
def export(
    config_path: Path | None, *, phones: tuple[str, ...], user_ids: tuple[str, ...], output: Path | None
) -> None:
    """Export what is held about a person, as JSON: rows of the target, and what inboxes and rejections hold.

    Of what others said there is only what an erasure would take out of it: the number, or the contact with the
    number. What the person said is whole, also where it is about others: whom they quoted, which contacts they
    shared. What one identifier leads to counts as well: the user ids that came with a phone number, the messages
    exchanged.

    \b
    Examples: gatherer privacy export --phone +4917012345678
              gatherer privacy export --phone +4917012345678 --user-id DE.123 --output ticket-4711.json
    """
    check_person(phones, user_ids)
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


@command.command("erase")
@person_options
@click.option("--dry-run", is_flag=True, help="Show what would go, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reference", metavar="TEXT", help="What you call this, a ticket: kept in the table erasure.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object. Needs --yes or --dry-run.")
@click.pass_obj
def erase(
    config_path: Path | None,
    *,
    phones: tuple[str, ...],
    user_ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    reference: str | None,
    as_json: bool,
) -> None:
    """Erase a person: from all inboxes, from the target, and from what is kept with rejections.

    Shows what it found and by what the person is known, then asks. What the same notifications say about others
    stays, and what is about our own account: templates, Flows. Tombstones, from which nobody can tell who it was, keep the person away when something is delivered again,
    replayed or restored; what happens afterwards is gathered as usual. Opt-outs go as well: note them elsewhere
    first. Backups and what was exported are not changed.

    \b
    Examples: gatherer privacy erase --phone +4917012345678 --dry-run
              gatherer privacy erase --phone +4917012345678 --reference T-4711
    """
    check_person(phones, user_ids)
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody is there to be asked: say --yes or --dry-run")
    if reference is not None and not reference.isprintable():
        raise click.UsageError("--reference has characters in it that cannot be stored")
    from gatherer.app.privacy import open_people, person_of
    from gatherer.app.resources import GATHERING, load
    from gatherer.cli.output import print_json, progress_bar

    person = person_of(phones, user_ids)
    configuration = load(config_path, secrets=GATHERING)
    with open_people(configuration, dry_run=dry_run) as people:
        with progress_bar("searching") as progress:
            found = people.trace(person, progress=progress)
        if not as_json:
            click.echo("\n".join(_report(found)))
        if not dry_run:
            if not yes and not click.confirm("Erase all of this? It cannot be undone"):
                click.echo("nothing was erased")
                return
            people.erase(found, reference=reference)
    if as_json:
        print_json({"erased": not dry_run, **_figures(found)})
    elif dry_run:
        click.echo("nothing was erased: --dry-run")
    else:
        click.echo("erased; tombstones keep what is delivered or replayed again from coming back")


def _report(found: "Found") -> Iterator[str]:
    """Yield lines for the person who has to decide."""
    known = found.person
    yield f"known by     {', '.join(sorted(known.phones | known.user_ids))}"
    counts = [f"{count} {_WORDS.get(name, name)}" for name, count in found.counts.items()]
    yield f"found        {', '.join(counts) or 'nothing'}"
    stranded = sum(len(held.entangled) for all_held in found.inboxes.values() for held in all_held)
    if stranded:
        yield (
            f"beside it    {stranded} facts about others are in notifications that cannot be taken apart: they "
            "are kept in the target alone"
        )


def _figures(found: "Found") -> dict[str, Any]:
    return {
        "phones": sorted(found.person.phones),
        "user_ids": sorted(found.person.user_ids),
        "found": found.counts,
    }
