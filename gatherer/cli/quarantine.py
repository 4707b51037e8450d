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
_ENDPOINT = click.option("--endpoint", metavar="NAME", help="All requests to this endpoint.")
_ALL = click.option("--all", "everything", is_flag=True, help="All requests in quarantine.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("quarantine")
def command() -> None:
    """List and show requests that did not authenticate, and release or discard them.

    An endpoint with on_failed_authentication = "quarantine" answers such a request with 200 and stores it in
    quarantine. It is not gathered until it is released.
    """


@command.command("list")
@_ENDPOINT
@_JSON
@click.pass_obj
def list_(config_path: Path | None, *, endpoint: str | None, as_json: bool) -> None:
    """List the requests in quarantine, oldest first, with the names and forms of their credentials.

    \b
    Example: gatherer quarantine list
    """
    from gatherer.app.quarantine import quarantined
    from gatherer.cli.output import print_json, print_table

    configuration = _load(config_path)
    entries = quarantined(configuration, endpoint=endpoint)
    _check_endpoint(configuration, endpoint, entries)
    rows = [_json_values(entry) for entry in entries]
    if as_json:
        print_json({"requests": rows})
    elif not rows:
        click.echo("the quarantine is empty")
    else:
        print_table([{name: _text(value) for name, value in row.items()} for row in rows])


@command.command("show")
@click.argument("id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--body", is_flag=True, help="Print the body alone, byte for byte as received.")
@_JSON
@click.pass_obj
def show(config_path: Path | None, *, id: int, body: bool, as_json: bool) -> None:  # noqa: A002
    """Show one request: where it came from, its credentials, and its body.

    Of credentials in headers and URL parameters, names and forms are shown, never values.

    \b
    Examples: gatherer quarantine show 1
              gatherer quarantine show 1 --body > body.json
    """
    from gatherer.app.quarantine import quarantined, quarantined_body
    from gatherer.cli.output import print_json

    configuration = _load(config_path)
    content = quarantined_body(configuration, id)
    if body:
        sys.stdout.buffer.write(content)
        return
    text = content.decode("utf-8", "backslashreplace")
    for entry in quarantined(configuration, ids=[id]):
        values = _json_values(entry)
        if as_json:
            print_json({**values, "body": text})
            return
        for name, value in values.items():
            for line in value if isinstance(value, list) else [value]:
                click.echo(f"{name.replace('_', ' '):<16} {_printable(_text(line))}")
        click.echo(f"{'body':<16} {_printable(text[:_EXCERPT])}{' …' * (len(text) > _EXCERPT)}")


@command.command("release")
@_IDS
@_ENDPOINT
@_ALL
@_JSON
@click.pass_obj
def release(config_path: Path | None, /, **criteria: Any) -> None:
    """Move requests into the inbox, byte for byte, as if they had authenticated. The next run gathers them.

    If `serve` runs, it moves them; otherwise this command does.

    \b
    Examples: gatherer quarantine release 1 2
              gatherer quarantine release --endpoint whatsapp
    """
    _dispose(config_path, "release", "released", **criteria)


@command.command("discard")
@_IDS
@_ENDPOINT
@_ALL
@_JSON
@click.pass_obj
def discard(config_path: Path | None, /, **criteria: Any) -> None:
    """Delete requests for good. The client will not repeat them: it got a 200.

    \b
    Example: gatherer quarantine discard --all
    """
    _dispose(config_path, "discard", "discarded", **criteria)


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
        raise click.UsageError(f"say what to {action}: ids, --endpoint or --all")
    from gatherer.app.quarantine import dispose, quarantined
    from gatherer.cli.output import print_json

    configuration = _load(config_path)
    entries = quarantined(configuration, ids=ids or None, endpoint=endpoint)
    _check_endpoint(configuration, endpoint, entries)
    selected_ids = [entry.id for entry in entries]
    missing = sorted({*ids} - {*selected_ids})
    if missing:
        raise click.UsageError(f"not in quarantine: {', '.join(map(str, missing))}")
    count = dispose(configuration, action, selected_ids) if selected_ids else 0
    if as_json:
        print_json({done: count})
    else:
        click.echo(f"{done} {count} request{'s' * (count != 1)}")


def _check_endpoint(
    configuration: "Configuration", endpoint: str | None, entries: "list[QuarantineEntry]"
) -> None:
    """Refuse an `endpoint` that is not configured and of which there are no `entries`: a former one may have some."""
    names = [configured.name for configured in configuration.endpoint]
    if endpoint is not None and not entries and endpoint not in names:
        raise click.UsageError(f"there is no endpoint {endpoint!r}; there are: {', '.join(names) or 'none'}")


def _load(config_path: Path | None) -> "Configuration":
    from gatherer.app.resources import load

    return load(config_path, secrets=False)


def _json_values(entry: "QuarantineEntry") -> dict[str, Any]:
    """Return the fields of `entry` by name, as values that JSON can carry."""
    from gatherer.model import timestamps

    return {**entry._asdict(), "received_at": timestamps.iso(entry.received_at)}


def _text(value: object) -> str:
    """Return `value` as text for a table or a line."""
    if isinstance(value, list):
        return _printable("; ".join(map(str, value)) or "-")
    return "-" if value is None else _printable(str(value))


def _printable(text: str) -> str:
    """Return `text` with control characters escaped: they could control the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
