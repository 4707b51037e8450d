"""`[server]` and `[inbox]`: where webhooks are received, and where they are stored."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, IPvAnyNetwork, ValidationInfo, field_validator, model_validator

from gatherer.config.base import Host, ResolvedPath, Section
from gatherer.config.secret import Secret

# Each key needs the other. Without client_ca, for example, client_names would not restrict who can connect.
_NEEDS: Final = (
    ("tls_certificate", "tls_key"),
    ("tls_key", "tls_certificate"),
    ("tls_key_password", "tls_key"),
    ("client_ca", "tls_certificate"),
    ("client_names", "client_ca"),
)


class Server(Section):
    """Where and how `gatherer serve` listens."""

    host: Host = "127.0.0.1"
    """The address to listen at. Other machines reach it only with TLS or behind a web server: see
    `tls_certificate`."""
    port: int = Field(8080, ge=0, le=65535, strict=True)
    """The TCP port to listen at; 0 takes any free port."""
    max_body_bytes: int = Field(4_194_304, ge=1024, strict=True)
    """The largest body of a request. The response to a larger one is 413. Meta sends up to 3 MB."""
    body_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    """The time for a body to arrive completely; then the response is 408."""
    trusted_proxies: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.1")]
    """Addresses or networks of web servers in front, whose `X-Forwarded-…` headers are believed."""
    # TLS in the process.
    tls_certificate: ResolvedPath | None = None
    """A PEM file with the certificate and its chain, for TLS without a web server in front. A renewed file
    is used from the next connection on."""
    tls_key: ResolvedPath | None = None
    """The PEM file with the key of `tls_certificate`."""
    tls_key_password: Secret | None = None
    """The password of `tls_key`, if it is encrypted."""
    client_ca: ResolvedPath | None = None
    """A PEM file. Only clients with a certificate issued by one of these authorities can connect."""
    client_names: list[Annotated[str, Field(min_length=1)]] = []  # left out, not empty: every name
    """Of the clients that `client_ca` lets connect, only those whose certificate has one of these names.
    Left out: all of them."""
    # Limits for each client.
    header_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    """The time for the first line and the headers of a request to arrive."""
    keepalive_timeout_seconds: float = Field(15, gt=0, strict=True, allow_inf_nan=False)
    """The time for the next request on the same connection."""
    tls_handshake_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    """The time for the TLS handshake."""
    max_header_bytes: int = Field(16_384, ge=1024, le=1_048_576, strict=True)
    """The largest first line and headers of a request, together; then the response is 431."""
    max_connections: int = Field(2000, ge=10, strict=True)
    """How many connections may be open. When all are in use, those that have sent nothing for the longest
    time are closed."""
    max_arriving_bytes: int = Field(268_435_456, ge=1_048_576, strict=True)
    """How many bytes of unfinished bodies are held in memory. Beyond that, the slowest request gets a 503."""

    @model_validator(mode="after")
    def _whole(self) -> "Server":
        if "client_names" in self.model_fields_set and not self.client_names:
            raise ValueError(
                "client_names is empty: list the names that can connect, or leave it out to accept all of client_ca"
            )
        for name, needed in _NEEDS:
            if getattr(self, name) and not getattr(self, needed):
                raise ValueError(f"{name} has no effect without {needed}")
        return self


class Inbox(Section):
    """The log of notifications between `serve` and `gather`."""

    path: ResolvedPath = Field(Path("inbox.db"), validate_default=True)
    """The SQLite file, on a local disk, never on a network share."""
    max_inbox_bytes: int = Field(0, ge=0, strict=True)
    """How many bytes of notifications the inbox may hold. Beyond that, `serve` purges what every consumer
    has read, else the response is 503; 0: no limit."""
    min_free_bytes: int = Field(268_435_456, ge=0, strict=True)
    """How much of the disk stays free: below that, the response is 503; 0: no limit."""
    max_queue_rows: int = Field(10_000, ge=1, strict=True)
    """How many requests may wait for the disk; any more get a 503."""
    max_queue_bytes: int = Field(67_108_864, ge=1, strict=True)
    """How large the requests that wait for the disk may be together; any more get a 503."""
    max_commit_bytes: int = Field(16_777_216, ge=1, strict=True)
    """How many bytes are written to the disk in one transaction."""
    commit_timeout_seconds: float = Field(4, gt=0, le=60, strict=True, allow_inf_nan=False)
    """The time for the disk to store a request; then the response is 503, before the provider gives up."""
    keep_days: int = Field(30, ge=1, le=36500, strict=True)
    """After so many days, what every consumer has read is purged."""
    keep_days_at_most: int | None = Field(None, ge=1, le=36500, strict=True)
    """After so many days, notifications are purged even if no consumer has read them, with a warning that
    says LOST. Left out: never."""
    group: str | None = Field(None, min_length=1)
    """Linux: accounts of this group share the inbox. On Windows use the access control list of the folder."""

    @field_validator("keep_days_at_most")
    @classmethod
    def _not_less(cls, days: int | None, info: ValidationInfo) -> int | None:
        if days is not None and days < info.data.get("keep_days", 0):
            raise ValueError("must not be less than keep_days")
        return days
