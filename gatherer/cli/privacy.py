"""`gatherer erase`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatherer.cli.subject import check_somebody, identifying

if TYPE_CHECKING:
    from gatherer.privacy.tracing import Found

_WORDS = {
    "notification": "notifications in inboxes",
    "rejected_notification": "notifications kept with rejections",
    "other_event": "other events",
    "message_map": "rows of message_map",
    "mention": "rows about others that mention them",
}


@click.command("erase")
@identifying
@click.option("--dry-run", is_flag=True, help="Show what would go, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reference", metavar="TEXT", help="What you call this, a ticket: kept in the table erasure.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object. Needs --yes or --dry-run.")
@click.pass_obj
def command(
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
    Examples: gatherer erase --phone +4917012345678 --dry-run
              gatherer erase --phone +4917012345678 --reference T-4711
    """
    check_somebody(phones, user_ids)
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
