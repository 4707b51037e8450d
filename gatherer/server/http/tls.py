"""TLS in the process: from certificate files to a context, and to a new one whenever the files change."""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gatherer.model import timestamps
from gatherer.model.errors import ConfigurationError
from gatherer.server.http.certificate import CertificateReadError, Validity, read

log = logging.getLogger(__name__)

# TLS 1.3 has only good ones. Of TLS 1.2, those with forward secrecy and authenticated encryption.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
CHECK_SECONDS: Final = 1.0  # between two checks of the files
REMIND_SECONDS: Final = 86_400.0  # between two warnings about one certificate


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a listener: its certificate, its key, and the authority of its clients."""

    certificate: Path  # PEM: the server's own certificate, then those that lead to the root
    key: Path  # PEM
    key_password: str | None = None
    client_ca: Path | None = None  # PEM: the authority that issues the certificates of clients

    @property
    def paths(self) -> list[Path]:
        """The paths of all these files."""
        return [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]


class TLSFilesError(Exception):
    """No context can be made of the files. The text says which one is wrong, and how."""


class ServerTLS:
    """The TLS context of a listener, made of the newest files that can be used.

    A new context replaces the old one only when it is complete. The old one is never changed: open connections keep
    it. A file that cannot be used causes a line in the log, and the old context stays.
    """

    def __init__(self, files: Files) -> None:
        """Load `files`.

        Raises:
            ConfigurationError: they cannot be used.

        """
        self._files = files
        try:
            self._seen = _digest(files)
            self._context, self._validity = _load(files)
        except TLSFilesError as problem:
            raise ConfigurationError(f"no TLS: {problem}") from None
        self._changed: bytes | None = None  # a content that was new at the last look
        self._reminded_at = -REMIND_SECONDS

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake."""
        return self._context

    @property
    def validity(self) -> Validity:
        """The names and the validity of the certificate in use."""
        return self._validity

    async def watch(self) -> None:
        """Check the files until cancelled, use them when they change, and warn before the certificate expires."""
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - self._reminded_at >= REMIND_SECONDS and self._warn():
                self._reminded_at = loop.time()
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except Exception:
                log.exception("the files of the certificate could not be checked")

    def look(self) -> None:
        """Use the files if they have changed and stayed the same since the last look: copying takes a moment."""
        unreadable: TLSFilesError | None = None
        try:
            digest = _digest(self._files)
        except TLSFilesError as problem:
            digest, unreadable = str(problem).encode(), problem
        if digest == self._seen:
            self._changed = None
            return
        if digest != self._changed:
            self._changed = digest
            return
        self._seen, self._changed = digest, None
        try:
            if unreadable is not None:
                raise unreadable
            context, validity = _load(self._files)
            now = timestamps.now()
            if self._validity.is_current(now) and not validity.is_current(now):
                raise TLSFilesError(f"{self._files.certificate}: {validity.warning(now)}")
        except TLSFilesError as problem:
            log.error("the new certificate is not used, the old one still is: %s", problem)
            return
        self._context, self._validity = context, validity
        self._reminded_at = -REMIND_SECONDS
        log.info("a new certificate is in use, until %s", timestamps.iso(validity.not_after))

    def _warn(self) -> bool:
        warning = self._validity.warning(timestamps.now())
        if warning is not None:
            log.warning("the certificate %s: %s", self._files.certificate, warning)
        return warning is not None


class Named:
    """Accepts the clients whose certificate has one of some names. OpenSSL has checked its issuer before."""

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are compared with the common name and the DNS names, whole, in any case of letters."""
        self._names = frozenset(name.lower() for name in names)

    def __call__(self, certificate: Mapping[str, Any]) -> bool:
        """Tell whether `certificate`, as ssl.SSLSocket.getpeercert gives it, has one of the names."""
        subject = [pair for part in certificate.get("subject", ()) for pair in part]
        shown = {value.lower() for kind, value in subject if kind == "commonName"}
        shown |= {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
        return not self._names.isdisjoint(shown)


def _load(files: Files) -> tuple[ssl.SSLContext, Validity]:
    """Return a context made of `files`, and the names and validity of their certificate.

    Raises:
        TLSFilesError: the files cannot be used.

    """
    try:
        validity = read(files.certificate)
    except CertificateReadError as problem:
        raise TLSFilesError(str(problem)) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        # With a password in any case: without one, OpenSSL would ask for it at the terminal.
        context.load_cert_chain(files.certificate, files.key, password=files.key_password or "")
    except ssl.SSLError as error:
        raise TLSFilesError(_about_key(files, error)) from None
    except OSError as error:
        raise TLSFilesError(f"{files.key} cannot be read: {error.strerror or error}") from None
    if files.client_ca is not None:
        try:
            context.load_verify_locations(cafile=files.client_ca)
        except ssl.SSLError:
            raise TLSFilesError(f"{files.client_ca} holds no certificate in PEM form") from None
        except OSError as error:
            raise TLSFilesError(f"{files.client_ca} cannot be read: {error.strerror or error}") from None
        if not context.cert_store_stats()["x509"]:  # a list of revoked ones, say
            raise TLSFilesError(f"{files.client_ca} holds no certificate in PEM form")
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority below the root may be named, too
    return context, validity


def _about_key(files: Files, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{files.key} is not the key of {files.certificate}"
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return f"{files.certificate} is too weak ({error.reason})"
    wrong = "tls_key_password is wrong" if files.key_password else "it needs tls_key_password"
    return f"{files.key} holds no key in PEM form that can be read, or {wrong}"


def _digest(files: Files) -> bytes:
    """Return a hash over what is in `files`. Raises TLSFilesError when one of them cannot be read."""
    digest = hashlib.sha256()
    for path in files.paths:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise TLSFilesError(f"{path} cannot be read: {error.strerror or error}") from None
    return digest.digest()
