"""`gatherer decode`."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from gatherer.model.records import Record, Rejected
    from gatherer.providers.base import Decode

BRIEF = [
    "kind",
    "message_id",
    "about_message_id",
    "phone",
    "user_id",
    "occurred_at",
    "emoji",
    "reply_text",
    "error_code",
    "key",
]
# What else tells most about a line of this kind
TELLING: Final = {"other": ("name",), "rejected": ("path", "reason")}


@click.command("decode")
@click.argument("provider")
@click.argument(
    "files", nargs=-1, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), metavar="[FILE…|-]"
)
@click.option("--json", "as_json", is_flag=True, help="All fields instead of the most telling ones.")
@click.option(
    "--endpoint", metavar="NAME", help="Decode as the configuration of this endpoint says: mapping, unwrap."
)
@click.option(
    "--lenient",
    is_flag=True,
    help="Read JSON as documentation prints it: with comments, trailing commas, single quotes (JSON5).",
)
@click.pass_obj
def command(
    config_path: Path | None,
    provider: str,
    files: tuple[Path, ...],
    *,
    as_json: bool,
    endpoint: str | None,
    lenient: bool,
) -> None:
    """Show what payload files mean: one JSON line per record and per rejection.

    Needs no configuration, except for the provider json, and touches no database. Exits 0 for any content of the
    files. The reason of a rejection has the line and the column of a syntax error. --lenient is for samples: gather
    accepts only JSON.

    \b
    Examples: gatherer decode meta payload.json
              curl -s https://example.org/sample | gatherer decode meta - --json
              gatherer decode meta --lenient sample-from-a-web-page.json
              gatherer --config gatherer.toml decode json --endpoint courier payload.json
    """
    from gatherer import providers
    from gatherer.cli.output import print_json
    from gatherer.model import timestamps
    from gatherer.model.errors import ConfigurationError
    from gatherer.model.notification import Notification
    from gatherer.model.records import Reason, Rejected
    from gatherer.providers import mapped_json

    providers.get(provider)
    decode: Decode = providers.decode
    if endpoint is not None:
        decode = _decoder(config_path, provider, endpoint)
    elif provider == mapped_json.NAME:
        raise ConfigurationError(
            "the provider json needs a mapping: choose the endpoint that has it with --endpoint"
        )
    received_at = timestamps.now()
    for number, file in enumerate(files or (Path("-"),), start=1):
        try:
            body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
        notification = Notification(number, "", received_at, endpoint or "decode", provider, body)
        facts = decode(notification)
        if lenient and any(
            isinstance(fact, Rejected) and fact.reason_class is Reason.UNREADABLE for fact in facts
        ):
            try:
                facts = decode(notification._replace(body=_strict(body)))
            except ValueError as error:
                name = "standard input" if str(file) == "-" else file
                click.echo(f"{name} is not JSON5 either: {error}", err=True)
        for fact in facts:
            line = describe(fact)
            if not as_json:
                line = {name: line.get(name) for name in (*BRIEF, *TELLING.get(line["kind"], ()))}
            print_json(line)


def _strict(body: bytes) -> bytes:
    """Return the JSON5 of `body` as JSON.

    Raises:
        ValueError: not JSON5, or nested too deeply.

    """
    import json5

    try:
        return json.dumps(json5.loads(body.decode("utf-8-sig"))).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _decoder(config_path: Path | None, provider: str, endpoint: str) -> "Decode":
    """Return the function that decodes notifications of `provider` as the configuration of `endpoint` says."""
    from gatherer.app.resources import find_endpoint, load, notification_decoder
    from gatherer.model.errors import ConfigurationError

    configuration = load(config_path, secrets=False)
    configured = find_endpoint(configuration, endpoint).provider
    if configured != provider:
        raise ConfigurationError(f"the provider of the endpoint {endpoint!r} is {configured}, not {provider}")
    return notification_decoder(configuration)


# The fields that the description of every record has: scripts can rely on them.
_ALWAYS: Final = (
    "message_id",
    "about_message_id",
    "phone",
    "user_id",
    "occurred_at",
    "emoji",
    "reply_text",
    "error_code",
)


def describe(fact: "Record | Rejected") -> dict[str, Any]:
    """Return a record or a rejection as plain values: key in hex, times as ISO-8601 in UTC, no bytes."""
    import msgspec

    from gatherer.model import timestamps
    from gatherer.model.records import OtherEvent, Response

    kind = {Response: None, OtherEvent: "other"}.get(type(fact), fact.table)
    described = {"key": fact.key.hex(), "kind": kind, **dict.fromkeys(_ALWAYS)}
    for name, value in msgspec.structs.asdict(fact).items():
        if isinstance(value, datetime):
            described[name] = timestamps.iso(value)
        elif isinstance(value, bytes):
            described[name] = None if name == "body" else value.hex()
        else:
            described[name] = value
    described.pop("body", None)
    return described
