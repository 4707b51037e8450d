"""Start and stop the real `gatherer serve`, and speak HTTP to it through real sockets."""

import hashlib
import hmac
import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tests.waiting import SECONDS, wait_until

SECRET = "app-secret"
PATH = "/webhook/meta"
ENDPOINT = f'name = "meta"\nprovider = "meta"\npath = "{PATH}"\napp_secrets = ["{SECRET}"]\n'
OPEN = 'name = "open"\nprovider = "meta"\npath = "/open"\nunauthenticated = true\n'
ROOT = Path(__file__).resolve().parent.parent
WINDOWS = sys.platform == "win32"
MEASURED = "COVERAGE_PROCESS_CONFIG" in os.environ  # by scripts/test --coverage


class Response(NamedTuple):
    """An HTTP response, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class ServerProcess:
    """A running `gatherer serve` and its folder."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, port: int, inbox: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = port
        self.inbox = inbox

    def connect(self, timeout: float = 20) -> socket.socket:
        """Return a socket connected to the server."""
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def exchange(self, request: bytes) -> Response:
        """Send `request` unchanged and return the response."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_response(connection)

    def post(self, body: bytes, path: str = PATH, **headers: str) -> Response:
        """Send `body` in a POST request, signed unless `headers` override the signature."""
        return self.exchange(encode_post(body, path, **headers))

    def rows(self, columns: str = "*") -> list[Any]:
        """Return the rows that a second connection finds in the inbox, in order of arrival."""
        return rows(self.inbox, columns)

    def bodies(self) -> list[bytes]:
        """Return the stored bodies in order of arrival."""
        return [body for (body,) in self.rows("body")]

    def connections(self) -> int:
        """Return how many connections the server has, including those that only the client has closed."""
        sockets = psutil.Process(self.process.pid).net_connections("tcp")
        return sum(connection.status != psutil.CONN_LISTEN for connection in sockets)

    def log(self) -> str:
        """Return what the server has written to standard error."""
        return (self.folder / "serve.log").read_text(encoding="utf-8")

    def stop(self) -> int:
        """Stop the server as an operator does and return its exit code."""
        self.process.send_signal(signal.CTRL_BREAK_EVENT if WINDOWS else signal.SIGTERM)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """Kill the server without warning, as `kill -9` does."""
        self.process.kill()
        self.process.wait(SECONDS)


@contextmanager
def run_server(
    folder: Path,
    *endpoints: str,
    server: str = "",
    settings: str = "",
    inbox: Path | None = None,
    **popen: Any,
) -> Iterator[ServerProcess]:
    """Run `gatherer serve` in `folder` on a free port for the duration of the block.

    Args:
        folder: takes the configuration, the inbox and the log.
        endpoints: the TOML of each endpoint; by default one that requires Meta's signature with `SECRET`.
        server: more TOML for `[server]`.
        settings: more TOML for `[inbox]`, followed by further tables.
        inbox: path of the inbox, if it is not in `folder`.
        popen: further arguments of `Popen`; `wrapper` is a command that runs the server, `options` go before `serve`,
            `environment` holds further environment variables.

    """
    inbox = inbox or folder / "inbox.db"
    process = start_server(folder, *endpoints, server=server, settings=settings, inbox=inbox, **popen)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        announcement = re.match(r"listening at https?://127\.0\.0\.1:(\d+)/", line)
        if announcement is None:
            process.wait(SECONDS)
            raise AssertionError(f"no announcement but {line!r}; log: {(folder / 'serve.log').read_text()}")
        # Reading the rest of standard output keeps the server from blocking on a full pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield ServerProcess(process, folder, int(announcement[1]), inbox)
    finally:
        if process.poll() is None:
            # A killed process leaves no coverage data.
            process.terminate() if MEASURED else process.kill()
            process.wait(SECONDS)
        process.stdout.close()


def start_server(
    folder: Path,
    *endpoints: str,
    server: str = "",
    settings: str = "",
    inbox: Path | None = None,
    **popen: Any,
) -> subprocess.Popen[str]:
    """Start `gatherer serve` in `folder`; do not wait until it listens."""
    configure(folder, *endpoints, server=server, settings=settings, inbox=inbox)
    wrapper, options = popen.pop("wrapper", []), popen.pop("options", [])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= popen.pop("environment", {})
    with (folder / "serve.log").open("wb") as log:
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "gatherer", *options, "serve"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if WINDOWS else 0,
            **popen,
        )


def run_failing_server(folder: Path, *endpoints: str, server: str = "", **popen: Any) -> tuple[int, str]:
    """Start a server that must fail to start; return its exit code and its log."""
    process = start_server(folder, *endpoints, server=server, **popen)
    output, _ = process.communicate(timeout=SECONDS)
    assert output == ""
    return process.returncode, (folder / "serve.log").read_text(encoding="utf-8")


def configure(
    folder: Path, *endpoints: str, server: str = "", settings: str = "", inbox: Path | None = None
) -> None:
    """Write `gatherer.toml` into `folder`."""
    tables = "".join(f"[[endpoint]]\n{endpoint}" for endpoint in endpoints or (ENDPOINT,))
    port = "" if "port" in server else "port = 0\n"
    (folder / "gatherer.toml").touch(mode=0o600)
    (folder / "gatherer.toml").write_text(
        f"[server]\n{port}{server}\n[inbox]\npath = '{inbox or 'inbox.db'}'\n{settings}\n{tables}",
        encoding="utf-8",
    )


def signature(body: bytes, secret: str = SECRET) -> str:
    """Return Meta's signature of `body`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def encode_post(body: bytes, path: str = PATH, **headers: str | None) -> bytes:
    """Return the bytes of a POST request. Underscores in header names become hyphens; None omits a header."""
    fields: dict[str, str | None] = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Hub-Signature-256": signature(body),
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return encode_head("POST", path, fields) + body


def encode_head(method: str, path: str, fields: dict[str, str | None]) -> bytes:
    """Return the request line and the header fields."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def read_response(connection: socket.socket) -> Response:
    """Read one whole response. Raises ConnectionResetError when the server sends none."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        return Response(response.status, response.headers, response.read())
    except (http.client.BadStatusLine, http.client.IncompleteRead) as error:
        raise ConnectionResetError(str(error)) from None
    finally:
        response.close()


def parse_response(data: bytes) -> Response:
    """Return the response in `data`, which was read from a socket."""

    class ReceivedData:
        def makefile(self, _mode: str) -> BytesIO:
            return BytesIO(data)

    return read_response(ReceivedData())  # type: ignore[arg-type]


def rows(inbox: Path, columns: str = "*") -> list[Any]:
    """Return the notifications in the inbox file, in order of arrival, over a read-only connection."""
    with closing(sqlite3.connect(f"{inbox.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(f"SELECT {columns} FROM notification ORDER BY id").fetchall()


def check_integrity(inbox: Path) -> str:
    """Return "ok", or the defects that SQLite finds in the file."""
    with closing(sqlite3.connect(f"{inbox.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


class Load:
    """Clients that send distinct bodies as fast as the server responds, and record the outcome of each."""

    def __init__(self, port: int, *, clients: int = 8, prefix: str = "") -> None:
        self.acknowledged: list[bytes] = []
        self.refused: list[tuple[bytes, int]] = []
        self.unanswered: list[bytes] = []
        self.slowest = 0.0  # seconds that the slowest response took
        self._port = port
        self._prefix = prefix
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def wait_for(self, acknowledged: int) -> None:
        """Return when the server has acknowledged this many bodies."""
        wait_until(lambda: len(self.acknowledged) >= acknowledged, "the server acknowledges nothing")

    def _post(self, client: int) -> None:
        count = 0
        while not self._over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), 20) as connection:
                    closed = False
                    while not self._over.is_set() and not closed:
                        count += 1
                        body = f"{self._prefix}{client}-{count}-".encode() + os.urandom(200)
                        self.unanswered.append(body)
                        started = time.monotonic()
                        connection.sendall(encode_post(body))
                        answer = read_response(connection)
                        self.slowest = max(self.slowest, time.monotonic() - started)
                        self.unanswered.remove(body)
                        if answer.status == 200:
                            self.acknowledged.append(body)
                        else:
                            self.refused.append((body, answer.status))
                        closed = answer.headers.get("Connection") == "close"
            except OSError:
                time.sleep(0.01)
