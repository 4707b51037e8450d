"""Certificates for tests, and TLS clients of a server."""

import datetime as dt
import ssl
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.server_process import Response, ServerProcess, encode_post, read_response

HOST = "hooks.example.org"
META = "client.webhooks.fbclientcerts.com"


class Authority:
    """A certificate authority, and the folder with the certificates that it has issued."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.ca = trustme.CA()
        self.root = folder / "root.pem"
        self.ca.cert_pem.write_to_path(str(self.root))

    def issue(self, name: str = HOST, *, as_: str = "server", days: float = 90, password: str = "") -> str:
        """Replace a certificate and its key by new files; return them as TOML for `[server]`."""
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        since = min(dt.datetime.now(dt.UTC), until) - dt.timedelta(days=10)
        issued = self.ca.issue_cert(name, "127.0.0.1", not_before=since, not_after=until, common_name=name)
        key = issued.private_key_pem.bytes()
        if password:
            key = serialization.load_pem_private_key(key, None).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(password.encode()),
            )
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        for path, content in ((self.certificate(as_), chain), (self.key(as_), key)):
            draft = path.with_suffix(".new")
            draft.touch(mode=0o600)
            draft.write_bytes(content)
            draft.replace(path)
        return f"tls_certificate = '{self.certificate(as_)}'\ntls_key = '{self.key(as_)}'\n"

    def certificate(self, as_: str = "server") -> Path:
        return self.folder / f"{as_}.pem"

    def key(self, as_: str = "server") -> Path:
        return self.folder / f"{as_}.key"

    def client(self, *, certificate: str | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority and presents `certificate`, which it issued."""
        context = ssl.create_default_context(cafile=str(self.root))
        if certificate is not None:
            context.load_cert_chain(self.certificate(certificate), self.key(certificate))
        return context


def open_tls_connection(server: ServerProcess, client: ssl.SSLContext, timeout: float = 20) -> ssl.SSLSocket:
    """Return a TLS connection to the server, whose certificate the client has verified."""
    raw = server.connect(timeout)
    try:
        return client.wrap_socket(raw, server_hostname=HOST)
    except BaseException:
        raw.close()
        raise


def post(server: ServerProcess, client: ssl.SSLContext, body: bytes) -> Response:
    """Send `body` in a POST request over TLS. Raises OSError when the server closes the connection."""
    with open_tls_connection(server, client) as connection:
        connection.sendall(encode_post(body))
        return read_response(connection)


def certificate_serial(connection: ssl.SSLSocket) -> int:
    """Return the serial number of the certificate that the server presented."""
    der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number
