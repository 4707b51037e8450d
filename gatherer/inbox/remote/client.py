"""HTTP requests to the pull listener of another machine: certificates, the token, and which errors are transient.

urllib3 does not repeat a request here. It could not repeat the cases that matter: a response that was cut off, or whose
checksum is wrong. Two layers of retries would multiply the attempts, and `close` could not end a wait inside urllib3.
"""

import logging
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
import urllib3
from requests.adapters import HTTPAdapter

from gatherer import __version__
from gatherer.inbox.remote import protocol
from gatherer.model.errors import InboxError, TemporaryError
from gatherer.model.retry import RetryPolicy

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS: Final = 10
READ_SECONDS: Final = 60  # without a byte from the server
RETRY_POLICY: Final = RetryPolicy(attempts=5, first_wait_seconds=0.5, longest_wait_seconds=20.0)
_TRANSIENT: Final = frozenset({408, 425, 429, *range(500, 600)})
_ADVICE: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "the token is not one of its [pull] tokens",
    HTTPStatus.FORBIDDEN: "a proxy or firewall refuses the request",
    HTTPStatus.NOT_FOUND: "the URL is not that of a [pull] that speaks version 1 of the protocol: is it right?",
}
_CONNECTION: Final = re.compile(r"^(<[^>]*>|\w+\(host=[^)]*\)): ")  # how urllib3 begins a message


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URL of a pull listener, and how to authenticate it and to it."""

    url: str  # without a slash at its end
    token: str
    admin_token: str | None = None  # needed to erase persons from that inbox
    ca: Path | None = None  # file with the accepted certificate authorities; None: those of certifi
    pin: str | None = (
        None  # SHA-256 of the server's certificate, in hex; it replaces the check of the authority
    )


class TransientError(Exception):
    """A request failed, and may succeed later."""

    def __init__(self, reason: str, wait_seconds: float = 0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds  # as the server requested by Retry-After


class Client:
    """Persistent connections to the pull listener of one server."""

    def __init__(self, name: str, address: Address, *, retry_policy: RetryPolicy = RETRY_POLICY) -> None:
        """Connect when the first request is sent. `name` is for messages."""
        self.name = f"inbox {name} at {address.url}"
        self.retry_policy = retry_policy
        self._closed = threading.Event()
        self._address = address
        self._session = requests.Session()
        self._session.headers.update(
            # Frames are compressed already.
            {"User-Agent": f"gatherer/{__version__}", "Accept-Encoding": "identity"}
        )
        if address.pin is not None:
            self._session.mount("https://", _Pinned(address.pin))
        # Passed with each request: otherwise an environment variable could replace it.
        self._verify: str | bool = str(address.ca) if address.ca is not None else address.pin is None

    def request(self, method: str, path: str, *, as_admin: bool = False, **request: Any) -> requests.Response:
        """Send one request; return the response, of which at least the head has arrived. `as_admin` sends the admin token.

        Raises:
            TransientError: the request failed, and may succeed later.
            InboxError: the request failed, and repeating it will not help.

        """
        with self.translate_errors():
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
                self._raise_for_status(response, as_admin=as_admin)
        raise AssertionError("unreachable")

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise network errors of the block as TransientError, or as InboxError where repeating will not help."""
        try:
            yield
        except requests.exceptions.SSLError as error:
            if _is_certificate_error(error):
                raise InboxError(f"{self.name}: its certificate is not accepted: {_reason(error)}") from None
            raise TransientError(_reason(error)) from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidProxyURL) as error:
            raise InboxError(f"{self.name}: {_reason(error)}") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise TransientError(_reason(error)) from None
        except OSError as error:
            if self._address.ca is not None and not self._address.ca.is_file():
                raise InboxError(f"{self.name}: the file {self._address.ca} cannot be read") from None
            raise TransientError(str(error)) from None

    def with_retry(self, operation: Callable[[], T]) -> T:
        """Return what `operation` returns; repeat it while it raises TransientError and the policy allows.

        Raises:
            TemporaryError: the last attempt failed.

        """
        attempt = 1
        while True:
            try:
                return operation()
            except TransientError as error:
                self.wait_for_retry(attempt, error)
                attempt += 1

    def wait_for_retry(self, attempt: int, error: TransientError) -> None:
        """Wait after attempt number `attempt` (the first is 1) failed with `error`.

        Raises:
            TemporaryError: the policy allows no further attempt, or the client is being closed.

        """
        wait = self.retry_policy.wait_seconds(attempt, requested=error.wait_seconds)
        if wait is None:
            raise TemporaryError(
                f"{self.name}: {error}; tried {attempt} times, nothing is lost, and the next run continues"
            ) from None
        log.info("%s: %s; trying again in %.1f s", self.name, error, wait)
        if self._closed.wait(wait):
            raise TemporaryError(f"{self.name}: {error}") from None

    def read_verified(self, response: requests.Response) -> bytes:
        """Return the body of `response`, checked against its header `Content-Digest`.

        Raises:
            TransientError: the checksum is wrong.
            InboxError: there is no checksum: the response does not come from gatherer.

        """
        with self.translate_errors():
            content = response.content
        if "Content-Digest" not in response.headers:
            raise InboxError(f"{self.name}: the URL is not that of a [pull] of a gatherer: is it right?")
        if response.headers.get("Content-Digest") != protocol.digest(content):
            raise TransientError("the checksum of a response is wrong")
        return content

    def replaced_error(self) -> TemporaryError:
        """Return the error that says that another inbox has replaced the opened one."""
        return TemporaryError(
            f"{self.name}: another inbox replaced it during the run; the next run begins with that one"
        )

    def close(self) -> None:
        """Close the connections, and end every wait before a retry."""
        self._closed.set()
        self._session.close()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth`: otherwise the credentials of a .netrc would replace the header.
        request.headers["Authorization"] = f"Bearer {self._address.token}"
        return request

    def _authorize_admin(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._address.admin_token}"
        return request

    def _raise_for_status(self, response: requests.Response, *, as_admin: bool) -> None:
        status, detail = response.status_code, _first_line(response)
        if status in _TRANSIENT:
            raise TransientError(f"answered {status}{detail}", _seconds(response.headers.get("Retry-After")))
        if status == HTTPStatus.CONFLICT:
            raise self.replaced_error()
        if 300 <= status < 400:
            detail = f": it redirects to {response.headers.get('Location')}: configure that URL"
        elif status == HTTPStatus.UNAUTHORIZED and as_admin:
            detail = ": the admin_token is not one of its [pull] admin_tokens"
        elif status in _ADVICE:
            detail = f": {_ADVICE[status]}"
        raise InboxError(f"{self.name}: answered {status}{detail}")


class _Pinned(HTTPAdapter):
    """Connections to a server that is authenticated by the fingerprint of its certificate, also through a proxy."""

    def __init__(self, pin: str) -> None:
        self._pin = pin
        super().__init__()

    def init_poolmanager(self, *positional: Any, **keywords: Any) -> None:
        super().init_poolmanager(*positional, **keywords, assert_fingerprint=self._pin)

    def proxy_manager_for(self, proxy: Any, **keywords: Any) -> Any:
        return super().proxy_manager_for(proxy, **keywords, assert_fingerprint=self._pin)


def _is_certificate_error(error: BaseException) -> bool:
    """Return whether `error` is about an untrusted certificate, not about a connection cut during the handshake."""
    visited: set[int] = set()
    pending: list[object] = [error]
    while pending:
        cause = pending.pop()
        if not isinstance(cause, BaseException) or id(cause) in visited:
            continue
        visited.add(id(cause))
        if isinstance(cause, ssl.SSLCertVerificationError) or "Fingerprints did not match" in str(cause):
            return True
        pending += [*cause.args, cause.__cause__, cause.__context__, getattr(cause, "reason", None)]
    return False


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause of an error of requests or urllib3, in one line."""
    reason: BaseException = error
    for _ in range(8):
        inner = getattr(reason, "reason", None) or next(
            (cause for cause in reason.args if isinstance(cause, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = " ".join(str(reason).split()) or type(reason).__name__
    return _CONNECTION.sub("", text) or text


def _first_line(response: requests.Response) -> str:
    """Return the first line of an error response as a clause; "" if it is not plain text, as an error page of a proxy."""
    text = next(iter(response.iter_content(200)), b"").decode("utf-8", "replace").strip()
    is_plain = response.headers.get("Content-Type", "").startswith("text/plain")
    return f": {text.splitlines()[0]}" if is_plain and text else ""


def _seconds(header: str | None) -> float:
    return float(header) if header is not None and header.isdecimal() else 0
