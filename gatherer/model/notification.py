"""The notification: one HTTP request exactly as it was received."""

import hashlib
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple


class Notification(NamedTuple):
    """One webhook request in an inbox. It may carry many elements, or none that we understand."""

    id: int  # position in its inbox: ascending, never reused; 0 when it is in no inbox
    inbox_id: str  # identity of that inbox; "" when it is in none
    received_at: datetime  # aware UTC, milliseconds
    endpoint: str  # name of the endpoint that took it
    provider: str  # name of the provider configured for that endpoint at the time
    body: bytes  # the request body, byte for byte
    content_type: str | None = None
    headers: str | None = None  # kept headers (signatures) as a JSON object; never Authorization
    remote: str | None = None  # address of the client, as trusted proxies report it
    received_digest: bytes | None = None  # `digest` of the body as received, if a part was erased since

    @property
    def is_erased(self) -> bool:
        """Whether all of it was about erased people, so that nothing of the body is left."""
        return self.received_digest is not None and not self.body

    def digest(self) -> bytes:
        """Return 16 bytes that distinguish this notification from any other at the same position."""
        if self.received_digest is not None:
            return self.received_digest
        content = hashlib.sha256(f"{self.received_at.isoformat()}\x1f{self.endpoint}\x1f".encode())
        content.update(self.body)
        return content.digest()[:16]


@lru_cache(maxsize=1)  # each rejection of a body asks for its key
def body_key(body: bytes) -> bytes:
    """Return 16 bytes that identify `body`, wherever and however often it was received."""
    return hashlib.sha256(body).digest()[:16]
