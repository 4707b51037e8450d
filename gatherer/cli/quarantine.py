"""`gatherer quarantine`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gatherer.config import Configuration
    from gatherer.inbox.quarantine import QuarantineEntry

_EXCERPT = 2000  # characters of a body that `show` prints
_IDS = click.argument("ids", nargs=-1, metavar="[ID…]", type=click.IntRange(1, 2**63 - 1))
_ENDPOINT = click.option("--endpoint", metavar="NAME", help="All that were posted to this endpoint.")
_ALL = click.option("--all", "everything", is_flag=True, help="All there are.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")


@click.group("quarantine")
def command() -> None:
    """Look at posts that did not authenticate, and release or discard them.

    They are kept where an endpoint says on_failed_authentication = "quarantine", answered with 200 and never
    gathered until they are released.
    """


@command.command("list")
@_ENDPOINT
@_JSON
@click.pass_obj
def list_(config_path: Path | None, *, endpoint: str | None, as_json: bool) -> None:
    """List what is in quarantine, oldest first, with the form of what it tried to authenticate with.

    \b
    Example: gatherer quarantine list
    """
    from gatherer.app.quarantine import quarantined
    from gatherer.cli.output import print_json, print_table

    configuration = _load(config_path)
    found = quarantined(configuration, endpoint=endpoint)
    _check(configuration, endpoint, found)
    if as_json:
        print_json({"posts": [_plain(one) for one in found]})
    elif not found:
        click.echo("nothing is in quarantine")
    else:
        print_table([{name: _text(value) for name, value in _plain(one).items()} for one in found])


@command.command("show")
@click.argument("id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--body", is_flag=True, help="Print nothing but the exact bytes of the body.")
@_JSON
@click.pass_obj
def show(config_path: Path | None, *, id: int, body: bool, as_json: bool) -> None:  # noqa: A002
    """Show one post: where it came from, what it tried to authenticate with, and what it says.

    Of headers and URL parameters that could be an authentication: names and forms, never values.

    \b
    Examples: gatherer quarantine show 1
              gatherer quarantine show 1 --body > post.json
    """
    from gatherer.app.quarantine import quarantined, quarantined_body
    from gatherer.cli.output import print_json

    configuration = _load(config_path)
    content = quarantined_body(configuration, id)
    if body:
        sys.stdout.buffer.write(content)
        return
    text = content.decode("utf-8", "backslashreplace")
    for one in quarantined(configuration, ids=[id]):
        if as_json:
            print_json({**_plain(one), "body": text})
            return
        for name, value in _plain(one).items():
            for line in value if isinstance(value, list) else [value]:
                click.echo(f"{name.replace('_', ' '):<16} {_printable(_text(line))}")
        click.echo(f"{'body':<16} {_printable(text[:_EXCERPT])}{' …' * (len(text) > _EXCERPT)}")


@command.command("release")
@_IDS
@_ENDPOINT
@_ALL
@_JSON
@click.pass_obj
def release(config_path: Path | None, /, **chosen: Any) -> None:
    """Put posts into the inbox, byte for byte, as if they had authenticated: the next run gathers them.

    Works while `serve` runs: it does it then.

    \b
    Examples: gatherer quarantine release 1 2
              gatherer quarantine release --endpoint whatsapp
    """
    _dispose(config_path, "release", "released", **chosen)


@command.command("discard")
@_IDS
@_ENDPOINT
@_ALL
@_JSON
@click.pass_obj
def discard(config_path: Path | None, /, **chosen: Any) -> None:
    """Remove posts for good. Nobody will send them again: they were answered with 200.

    \b
    Example: gatherer quarantine discard --all
    """
    _dispose(config_path, "discard", "discarded", **chosen)


def _dispose(
    config_path: Path | None,
    action: Any,
    done: str,
    *,
    ids: tuple[int, ...],
    endpoint: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    if sum((bool(ids), endpoint is not None, everything)) != 1:
        raise click.UsageError(f"choose what to {action}: ids, --endpoint or --all")
    from gatherer.app.quarantine import dispose, quarantined
    from gatherer.cli.output import print_json

    configuration = _load(config_path)
    kept = quarantined(configuration, ids=ids or None, endpoint=endpoint)
    _check(configuration, endpoint, kept)
    found = [one.id for one in kept]
    missing = sorted({*ids} - {*found})
    if missing:
        raise click.UsageError(f"not in quarantine: {', '.join(map(str, missing))}")
    count = dispose(configuration, action, found) if found else 0
    if as_json:
        print_json({done: count})
    else:
        click.echo(f"{done} {count} post{'s' * (count != 1)}")


def _check(configuration: "Configuration", endpoint: str | None, found: "list[QuarantineEntry]") -> None:
    """Refuse an `endpoint` that is none, unless it once was one: then something of it can be `found`."""
    names = [one.name for one in configuration.endpoint]
    if endpoint is not None and not found and endpoint not in names:
        raise click.UsageError(f"there is no endpoint {endpoint!r}; there are: {', '.join(names) or 'none'}")


def _load(config_path: Path | None) -> "Configuration":
    from gatherer.app.resources import load

    return load(config_path, secrets=False)


def _plain(kept: "QuarantineEntry") -> dict[str, Any]:
    from gatherer.model import timestamps

    return {**kept._asdict(), "received_at": timestamps.iso(kept.received_at)}


def _text(value: object) -> str:
    if isinstance(value, list):
        return _printable("; ".join(map(str, value)) or "-")
    return "-" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Return `text` without what could move the cursor of a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
