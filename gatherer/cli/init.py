"""`gatherer init`."""

import os
from pathlib import Path

import click


@click.command("init")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where to write gatherer.toml. Default: here.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where inbox.db and responses.db will be. Default: beside gatherer.toml.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="How the internet reaches this machine, as in https://hooks.example.org.",
)
@click.option(
    "--force", is_flag=True, help="Replace an existing configuration, which is renamed to gatherer.toml.old."
)
@click.pass_obj
def command(
    config_path: Path | None, *, directory: Path, data: Path | None, public_url: str | None, force: bool
) -> None:
    """Write a commented configuration with fresh secrets, and say what to enter at the provider.

    \b
    Examples: gatherer init
              gatherer init --directory /etc/gatherer --data /var/lib/gatherer
              gatherer init --public-url https://hooks.example.org
    """
    from urllib.parse import urlsplit

    from gatherer.app.resources import load
    from gatherer.config import example

    if config_path is not None:
        raise click.UsageError("--config names a configuration to read; say --directory FOLDER here")
    if public_url is not None:
        try:
            parts = urlsplit(public_url)
            usable = parts.scheme == "https" and parts.netloc and not (parts.query or parts.fragment)
        except ValueError:
            usable = False
        if not usable:
            raise click.UsageError("--public-url must be an https address, as in https://hooks.example.org")
    replaced = {}
    if data is not None:
        if not str(data).isprintable():
            raise click.UsageError("--data has characters that a configuration cannot contain")
        for name in ("inbox.db", "responses.db"):
            replaced[f"path = '{name}'"] = f"path = {example.literal(str(data.absolute() / name))}"
    verify_token, url_key = example.token(), example.token()
    content = example.filled(verify_token=verify_token, url_key=url_key, replaced=replaced)
    path = example.write(directory, content, force=force)
    [endpoint] = load(path, secrets=True).endpoint  # fails here if the written file is not valid
    private = ", readable by this account alone" if os.name == "posix" else ""
    base = (public_url or "https://<your web server>").rstrip("/")
    click.echo(f"""\
wrote {path}{private}

At Meta (App Dashboard, WhatsApp, Configuration), or at the service that forwards to you, enter
  Callback URL:  {base}{endpoint.url_path}
  Verify token:  {verify_token}
and there
  - subscribe to the webhook field "messages";
  - subscribe the app to your WhatsApp Business Account (POST /<account id>/subscribed_apps):
    without it, only the dashboard's Test button gets through;
  - copy the App Secret (App settings, Basic) into app_secrets, so that signatures are checked.
The callback URL holds a key: treat it like a password.

Next
  gatherer --config {_quoted(path)} config check
  gatherer --config {_quoted(path)} serve        (behind a web server with TLS)
  gatherer --config {_quoted(path)} gather       (every few minutes)
  gatherer --config {_quoted(path)} simulate --endpoint {endpoint.name}    (to try it out)""")


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)
