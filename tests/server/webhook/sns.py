"""Amazon SNS for tests: real keys, certificates and signatures, and its host behind the HTTPS proxy of the server."""

import base64
import datetime as dt
import http.server
import json
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

HOST = "sns.eu-west-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:whatsapp"
NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
HASHES = {"1": hashes.SHA1(), "2": hashes.SHA256()}


class Signer:
    """A certificate of SNS with its own URL, and messages signed with its key."""

    def __init__(self, *, days: int = 30, curve: bool = False) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        key = ec.generate_private_key(ec.SECP256R1()) if curve else self.key
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - dt.timedelta(days=60))
            .not_valid_after(until)
            .sign(key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.path = f"/SimpleNotificationService-{uuid.uuid4().hex}.pem"

    def notification(self, text: str = "hello", *, version: str = "2", **fields: Any) -> dict[str, Any]:
        """Return a signed notification. `fields` are signed, too."""
        message = self._message("Notification", text) | {
            "UnsubscribeURL": f"https://{HOST}/?Action=Unsubscribe"
        }
        return self.sign(message | fields, NOTIFICATION, version)

    def confirmation(
        self, token: str = "", *, kind: str = "SubscriptionConfirmation", version: str = "1", **fields: Any
    ) -> dict[str, Any]:
        """Return a signed message with which SNS asks for a confirmation. `fields` are signed, too."""
        token = token or uuid.uuid4().hex
        query = f"Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}"
        message = self._message(kind, "You have chosen to subscribe to the topic …")
        message |= {"Token": token, "SubscribeURL": f"https://{HOST}/?{query}"}
        return self.sign(message | fields, CONFIRMATION, version)

    def sign(self, message: dict[str, Any], names: tuple[str, ...], version: str) -> dict[str, Any]:
        """Return `message` with the signature over the fields `names`."""
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), HASHES[version])
        return message | {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}

    def _message(self, kind: str, text: str) -> dict[str, Any]:
        return {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": TOPIC,
            "Message": text,
            "Timestamp": "2026-11-30T12:00:00.000Z",
            "SigningCertURL": f"https://{HOST}{self.path}",
        }


def encoded(message: dict[str, Any]) -> bytes:
    """Return the body of the request with `message`."""
    return json.dumps(message, ensure_ascii=False).encode()


class Internet:
    """An HTTPS proxy that plays all hosts behind it, with a certificate for each.

    Attributes:
        hosts: the hosts that clients have connected to, each as often as they did.
        requests: the host and the target of each request.
        reachable: whether hosts can be connected to.
        pages: the answers by target: status, headers and body. Every other target is answered with 404.
        answering: while it is not set, no request gets an answer.

    """

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.authorities = folder / "internet.pem"
        self._authority.cert_pem.write_to_path(str(self.authorities))
        self.hosts: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.reachable = True
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.answering = threading.Event()
        self.answering.set()
        self.port = 0

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that lead a client to it."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port}",
            "REQUESTS_CA_BUNDLE": str(self.authorities),
            "NO_PROXY": "",
            "no_proxy": "",
        }

    def publish(self, signer: Signer) -> Signer:
        """Offer the certificate of `signer`, and return `signer`."""
        self.pages[signer.path] = (200, {}, signer.pem)
        return signer

    def allow_confirmation(self, message: dict[str, Any]) -> str:
        """Answer requests of the SubscribeURL of `message` with 200; return its target."""
        target = str(message["SubscribeURL"]).removeprefix(f"https://{HOST}")
        self.pages[target] = (200, {}, b"<ConfirmSubscriptionResponse/>")
        return target

    def tls(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context


@contextmanager
def run_internet(folder: Path) -> Iterator[Internet]:
    """Run an `Internet` for the duration of the block."""
    internet = Internet(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 60

        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            internet.hosts.append(host)
            self.close_connection = True
            if not internet.reachable:
                self.send_error(502)
                return
            self.send_response_only(200)
            self.end_headers()
            with internet.tls(host).wrap_socket(self.connection, server_side=True) as connection:
                Host(connection, self.client_address, self.server)

        def log_message(self, *_: object) -> None:
            pass

    class Host(Handler):
        def do_GET(self) -> None:
            internet.requests.append((str(self.headers["Host"]), self.path))
            internet.answering.wait(60)
            status, headers, body = internet.pages.get(self.path, (404, {}, b"no such page"))
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body)), "Connection": "close"}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        internet.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield internet
        finally:
            internet.answering.set()
            server.shutdown()
            thread.join()
