"""What the clients of one listener may take of it, of time and of places."""

from dataclasses import dataclass
from typing import Final

LINGER_SECONDS: Final = 3  # to read on after a refusal: closing at once could cost the client the answer
STALLED_SECONDS: Final = 5  # for an answer that the client does not read, and for a close it does not follow
LONGEST_LINE: Final = 8190
MOST_HEADERS: Final = 128


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the clients of one listener may take of it."""

    header_timeout_seconds: float = 10  # for request line and headers, from their first byte on
    keepalive_timeout_seconds: float = 15  # from an answer to the first byte of the next request
    max_header_bytes: int = 16_384  # request line and headers together
    max_connections: int = 2000  # whoever has kept us waiting longest makes room for the next one
    tls_handshake_timeout_seconds: float = 10
    send_buffer_bytes: int | None = None  # of answers that are not read; None leaves it to the system
