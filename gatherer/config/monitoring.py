"""`[quarantine]` and `[admin]`: the size of the quarantine, and the listener for monitoring."""

from pydantic import Field, field_validator

from gatherer.config.base import Section, is_loopback


class Quarantine(Section):
    """The size of the quarantine, where endpoints store requests whose authentication failed."""

    max_rows: int = Field(10_000, ge=1, strict=True)
    """How many requests the quarantine holds; any more get a 401."""
    max_bytes: int = Field(104_857_600, ge=1, strict=True)
    """How large these requests may be together; any more get a 401."""


class Admin(Section):
    """The listener for monitoring on this machine; without a port there is none."""

    host: str = "127.0.0.1"
    """A loopback address: the metrics need no authentication."""
    port: int | None = Field(None, ge=0, le=65535, strict=True)
    """The TCP port of the metrics for Prometheus; 0 takes any free port. Left out: no metrics."""

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if not is_loopback(host):
            raise ValueError(
                "must be a loopback address, as in 127.0.0.1: the metrics need no authentication"
            )
        return host
