"""`gatherer serve`."""

import logging
import signal
import sys
import threading
from pathlib import Path

import click

log = logging.getLogger(__name__)


@click.command("serve")
@click.option(
    "--stop-with-input",
    is_flag=True,
    help="Also stop when standard input ends, which it does when the program that started this one ends.",
)
@click.pass_obj
def command(config_path: Path | None, *, stop_with_input: bool) -> None:
    """Receive webhooks; answer 200 only when a request is safely on disk.

    Runs until Ctrl-C or SIGTERM. Put a web server with TLS in front (nginx, IIS, Caddy), or give it a
    certificate: tls_certificate and tls_key.

    \b
    Example: gatherer --config /etc/gatherer/gatherer.toml serve
    """
    from gatherer import config
    from gatherer.app.config_warnings import exposed_files
    from gatherer.app.resources import ENDPOINTS, load
    from gatherer.app.serve import serve

    path = config.find(config_path)
    configuration = load(path, secrets=ENDPOINTS)

    def announce(url: str) -> None:
        for problem in exposed_files(configuration, path):
            log.error("%s", problem)
        for endpoint in configuration.endpoint:
            key = "/<url_key>" if endpoint.url_key else ""
            click.echo(f"listening at {url}{endpoint.path}{key} ({endpoint.name}, {endpoint.provider})")
        if stop_with_input:  # from now on: before it listens, the server does not handle the signal
            threading.Thread(target=_stop_with_input, name="input", daemon=True).start()

    serve(configuration, announce=announce)


def _stop_with_input() -> None:
    sys.stdin.buffer.read()
    signal.raise_signal(signal.SIGINT)
