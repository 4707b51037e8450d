"""`[server]` and `[inbox]`: where webhooks are received, and where they are kept."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, IPvAnyNetwork, ValidationInfo, field_validator, model_validator

from gatherer.config.base import ResolvedPath, Section
from gatherer.config.secret import Secret

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
    client_names: list[Annotated[str, Field(min_length=1)]] = []  # left out, not empty: every name
    # What clients may take of it.
    header_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    keepalive_timeout_seconds: float = Field(15, gt=0, strict=True, allow_inf_nan=False)
    tls_handshake_timeout_seconds: float = Field(10, gt=0, strict=True, allow_inf_nan=False)
    max_header_bytes: int = Field(16_384, ge=1024, le=1_048_576, strict=True)
    max_connections: int = Field(2000, ge=10, strict=True)
    max_arriving_bytes: int = Field(268_435_456, ge=1_048_576, strict=True)

    @model_validator(mode="after")
    def _whole(self) -> "Server":
        if "client_names" in self.model_fields_set and not self.client_names:
            raise ValueError(
                "client_names is empty: name who may come in, or leave it out to let in all of client_ca"
            )
        for name, needed in _NEEDS:
            if getattr(self, name) and not getattr(self, needed):
                raise ValueError(f"{name} is of no use without {needed}")
        return self


class Inbox(Section):
    """The log of notifications between `serve` and `gather`."""

    path: ResolvedPath = Field(Path("inbox.db"), validate_default=True)
    max_inbox_bytes: int = Field(0, ge=0, strict=True)
    min_free_bytes: int = Field(268_435_456, ge=0, strict=True)
    max_queue_rows: int = Field(10_000, ge=1, strict=True)
    max_queue_bytes: int = Field(67_108_864, ge=1, strict=True)
    max_commit_bytes: int = Field(16_777_216, ge=1, strict=True)
    commit_timeout_seconds: float = Field(4, gt=0, le=60, strict=True, allow_inf_nan=False)
    keep_days: int = Field(30, ge=1, le=36500, strict=True)
    keep_days_at_most: int | None = Field(None, ge=1, le=36500, strict=True)
    group: str | None = Field(None, min_length=1)

    @field_validator("keep_days_at_most")
    @classmethod
    def _not_less(cls, days: int | None, info: ValidationInfo) -> int | None:
        if days is not None and days < info.data.get("keep_days", 0):
            raise ValueError("must not be less than keep_days")
        return days
