"""`[server]` and `[inbox]`: where webhooks are received, and where they are kept."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, IPvAnyNetwork, model_validator

from gatherer.config.base import ResolvedPath, Section
from gatherer.secret import Secret

# Failing closed: client_names alone would let everybody in.
_NEEDS: Final = (
    ("tls_certificate", "tls_key"),
    ("tls_key", "tls_certificate"),
    ("tls_key_password", "tls_key"),
    ("client_ca", "tls_certificate"),
    ("client_names", "client_ca"),
)


class Server(Section):
    """Where and how `gatherer serve` listens."""

    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8080, ge=0, le=65535, strict=True)
    max_body_bytes: int = Field(4_194_304, ge=1024, strict=True)
    body_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    trusted_proxies: list[IPvAnyNetwork] = [ipaddress.ip_network("127.0.0.1")]
    # TLS in the process.
    tls_certificate: ResolvedPath | None = None
    tls_key: ResolvedPath | None = None
    tls_key_password: Secret | None = None
    client_ca: ResolvedPath | None = None
    client_names: list[Annotated[str, Field(min_length=1)]] = []
    # What clients may take of it.
    header_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    keepalive_timeout_seconds: float = Field(15, gt=0, strict=True, allow_inf_nan=False)
    tls_handshake_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    max_header_bytes: int = Field(16_384, ge=1024, le=1_048_576, strict=True)
    max_connections: int = Field(2000, ge=10, strict=True)
    max_arriving_bytes: int = Field(268_435_456, ge=1_048_576, strict=True)

    @model_validator(mode="after")
    def _whole(self) -> "Server":
        for name, needed in _NEEDS:
            if getattr(self, name) and not getattr(self, needed):
                raise ValueError(f"{name} is of no use without {needed}")
        return self


class Inbox(Section):
    """The log of notifications between `serve` and `gather`."""

    path: ResolvedPath = Field(Path("inbox.db"), validate_default=True)
