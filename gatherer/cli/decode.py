"""`gatherer decode`."""

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
@click.pass_obj
def command(
    config_path: Path | None, provider: str, files: tuple[Path, ...], *, as_json: bool, endpoint: str | None
) -> None:
    """Show what payload files mean: one JSON line per record and per rejection.

    Needs no configuration, except for the provider json, and touches no database. Exits 0 for any content of the
    files.

    \b
    Examples: gatherer decode meta payload.json
              curl -s https://example.org/sample | gatherer decode meta - --json
              gatherer --config gatherer.toml decode json --endpoint courier payload.json
    """
    from gatherer import providers
    from gatherer.cli.output import print_json
    from gatherer.model import timestamps
    from gatherer.model.errors import ConfigurationError
    from gatherer.model.notification import Notification
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
        for fact in decode(notification):
            line = describe(fact)
            if not as_json:
                line = {name: line.get(name) for name in (*BRIEF, *TELLING.get(line["kind"], ()))}
            print_json(line)


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
