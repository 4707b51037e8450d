"""`gatherer simulate`."""

import math
import secrets
from pathlib import Path
from typing import Any

import click

SEEDS = 10_000  # how many seeds to choose from: short enough to type


@click.command("simulate")
@click.option(
    "--url", metavar="URL", help="The whole callback URL of the receiver, with its key if it has one."
)
@click.option(
    "--endpoint", metavar="NAME", help="Take URL, secrets and tokens from this endpoint of the configuration."
)
@click.option(
    "--count", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
    help="The number of messages in the campaign; each leads to several updates.",
)  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0.001), metavar="N", help="At most N requests a second.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=32, show_default=True, metavar="N",
    help="The number of requests in flight at the same time.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="The same seed makes the same campaign."
)
@click.option("--well-formed", is_flag=True, help="Leave out the one body that is not JSON.")
@click.option(
    "--app-secret", envvar="GATHERER_APP_SECRET", show_envvar=True, metavar="SECRET",
    help="Sign with this secret (X-Hub-Signature-256).",
)  # fmt: skip
@click.option(
    "--app-secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Sign with the secret in this file.",
)  # fmt: skip
@click.option(
    "--bearer-token", envvar="GATHERER_BEARER_TOKEN", show_envvar=True, metavar="TOKEN",
    help="Send this token in the Authorization header.",
)  # fmt: skip
@click.option(
    "--basic",
    envvar="GATHERER_BASIC",
    show_envvar=True,
    metavar="USER:PASSWORD",
    help="HTTP Basic authentication.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Another header; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.pass_obj
def command(
    config_path: Path | None,
    *,
    url: str | None,
    endpoint: str | None,
    count: int,
    rate: float | None,
    connections: int,
    seed: int | None,
    well_formed: bool,
    app_secret: str | None,
    app_secret_file: Path | None,
    bearer_token: str | None,
    basic: str | None,
    headers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Post a made-up campaign to a receiver, as Meta would, to test an installation.

    The campaign has receipts, failures with real error codes, reactions and replies: out of order, in batches,
    some more than once, and one body that is not JSON. The resulting rows are marked is_test.

    \b
    Exit codes: 3 the server refuses the authentication or the requests;
    75 the server cannot be reached or keeps answering 503.

    \b
    Examples: gatherer simulate --endpoint whatsapp
              gatherer simulate --endpoint whatsapp --url https://hooks.example.org/webhook/whatsapp/KEY
              gatherer simulate --url http://127.0.0.1:8080/webhook/test --rate 50 --count 1000
    """
    if url is None and endpoint is None:
        raise click.UsageError("give the destination: --url URL or --endpoint NAME")
    if app_secret is not None and app_secret_file is not None:
        raise click.UsageError("--app-secret and --app-secret-file cannot be combined")
    if bearer_token is not None and basic is not None:
        raise click.UsageError("--bearer-token and --basic both use the Authorization header: choose one")
    if rate is not None and not math.isfinite(rate):
        raise click.BadParameter("expected a number of requests a second", param_hint="'--rate'")
    for text in (url, app_secret, bearer_token, basic, *headers):
        if text is not None and not _is_text(text):
            raise click.UsageError("an option contains bytes that are not UTF-8")
    from gatherer.app.resources import load
    from gatherer.cli.output import print_json, progress_bar
    from gatherer.simulation import campaign, destination, sender

    if endpoint is not None:
        receiver = destination.of_endpoint(load(config_path, secrets=True), endpoint, url)
    else:
        receiver = destination.of_url(str(url))
    receiver = destination.with_credentials(
        receiver,
        app_secret=_read(app_secret_file) if app_secret_file else app_secret,
        bearer_token=bearer_token,
        basic=basic,
        headers=headers,
    )
    seed = secrets.randbelow(SEEDS) if seed is None else seed
    simulated = campaign.Campaign(
        count=count, seed=seed, start=campaign.yesterday(), malformed=not well_formed
    )
    with progress_bar("posting") as progress:
        delivery = sender.post_bodies(
            simulated.bodies(),
            receiver,
            rate=rate,
            connections=connections,
            progress=lambda posted: progress(posted, None),
        )
    summary = {
        "url": receiver.shown,
        "seed": seed,
        "messages": count,
        "responses": dict(sorted(simulated.responses.items())),
        **delivery.figures(),
    }
    if as_json:
        print_json(summary)
    else:
        _print(summary)
    delivery.check()


def _is_text(argument: str) -> bool:
    """Return whether `argument` is text: Python decodes bytes that are not UTF-8 to lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in argument)


def _read(path: Path) -> str:
    from gatherer.model.errors import ConfigurationError

    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _print(summary: dict[str, Any]) -> None:
    responses = ", ".join(f"{number} {kind}" for kind, number in summary["responses"].items())
    statuses = ", ".join(f"{number} with {status}" for status, number in summary["statuses"].items())
    click.echo(f"posted a campaign of {summary['messages']} messages to {summary['url']}: {responses}")
    click.echo(
        f"{summary['requests']} requests answered: {statuses}; attempts repeated: {summary['retried']}"
    )
    click.echo(
        f"{summary['seconds']:.1f} s, {summary['requests_per_second']:.0f} requests/s, "
        f"p50 {summary['p50_ms']:.1f} ms, p99 {summary['p99_ms']:.1f} ms"
    )
    click.echo(f"the same campaign again: --seed {summary['seed']} --count {summary['messages']}")
