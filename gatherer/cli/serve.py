"""`gatherer serve`."""

from pathlib import Path

import click


@click.command("serve")
@click.pass_obj
def command(config_path: Path | None) -> None:
    """Receive webhooks; answer 200 only when a post is safely on disk.

    Runs until Ctrl-C or SIGTERM. Put a web server with TLS in front (nginx, IIS, Caddy).

    \b
    Example: gatherer --config /etc/gatherer/gatherer.toml serve
    """
    from gatherer import app

    configuration = app.load(config_path, secrets=app.ENDPOINTS)

    def announce(url: str) -> None:
        for endpoint in configuration.endpoint:
            key = "/<url_key>" if endpoint.url_key else ""
            click.echo(f"listening at {url}{endpoint.path}{key} ({endpoint.name}, {endpoint.provider})")

    app.serve(configuration, announce=announce)
