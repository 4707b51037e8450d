"""Asking the `gatherer serve` of another machine: certificates, the token, and which failures will pass."""

import logging
import random
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from gatherer import __version__
from gatherer.inbox.remote import protocol
from gatherer.model.errors import InboxError, TemporaryError

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60  # without a single byte
_WILL_PASS: Final = frozenset({408, 425, 429, *range(500, 600)})
_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "the token is not one of its [pull] tokens",
    HTTPStatus.FORBIDDEN: "something in between refuses the request",
    HTTPStatus.NOT_FOUND: "that is no [pull] of a gatherer that speaks version 1 of the protocol: is the URL right?",
}
_WHO: Final = re.compile(r"^(<[^>]*>|\w+\(host=[^)]*\)): ")  # which connection, as urllib3 writes it


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try again."""

    attempts: int = 5  # in a row, without anything new
    first_wait_seconds: float = 0.5  # doubles with each attempt
    longest_wait_seconds: float = 20.0


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an inbox is offered, and how to know that it is the right server."""

    url: str  # without a slash at its end
    token: str
    admin_token: str | None = None  # to have people erased there
    ca: Path | None = None  # file with the certificates that sign the server's; None: the usual ones
    pin: str | None = None  # SHA-256 of the server's certificate, in hex: then nobody needs to have signed it


class TransientError(Exception):
    """It did not work, and may work later."""

    def __init__(self, because: str, wait_seconds: float = 0) -> None:
        super().__init__(because)
        self.wait_seconds = wait_seconds  # as the server asks for


class Client:
    """Kept connections to one server."""

    def __init__(self, name: str, address: Address, *, patience: Patience = Patience()) -> None:
        """Connect when first needed. `name` is for messages."""
        self.name = f"inbox {name} at {address.url}"
        self.patience = patience
        self._closed = threading.Event()
        self._address = address
        self._session = requests.Session()
        self._session.headers.update(
            # What is sent is packed already.
            {"User-Agent": f"gatherer/{__version__}", "Accept-Encoding": "identity"}
        )
        if address.pin is not None:
            self._session.mount("https://", _Pinned(address.pin))
        # Each request says what to trust, so that no environment variable can say something else.
        self._verify: str | bool = str(address.ca) if address.ca is not None else address.pin is None

    def request(self, method: str, path: str, *, as_admin: bool = False, **request: Any) -> requests.Response:
        """Return the answer to one attempt, its head at least. `as_admin` shows the other token.

        Raises:
            TransientError: it failed, and may work later.
            InboxError: it failed, and trying again will not help.

        """
        with self.failing():
            response = self._session.request(
                method,
                f"{self._address.url}{path}",
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                verify=self._verify,
                auth=self._authorize_admin if as_admin else self._authorize,
                allow_redirects=False,
                **request,
            )
            if response.ok and not response.is_redirect and response.status_code < 300:
                return response
            with response:
                self._refused(response, as_admin=as_admin)
        raise AssertionError("unreachable")

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Tell the failures of the network in the block apart: those that pass, and those that do not."""
        try:
            yield
        except requests.exceptions.SSLError as error:
            if _is_about_the_certificate(error):
                raise InboxError(f"{self.name}: its certificate is not accepted: {_plain(error)}") from None
            raise TransientError(_plain(error)) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidProxyURL) as error:
            raise InboxError(f"{self.name}: {_plain(error)}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise TransientError(_plain(error)) from None
        except OSError as error:
            if self._address.ca is not None and not self._address.ca.is_file():
                raise InboxError(f"{self.name}: the file {self._address.ca} cannot be read") from None
            raise TransientError(str(error)) from None

    def with_retry(self, attempt: int, passing: TransientError) -> int:
        """Wait after a failed attempt, and return the number of the next one.

        Raises:
            TemporaryError: there is none: it did not help to wait.

        """
        if attempt >= self.patience.attempts:
            raise TemporaryError(
                f"{self.name}: {passing}; tried {attempt} times, nothing is lost, and the next run goes on"
            ) from None
        longest = min(self.patience.first_wait_seconds * 2**attempt, self.patience.longest_wait_seconds)
        asked = min(passing.wait_seconds, self.patience.longest_wait_seconds)
        wait = max(asked, random.uniform(longest / 2, longest))  # noqa: S311 - so that two do not meet again
        log.info("%s: %s; trying again in %.1f s", self.name, passing, wait)
        if self._closed.wait(wait):
            raise TemporaryError(f"{self.name}: {passing}") from None
        return attempt + 1

    def whole(self, response: requests.Response) -> bytes:
        """Return the body of `response`, which has a checksum in its head.

        Raises:
            TransientError: it did not arrive as it was sent.
            InboxError: it has no checksum: somebody else has answered.

        """
        with self.failing():
            content = response.content
        if "Content-Digest" not in response.headers:
            raise InboxError(f"{self.name}: that is no [pull] of a gatherer: is the URL right?")
        if response.headers.get("Content-Digest") != protocol.digest(content):
            raise TransientError("the checksum of an answer is wrong")
        return content

    def replaced(self) -> TemporaryError:
        """Return the error for an inbox that is no longer the one that was opened."""
        return TemporaryError(
            f"{self.name}: another inbox has taken its place during the run; the next run begins with that one"
        )

    def close(self) -> None:
        """Let go of the connections, and wait for nothing any more."""
        self._closed.set()
        self._session.close()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth`, because otherwise a .netrc would win.
        request.headers["Authorization"] = f"Bearer {self._address.token}"
        return request

    def _authorize_admin(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._address.admin_token}"
        return request

    def _refused(self, response: requests.Response, *, as_admin: bool) -> None:
        status, said = response.status_code, _first_line(response)
        if status in _WILL_PASS:
            raise TransientError(f"answered {status}{said}", _seconds(response.headers.get("Retry-After")))
        if status == HTTPStatus.CONFLICT:
            raise self.replaced()
        if 300 <= status < 400:
            said = f": it leads elsewhere, to {response.headers.get('Location')}: write that URL"
        elif status == HTTPStatus.UNAUTHORIZED and as_admin:
            said = ": the admin_token is not one of its [pull] admin_tokens"
        elif status in _ADVICE:
            said = f": {_ADVICE[status]}"
        raise InboxError(f"{self.name}: answered {status}{said}")


class _Pinned(HTTPAdapter):
    """Connections to a server that is known by its certificate alone, also through a proxy."""

    def __init__(self, pin: str) -> None:
        self._pin = pin
        super().__init__()

    def init_poolmanager(self, *positional: Any, **keywords: Any) -> None:
        super().init_poolmanager(*positional, **keywords, assert_fingerprint=self._pin)

    def proxy_manager_for(self, proxy: Any, **keywords: Any) -> Any:
        return super().proxy_manager_for(proxy, **keywords, assert_fingerprint=self._pin)


def _is_about_the_certificate(error: BaseException) -> bool:
    """Tell a certificate that is not trusted from a connection that was cut during its handshake."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ssl.SSLCertVerificationError) or "Fingerprints did not match" in str(one):
            return True
        waiting += [*one.args, one.__cause__, one.__context__, getattr(one, "reason", None)]
    return False


def _plain(error: BaseException) -> str:
    """Return the innermost reason that an error of requests or urllib3 has, in one line."""
    reason: BaseException = error
    for _ in range(8):
        inner = getattr(reason, "reason", None) or next(
            (one for one in reason.args if isinstance(one, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = " ".join(str(reason).split()) or type(reason).__name__
    return _WHO.sub("", text) or text


def _first_line(response: requests.Response) -> str:
    """Return what an answer that is no success says, as a clause; nothing if that is a page of a proxy's."""
    text = next(iter(response.iter_content(200)), b"").decode("utf-8", "replace").strip()
    plain = response.headers.get("Content-Type", "").startswith("text/plain")
    return f": {text.splitlines()[0]}" if plain and text else ""


def _seconds(header: str | None) -> float:
    return float(header) if header is not None and header.isdecimal() else 0
