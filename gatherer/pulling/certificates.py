"""The certificate of the pull listener: loaded, and loaded again when its file changes, without a restart."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

from gatherer.errors import ConfigurationError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15


class Certificate:
    """A certificate with its chain, and its key; `context` always has the latest that could be loaded."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both.

        Raises:
            ConfigurationError: one cannot be read, or they do not belong together.

        """
        self._files = (certificate, key)
        self._seen = self._state()
        try:
            self.context = self._load()
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"pull.tls_certificate {certificate} and tls_key {key}: {error}"
            ) from None

    async def watch(self) -> None:
        """Load the files anew whenever they change; for as long as the server runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Load the files anew if they have changed. Files that are wrong are reported; the old ones stay in use."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._load()  # first into another one: what is wrong would end all handshakes of this one
            self.context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as error:
            log.error("%s has changed and cannot be used, the one before stays: %s", self._files[0], error)
        else:
            log.info("%s has changed and is in use", self._files[0])

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files, password=_no_password)
        return context

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(path) for path in self._files]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _no_password() -> str:
    """Nobody is there to type one, and OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted: store it without a password, readable by this account only")
