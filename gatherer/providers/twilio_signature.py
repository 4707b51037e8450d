"""Twilio's signature, `X-Twilio-Signature`: HMAC-SHA1 of the URL and the parameters, with the Auth Token.

https://www.twilio.com/docs/usage/webhooks/webhooks-security, and what Twilio's own libraries do beyond it:
each different value of a repeated parameter counts once, and the URL may or may not name its port. Where
Twilio posts something else than a form, the URL carries the SHA-256 of the body in place of the parameters.
"""

import base64
import hashlib
import hmac
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gatherer.providers.signatures import BodyCheck, Headers, SignatureSettings, equals_any, header_bytes

SECRETS: Final = "twilio_auth_tokens"
HEADER: Final = "X-Twilio-Signature"
MAX_PARAMETERS: Final = 1000  # of a signed form; Twilio posts a few dozen
_PORT: Final = re.compile(r":\d+\Z")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}
_BODY_HASH: Final = re.compile(r"[?&]bodySHA256=([0-9A-Fa-f]{64})(?:&|\Z)")


def signature(settings: SignatureSettings) -> BodyCheck:
    """Return the check of the signature, with any of the Auth Tokens."""
    tokens = [token.encode() for token in settings.secrets[SECRETS]]
    basic = f"{settings.basic}@" if settings.basic else ""

    def check(headers: Headers, body: bytes, url: str) -> bool:
        given = headers.get(HEADER)
        if not given:
            return False
        form = (headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        claimed = _BODY_HASH.search(url)
        if claimed and form != "application/x-www-form-urlencoded":
            parameters: bytes | None = b""
            intact = hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed[1].lower())
        else:
            parameters = _sorted_parameters(body)
            intact = parameters is not None
        accepted = [
            base64.b64encode(hmac.digest(token, header_bytes(signed) + (parameters or b""), hashlib.sha1))
            for signed in _spellings(_public_url(url, settings), basic)
            for token in tokens
        ]
        return equals_any(header_bytes(given), accepted) and intact

    return check


def _sorted_parameters(body: bytes) -> bytes | None:
    """Return the names and values of a form as Twilio signs them; None if it has more than `MAX_PARAMETERS`."""
    fields = body.split(b"&", MAX_PARAMETERS)
    if len(fields) > MAX_PARAMETERS:
        return None
    halves = (field.replace(b"+", b" ").partition(b"=") for field in fields)
    pairs = {(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in halves}
    return b"".join(name + value for name, value in sorted(pairs))


def _public_url(requested: str, settings: SignatureSettings) -> str:
    """Return the URL that Twilio was given: `public_url` with the key and the query of the `requested` URL."""
    if settings.public_url is None:
        return requested
    base, _, query = settings.public_url.partition("#")[0].partition("?")
    query = requested.partition("?")[2] or query
    if settings.url_key is not None and not base.endswith(f"/{settings.url_key}"):
        base += f"/{settings.url_key}"
    return f"{base}?{query}" if query else base


def _spellings(url: str, basic: str) -> list[str]:
    """Return `url` with and without its port, and with and without `basic` (user and password) if not empty."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host = _PORT.sub("", authority)
    authorities = dict.fromkeys((authority, host, host + _DEFAULT_PORTS.get(scheme, "")))
    users = dict.fromkeys(("", basic))
    return [f"{scheme}://{user}{authority}{slash}{path}" for user in users for authority in authorities]
