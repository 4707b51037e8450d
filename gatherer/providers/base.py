"""The contract of a provider: from the bytes of one notification to records, without side effects."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Reason, Record, Rejected
from gatherer.providers.paths import WHOLE_BODY, Path, Paths, path_text
from gatherer.providers.signatures import BodyCheck, SignatureSettings

# The limits of one notification. They are counted, not timed: rows must not depend on the speed of a machine.
MAX_ELEMENTS: Final = 25_000  # Meta puts up to 1 000 into one request
MAX_MARKS: Final = (
    500_000  # brackets, commas, `&` and `%`: 20 000 receipts with conversation, price and error have fewer
)
MAX_REJECTIONS: Final = 100  # of single elements; one more rejection counts the rest


class TooManyElementsError(Exception):
    """A body has more elements than :data:`MAX_ELEMENTS`."""

    def __init__(self) -> None:
        super().__init__(f"the body has more than {MAX_ELEMENTS} elements")


class Decoded(list[Record | Rejected]):
    """What a decoder makes of a body: the record or the rejection of each element, in the order of the body.

    Each has paths: those of the parts of the body that it comes from. The first is the element's own. Others are
    outside of it, as is the entry of `contacts[]` that tells who the person is. None of them lies within another.
    What elements share, such as the account and our number, is not among them.
    """

    __slots__ = ("places",)
    fits: ClassVar[bool] = False  # whether no value can be longer than its column

    def __init__(self) -> None:
        # The path of an element and the further paths of its fact; or the path of an array, and for each of its
        # elements the path of its contact, if there is one. The paths of each fact are made when the caller wants
        # them: usually that is never.
        self.places: list[tuple[Path, Paths | list[Path | None]]] = []

    @property
    def paths(self) -> list[Paths]:
        """The paths of each record and rejection, in their order: a new list of them."""
        paths: list[Paths] = []
        for path, further in self.places:
            if isinstance(further, list):
                for i, contact in enumerate(further):
                    paths.append(((*path, i),) if contact is None else ((*path, i), contact))
            else:
                paths.append((path, *further))
        return paths

    def set_paths(self, paths: Iterable[Paths]) -> None:
        """Set the paths of all records and rejections, in their order."""
        self.places = [(own, tuple(further)) for own, *further in paths]

    def reserve(self, count: int) -> None:
        """Be called before `count` elements are decoded.

        Raises:
            TooManyElementsError: with them, the body has too many. The decoder must not catch it.

        """
        if len(self) + count > MAX_ELEMENTS:
            raise TooManyElementsError

    def add(self, fact: Record | Rejected, *paths: Path) -> None:
        """Append `fact`, which comes from the parts of the body at `paths`: one at least, the element's own first.

        Raises:
            TooManyElementsError: there are too many. The decoder must not catch it.

        """
        self.reserve(1)
        self.append(fact)
        self.places.append((paths[0], paths[1:]))

    def with_paths(self) -> Iterator[tuple[Record | Rejected, Paths]]:
        """Return each record and rejection with its paths."""
        return zip(self, self.paths, strict=True)


Decode: TypeAlias = Callable[[Notification], Decoded]

_SECRET_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """The response to a request whose notification is stored. Its status is always 200."""

    body: bytes = b""
    content_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One service whose webhooks we understand, and everything that the rest of the program knows about it.

    `decode` is pure: it depends on the notification alone, raises nothing, and turns every element of
    the body into exactly one record, one other event, or one rejection, in the order of the body.

    A provider that signs declares `secrets` and `signature`. Each name in `secrets` becomes a key of its
    endpoints in the configuration: a list of secrets, each written down or a reference to the environment or
    to a file. At an endpoint that has at least one of these keys, `signature` is called once, when
    `gatherer serve` starts; the check that it returns is called for each request with the headers, the bytes
    of the body and the requested URL. It compares in constant time and accepts nothing unless one secret of
    each configured name proves it.

    Raises:
        ValueError: a name in `secrets` cannot be a key, or one of `secrets` and `signature` is missing.

    """

    name: str  # lower case; the same word in configuration, tables, module and tests
    title: str  # as people write it
    decode: Decode
    reports: frozenset[str]  # response kinds and event families it can produce
    authentication: str  # how its requests prove where they come from
    on_refusal: str  # what it does when we do not answer 200
    retries: str  # for how long, how often
    documentation: str  # the module's docstring: set-up, mapping, quirks

    secrets: tuple[str, ...] = ()  # names of the secrets with which it signs, as in "app_secrets"
    signature: Callable[[SignatureSettings], BodyCheck] | None = None
    signature_headers: tuple[str, ...] = ()  # stored with each notification, as evidence
    acknowledgement: Acknowledgement = Acknowledgement()
    posts_forms: bool = False  # its bodies are application/x-www-form-urlencoded, not JSON
    verifies_url: bool = (
        False  # before it accepts a URL, it requests it with the verify token of the endpoint
    )

    def __post_init__(self) -> None:
        """Refuse a declaration that no configuration could satisfy."""
        for secret in self.secrets:
            if not _SECRET_NAME.fullmatch(secret):
                raise ValueError(f"the secret {secret!r} must be named by lower-case letters, digits and _")
        if bool(self.secrets) != (self.signature is not None):
            raise ValueError("secrets and signature belong together: declare both, or neither")


class ElementError(Exception):
    """An element that cannot become a record. Its siblings can."""

    def __init__(self, reason: str, reason_class: Reason = Reason.ELEMENT) -> None:
        super().__init__(reason)
        self.reason_class = reason_class


def reject(
    notification: Notification, provider: str, path: Path, reason: str, reason_class: Reason = Reason.ELEMENT
) -> Rejected:
    """Return the rejection of the element at `path` in the body of `notification`, for a `reason` of one sentence."""
    place = path_text(path)
    body = body_key(notification.body)
    identity = f"{provider}\x1f{place}\x1f{reason_class}\x1f".encode() + body
    return Rejected(
        key=hashlib.sha256(identity).digest()[:16],
        provider=provider,
        endpoint=notification.endpoint,
        inbox_id=notification.inbox_id,
        notification_id=notification.id,
        received_at=notification.received_at,
        path=place,
        reason_class=reason_class,
        reason=reason,
        body_key=body,
        body=notification.body,
        content_type=notification.content_type,
    )


def limit_rejections(notification: Notification, decoded: Decoded) -> Decoded:
    """Return `decoded` with no more than :data:`MAX_REJECTIONS` of single elements, and one that counts the rest.

    A rejection is a row of the target for perhaps two bytes of a body. Those that stay are the first in the body.
    """
    if len(decoded) <= MAX_REJECTIONS:
        return decoded
    rejected = sum(type(fact) is Rejected for fact in decoded)
    if rejected <= MAX_REJECTIONS:
        return decoded
    limited, remaining = Decoded(), MAX_REJECTIONS
    for fact, paths in decoded.with_paths():
        if type(fact) is Rejected:
            remaining -= 1
            if remaining < 0:
                continue
        limited.add(fact, *paths)
    reason = f"{rejected - MAX_REJECTIONS} more elements were rejected; the first {MAX_REJECTIONS} are listed"
    limited.add(reject(notification, notification.provider, WHOLE_BODY, reason, Reason.LIMIT), WHOLE_BODY)
    return limited


def reject_body(notification: Notification, provider: str, reason: str, reason_class: Reason) -> Decoded:
    """Return what a decoder makes of a body of which it can read nothing: one rejection of the whole."""
    decoded = Decoded()
    decoded.add(reject(notification, provider, WHOLE_BODY, reason, reason_class), WHOLE_BODY)
    return decoded
