"""A `gatherer serve` that offers its inbox over TLS, certificates for it, and a proxy that breaks connections."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any, NamedTuple

import trustme

from gatherer.inbox.remote.client import Address
from gatherer.inbox.remote.inbox import RemoteInbox
from gatherer.model.retry import RetryPolicy
from tests.server_process import ENDPOINT, ServerProcess, run_server
from tests.waiting import wait_until

TOKEN = "token-of-the-app-server"
QUICK = RetryPolicy(attempts=4, first_wait_seconds=0.02, longest_wait_seconds=0.1)
_URL = re.compile(r"offering the inbox at (https?)://127\.0\.0\.1:(\d+)")


class PullServer(NamedTuple):
    """A `gatherer serve`, and the address at which a gatherer pulls its inbox."""

    server: ServerProcess
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """The URL of the inbox."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """The certificate of the authority that issued the server's."""
        return self.folder / "ca.pem"

    @property
    def pin(self) -> str:
        """The SHA-256 fingerprint of the server's certificate."""
        return certificate_pin(self.folder / "certificate.pem")

    def open(self, **address: Any) -> RemoteInbox:
        """Open the inbox as `gatherer gather` does."""
        keys = {"url": self.url, "token": TOKEN, "ca": self.ca} | address
        return RemoteInbox("web1", Address(**keys), retry_policy=QUICK)


def write_certificates(folder: Path, *, authority: trustme.CA | None = None) -> trustme.CA:
    """Write `certificate.pem`, `key.pem` and `ca.pem` into `folder`; return the authority that issued them."""
    authority = authority or trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return authority


def certificate_pin(certificate: Path) -> str:
    """Return the SHA-256 fingerprint of the first certificate in the file."""
    first = certificate.read_text(encoding="ascii").partition("-----END CERTIFICATE-----")
    return sha256(PEM_cert_to_DER_cert(first[0] + first[1])).hexdigest()


@contextmanager
def run_pull_server(
    folder: Path,
    *endpoints: str,
    tokens: tuple[str, ...] = (TOKEN,),
    tls: bool = True,
    port: int = 0,
    **more: Any,
) -> Iterator[PullServer]:
    """Run `gatherer serve` with a `[pull]` in `folder` for the duration of the block."""
    folder.mkdir(exist_ok=True)
    if tls and not (folder / "key.pem").exists():
        write_certificates(folder)
    keys = "tls_certificate = 'certificate.pem'\ntls_key = 'key.pem'\n" if tls else ""
    listed = ", ".join(f"'{token}'" for token in tokens)
    public, pull = more.pop("public_port", 0), more.pop("pull", "")
    server = f"port = {public}\n[pull]\nport = {port}\ntokens = [{listed}]\n{keys}{pull}"
    with run_server(folder, *(endpoints or (ENDPOINT,)), server=server, **more) as process:
        wait_until(lambda: _URL.search(process.log()), process.log)
        match = _URL.search(process.log())
        assert match is not None
        assert match[1] == ("https" if tls else "http")
        yield PullServer(process, int(match[2]), folder)


class AlteringProxy:
    """A TCP proxy that forwards bytes between a client and a server, and alters what the server sends."""

    def __init__(self, port: int, alter: Callable[[int, int, bytes], bytes | None]) -> None:
        """Forward to `port`. `alter(connection, offset, data)` returns the bytes to forward; None cuts the connection."""
        self.connections = 0
        self._alter = alter
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._forward_requests, args=(client, server), daemon=True).start()
                threading.Thread(
                    target=self._forward_responses, args=(self.connections, client, server), daemon=True
                ).start()

    @staticmethod
    def _forward_requests(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _forward_responses(self, number: int, client: socket.socket, server: socket.socket) -> None:
        offset = 0
        with suppress(OSError), client, server:
            while data := server.recv(65536):
                altered = self._alter(number, offset, data)
                offset += len(data)
                if altered is None:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(altered)


@contextmanager
def altering_proxy(port: int, alter: Callable[[int, int, bytes], bytes | None]) -> Iterator[AlteringProxy]:
    """Run a proxy for the duration of the block."""
    with closing(AlteringProxy(port, alter)) as process:
        yield process
