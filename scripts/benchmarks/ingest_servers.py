"""The servers that `scripts/bench ingest` compares with `gatherer serve`: the same without storing, and a naive one.

Each runs in its own process in the current folder, announces its port on the first line, and ends with SIGTERM.
"""

import asyncio
import hashlib
import hmac
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ingest_load import PATH, SECRET

NAIVE_THREADS = 8


class NoWriter:
    """Replaces the writer and acknowledges every row at once."""

    def refusal_reason(self, _size: int) -> None:
        return None

    def append(self, _arrival: object) -> "asyncio.Future[None]":
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def without_storing() -> None:
    """Run the handler and the server of `gatherer serve` without an inbox."""
    from gatherer.app.resources import load
    from gatherer.server.http.server import Listener, run
    from gatherer.server.webhook.handler import WebhookHandler

    configuration = load(Path("gatherer.toml"), secrets=True)
    receiver = WebhookHandler(configuration.endpoint, configuration.server, NoWriter())  # type: ignore[arg-type]
    listener = Listener(
        handle=receiver.handle, host="127.0.0.1", port=0, announce=lambda url: print(url + PATH, flush=True)
    )
    run([listener])


def naive_wsgi(*, keep_open: bool) -> None:
    """Run a receiver of ten lines: verify, insert, commit, respond.

    Without `keep_open`, every request opens the database. With it, each thread keeps its connection, which is the
    upper bound for a commit per request.
    """
    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.CRITICAL)  # a line per request would slow it down

    local = threading.local()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect("naive.db", timeout=60, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    first = connect()
    first.execute("PRAGMA journal_mode = WAL")
    first.execute("CREATE TABLE webhook (id INTEGER PRIMARY KEY, received_at REAL, headers TEXT, body BLOB)")

    def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        wanted = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, environ.get("HTTP_X_HUB_SIGNATURE_256", "")):
            start_response("401 Unauthorized", [("Content-Length", "0")])
            return []
        connection = getattr(local, "connection", None) or connect()
        with connection:
            values = (time.time(), environ.get("CONTENT_TYPE"), body)
            connection.execute("INSERT INTO webhook (received_at, headers, body) VALUES (?, ?, ?)", values)
        if keep_open:
            local.connection = connection
        else:
            connection.close()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = waitress.create_server(
        application, listen="127.0.0.1:0", threads=NAIVE_THREADS, connection_limit=1000
    )
    print(f"http://127.0.0.1:{server.effective_port}{PATH}", flush=True)
    server.run()


if __name__ == "__main__":
    if sys.argv[1] == "without_storing":
        without_storing()
    else:
        naive_wsgi(keep_open=sys.argv[1] == "naive_wsgi_kept_open")
