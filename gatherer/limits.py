"""What the clients of one listener may take of it, of time and of places."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the clients of one listener may take of it."""

    header_timeout_seconds: float = 10  # for request line and headers, from their first byte on
    keepalive_timeout_seconds: float = 15  # from an answer to the first byte of the next request
    max_header_bytes: int = 16_384  # request line and headers together
    max_connections: int = 2000  # whoever has kept us waiting longest makes room for the next one
    tls_handshake_timeout_seconds: float = 10
    send_buffer_bytes: int | None = (
        None  # what the system keeps of answers that are not read; None leaves it to it
    )
