"""`gatherer serve`."""

import logging
from pathlib import Path

import click

log = logging.getLogger(__name__)


@click.command("serve")
@click.pass_obj
def command(config_path: Path | None) -> None:
    """Receive webhooks; answer 200 only when a post is safely on disk.

    Runs until Ctrl-C or SIGTERM. Put a web server with TLS in front (nginx, IIS, Caddy), or give it a
    certificate: tls_certificate and tls_key.

    \b
    Example: gatherer --config /etc/gatherer/gatherer.toml serve
    """
    from gatherer import app, config

    path = config.find(config_path)
    configuration = app.load(path, secrets=app.ENDPOINTS)

    def announce(url: str) -> None:
        for problem in app.exposed_files(configuration, path):
            log.error("%s", problem)
        for endpoint in configuration.endpoint:
            key = "/<url_key>" if endpoint.url_key else ""
            click.echo(f"listening at {url}{endpoint.path}{key} ({endpoint.name}, {endpoint.provider})")

    app.serve(configuration, announce=announce)
