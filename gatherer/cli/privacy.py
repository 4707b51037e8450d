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

_LABELS = {
    "notification": "notifications in inboxes",
    "rejected_notification": "notifications kept with rejections",
    "other_event": "other events",
    "message_map": "rows of message_map",
    "mention": "rows about other people that mention the person",
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


def check_person_options(phones: tuple[str, ...], user_ids: tuple[str, ...]) -> None:
    """Refuse a command line that identifies no person.

    Raises:
        click.UsageError: there is neither a phone number nor a user id, or a user id is blank or has
            characters that cannot be printed.

    """
    if not (phones or user_ids):
        raise click.UsageError("identify the person: --phone or --user-id")
    if not all(user_id.isprintable() and user_id.strip() for user_id in user_ids):
        raise click.UsageError("--user-id is blank or has characters that no id has")


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
    help="Write to this file, which must not exist yet. Default: standard output.",
)
@click.pass_obj
def export(
    config_path: Path | None, *, phones: tuple[str, ...], user_ids: tuple[str, ...], output: Path | None
) -> None:
    """Export what is held about a person, as JSON: rows of the target, and what inboxes and rejections hold.

    What the person wrote is exported whole, with the messages that they quoted and the contacts that they shared.
    Of what other people wrote, only the part that an erasure would remove is exported: the number of the person, or
    the contact with that number. Identifiers that belong together are followed: the user ids that came with a phone
    number, the messages exchanged.

    \b
    Examples: gatherer privacy export --phone +4917012345678
              gatherer privacy export --phone +4917012345678 --user-id DE.123 --output ticket-4711.json
    """
    check_person_options(phones, user_ids)
    from gatherer.app.privacy import open_stores, parse_person
    from gatherer.app.resources import READING, load
    from gatherer.cli.output import progress_bar
    from gatherer.privacy import subject

    person = parse_person(phones, user_ids)
    configuration = load(config_path, secrets=READING)
    with open_stores(configuration, dry_run=True) as stores, progress_bar("searching") as progress:
        found = stores.search(person, progress=progress)
    text = json.dumps(subject.describe(found), ensure_ascii=False, indent=2)
    if output is None:
        click.echo(text)
        return
    from gatherer.model.errors import output_error

    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise click.UsageError(f"{output} exists: an export never replaces another file") from None
    except OSError as error:
        raise output_error(output, error) from None


@command.command("erase")
@person_options
@click.option("--dry-run", is_flag=True, help="Show what would be erased, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--reference",
    metavar="TEXT",
    help="Your name for this erasure, such as a ticket; kept in the table erasure.",
)
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

    Shows what it found and under which identifiers, then asks for confirmation. What the same notifications hold
    about other people stays, and so do events of our own account: templates, Flows. Tombstones, which do not reveal
    the person, keep out what is delivered again, replayed or restored; what happens after the erasure is gathered as
    usual. Opt-outs are erased as well: note them elsewhere first. Backups and exported files are not changed.

    \b
    Examples: gatherer privacy erase --phone +4917012345678 --dry-run
              gatherer privacy erase --phone +4917012345678 --reference T-4711
    """
    check_person_options(phones, user_ids)
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("the command cannot ask for confirmation here: add --yes or --dry-run")
    if reference is not None and not reference.isprintable():
        raise click.UsageError("--reference has characters that cannot be stored")
    from gatherer.app.privacy import open_stores, parse_person
    from gatherer.app.resources import GATHERING, load
    from gatherer.cli.output import print_json, progress_bar

    person = parse_person(phones, user_ids)
    configuration = load(config_path, secrets=GATHERING)
    with open_stores(configuration, dry_run=dry_run) as stores:
        with progress_bar("searching") as progress:
            found = stores.search(person, progress=progress)
        if not as_json:
            click.echo("\n".join(_report(found)))
        if not dry_run:
            if not yes and not click.confirm("Erase all of this? It cannot be undone"):
                click.echo("nothing was erased")
                return
            stores.erase(found, reference=reference)
    if as_json:
        print_json({"erased": not dry_run, **_figures(found)})
    elif dry_run:
        click.echo("nothing was erased: --dry-run")
    else:
        click.echo("erased; tombstones keep what is delivered or replayed again from coming back")


def _report(found: "Found") -> Iterator[str]:
    """Yield lines for the operator, who decides whether to erase this."""
    identifiers = sorted(found.person.phones | found.person.user_ids)
    yield f"known by     {', '.join(identifiers)}"
    counts = [f"{count} {_LABELS.get(name, name)}" for name, count in found.counts.items()]
    yield f"found        {', '.join(counts) or 'nothing'}"
    entangled = sum(len(held.entangled) for all_held in found.inboxes.values() for held in all_held)
    if entangled:
        yield (
            f"beside it    {entangled} facts about other people are in notifications that cannot be taken apart: "
            "they are kept in the target alone"
        )


def _figures(found: "Found") -> dict[str, Any]:
    return {
        "phones": sorted(found.person.phones),
        "user_ids": sorted(found.person.user_ids),
        "found": found.counts,
    }
