"""Amazon SNS: the signature of each message is verified, and subscriptions to the configured topics are confirmed.

SNS signs with RSA, and names in each message the URL of the certificate. A certificate counts only if it comes from the
configured hosts over HTTPS. A message can be sent again by anyone who has it: the rows are the same.
"""

import asyncio
import base64
import binascii
import datetime as dt
import logging
import re
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gatherer.config import SNS
from gatherer.providers.signatures import Headers
from gatherer.server.http.message import Response
from gatherer.server.webhook.fetcher import Fetcher
from gatherer.server.webhook.relay import NotAuthenticError, UnavailableError

log = logging.getLogger(__name__)

# The signed fields by the type of the message, in the order in which they are signed. Source: "Verifying the
# signatures of Amazon SNS messages" in the SNS Developer Guide.
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED_FIELDS: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - SNS's
_CERTIFICATE_PATH: Final = re.compile(r"https://[^/]*/[A-Za-z0-9_.-]+\.pem", re.ASCII)


class _Message(msgspec.Struct, kw_only=True):
    """A message of SNS, with its own names."""

    Type: str
    TopicArn: str
    MessageId: str
    Message: str
    Timestamp: str
    SignatureVersion: str
    Signature: str
    SigningCertURL: str
    Subject: str | None = None
    Token: str | None = None
    SubscribeURL: str | None = None


class _Certificate(NamedTuple):
    key: rsa.RSAPublicKey
    not_before: dt.datetime
    not_after: dt.datetime


_decode = msgspec.json.Decoder(_Message).decode


class SNSRelay:
    """Amazon SNS in front of an endpoint."""

    def __init__(self, settings: SNS) -> None:
        """Accept messages of the topics in `settings`."""
        self._topics = frozenset(settings.topics)
        self._fetcher = Fetcher(settings.allowed_hosts)

    def check(self, headers: Headers, body: bytes) -> Response | asyncio.Future[Any] | None:  # noqa: ARG002
        """Check a POST, as :class:`gatherer.server.webhook.relay.Relay` says."""
        try:
            message = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NotAuthenticError("not a message of SNS") from None
        if message.TopicArn not in self._topics:
            raise NotAuthenticError("an SNS topic that is not configured")
        if _CERTIFICATE_PATH.fullmatch(message.SigningCertURL) is None:
            raise NotAuthenticError("a SigningCertURL that does not name a certificate")
        certificate = self._fetcher.fetch(message.SigningCertURL, _load_certificate)
        if isinstance(certificate, asyncio.Future):
            return certificate
        _verify(message, certificate)
        if message.Type == "Notification":
            return None
        if message.Type == "UnsubscribeConfirmation":
            log.warning(
                "SNS has ended the subscription to %s: it sends no more notifications", message.TopicArn
            )
            return Response()
        confirmation = self._fetcher.fetch(message.SubscribeURL or "", bytes)
        if isinstance(confirmation, asyncio.Future):
            log.info("confirming the subscription to %s", message.TopicArn)
            return confirmation
        return Response()


def _load_certificate(content: bytes) -> _Certificate:
    """Return the certificate in the PEM file `content`.

    Raises:
        ValueError: it has no certificate with an RSA key.

    """
    certificate = x509.load_pem_x509_certificate(content)
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the key of the certificate is not an RSA key")
    return _Certificate(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _verify(message: _Message, certificate: _Certificate) -> None:
    """Check the signature of `message`.

    Raises:
        NotAuthenticError: it is not that of `certificate`.
        UnavailableError: the certificate is not valid now; where the clock of this machine is wrong, the messages
            must not be lost.

    """
    algorithm = _HASHES.get(message.SignatureVersion)
    fields = _SIGNED_FIELDS.get(message.Type)
    if algorithm is None or fields is None:
        raise NotAuthenticError("an SNS message of unknown type or signature version")
    values = [(name, getattr(message, name)) for name in fields]
    signed = "".join(f"{name}\n{value}\n" for name, value in values if value is not None)
    try:
        signature = base64.b64decode(message.Signature, validate=True)
        certificate.key.verify(signature, signed.encode(), padding.PKCS1v15(), algorithm)
    except (binascii.Error, ValueError, InvalidSignature):
        raise NotAuthenticError("the SNS signature is wrong") from None
    if not certificate.not_before <= dt.datetime.now(dt.UTC) <= certificate.not_after:
        raise UnavailableError(
            f"the certificate of SNS is valid from {certificate.not_before:%Y-%m-%d} to "
            f"{certificate.not_after:%Y-%m-%d}, not now: is the clock of this machine right?"
        )
