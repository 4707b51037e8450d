"""`[pull]`: the listener from which `gatherer gather` on another machine reads the inbox."""

from pydantic import Field, model_validator

from gatherer.config.base import Host, ResolvedPath, Section, is_loopback
from gatherer.config.secret import Secret


class Pull(Section):
    """Where `gatherer serve` offers its inbox, and which clients can read it."""

    host: Host = "127.0.0.1"
    """The address to listen at. Any other than a loopback address needs `tls_certificate`."""
    port: int = Field(8443, ge=0, le=65535, strict=True)
    """The TCP port to listen at; 0 takes any free port."""
    tokens: list[Secret] = Field(min_length=1)
    """A client with one of these tokens can read the inbox. List two while a token is exchanged."""
    admin_tokens: list[Secret] = []
    """A client with one of these tokens can also erase people: `gatherer privacy erase`."""
    tls_certificate: ResolvedPath | None = None
    """A PEM file with the certificate and its chain. A renewed file needs no restart."""
    tls_key: ResolvedPath | None = None
    """The PEM file with the key of `tls_certificate`."""

    @model_validator(mode="after")
    def _private(self) -> "Pull":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both, or neither")
        if self.tls_certificate is None and not is_loopback(self.host):
            raise ValueError(
                f"other machines can reach {self.host}: set tls_certificate and tls_key, "
                "or listen at 127.0.0.1 behind a web server with a certificate"
            )
        return self
