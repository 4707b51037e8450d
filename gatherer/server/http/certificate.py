"""What a certificate file says: whose it is, and until when."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from gatherer.model import timestamps

WARN_BEFORE: Final = timedelta(days=21)


class CertificateReadError(Exception):
    """The file cannot be read, or holds no certificate. The text says so."""


@dataclass(frozen=True, kw_only=True)
class Validity:
    """For whom a server's certificate is, and when it may be used."""

    names: tuple[str, ...]  # DNS names and addresses
    not_before: datetime
    not_after: datetime

    def warning(self, now: datetime) -> str | None:
        """Return what a person should know about it at `now`; None if all is well."""
        if now >= self.not_after:
            return f"it expired at {timestamps.iso(self.not_after)}: clients refuse to connect"
        if now < self.not_before:
            return f"it is not valid before {timestamps.iso(self.not_before)}: clients refuse to connect"
        if self.not_after - now <= WARN_BEFORE:
            days = (self.not_after - now).days
            return f"it expires in {days} day{'s' * (days != 1)}, at {timestamps.iso(self.not_after)}"
        return None

    def is_current(self, now: datetime) -> bool:
        """Whether clients accept it at `now`."""
        return self.not_before <= now < self.not_after


def read(path: Path) -> Validity:
    """Return the names and validity of the first certificate in the PEM file `path`: that of the server.

    Raises:
        CertificateReadError: the file has no certificate, or cannot be read.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CertificateReadError(f"{path} cannot be read: {error.strerror or error}") from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> Validity:
    """Return what the first certificate in `content`, read from `path`, says. Raises as :func:`read` does."""
    from cryptography import x509  # 30 ms, which commands without TLS need not wait for

    try:
        own = x509.load_pem_x509_certificates(content)[0]
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise CertificateReadError(f"{path} holds no certificate in PEM form") from None
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return Validity(
        names=(*names.get_values_for_type(x509.DNSName), *addresses),
        not_before=own.not_valid_before_utc,
        not_after=own.not_valid_after_utc,
    )


def state(path: Path) -> dict[str, Any]:
    """Return what `gatherer status` says about the server's certificate in `path`, as plain values."""
    try:
        validity = read(path)
    except CertificateReadError as problem:
        return {
            "file": str(path),
            "names": [],
            "expires_at": None,
            "days_left": None,
            "warning": str(problem),
        }
    now = timestamps.now()
    return {
        "file": str(path),
        "names": list(validity.names),
        "expires_at": timestamps.iso(validity.not_after),
        "days_left": (validity.not_after - now).days,
        "warning": validity.warning(now),
    }
