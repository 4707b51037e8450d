"""Bodies inside of bodies: relays such as n8n, Zapier and Amazon SNS put what a provider posted into a wrapper.

A pointer says where in the wrapper the body of the provider is, or each of them. What it leads to is decoded as if it had
been posted alone; the paths are those in the whole body. A part at which the pointer leads nowhere is a rejection.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from gatherer.model.notification import Notification
from gatherer.model.records import Reason, Rejected
from gatherer.providers.base import Decode, Decoded, TooManyElementsError, reject, reject_body
from gatherer.providers.paths import Path, load_body
from gatherer.providers.payload import UnreadableBodyError, load_json
from gatherer.providers.pointer import Pointer
from gatherer.providers.signatures import BodyCheck, Headers


def decode_wrapped(
    notification: Notification, pointer: Pointer, decode: Decode, *, posts_forms: bool = False
) -> Decoded:
    """Return what `decode` makes of each body in `notification` to which `pointer` leads, in their order.

    Args:
        notification: with a wrapper.
        pointer: where in the wrapper the bodies are.
        decode: of the provider; it is called with a notification for each body.
        posts_forms: whether the provider posts forms.

    Raises:
        TooManyElementsError: the bodies have too many elements together.

    """
    provider = notification.provider
    try:
        found, missed = pointer.select(load_wrapper(notification.body))
    except UnreadableBodyError as error:
        return reject_body(notification, provider, str(error), Reason.UNREADABLE)
    if not found and not missed:
        return reject_body(notification, provider, f"{pointer} leads to nothing in this body", Reason.SHAPE)
    decoded = Decoded()
    decoded.reserve(len(found) + len(missed))
    missed_paths = {path for path, _ in missed}
    for path, value in sorted((*found, *missed), key=lambda part: part.path):
        if isinstance(value, UnreadableBodyError):  # a line of a body of several lines
            decoded.add(reject(notification, provider, path, str(value), Reason.UNREADABLE), path)
        elif path in missed_paths:
            reason = f"{pointer} leads to nothing here"
            decoded.add(reject(notification, provider, path, reason, Reason.SHAPE), path)
        else:
            body = _written(value, is_form=posts_forms)
            try:
                inner = decode(notification._replace(body=body))
            except TooManyElementsError:
                raise
            except Exception as defect:  # noqa: BLE001 - a defect in a decoder must not cost the other bodies
                reason = f"the decoder failed: {type(defect).__name__}"
                decoded.add(reject(notification, provider, path, reason, Reason.DECODER), path)
            else:
                _add(decoded, notification, path, inner)
    return decoded


def unwrapping_check(check: BodyCheck, body: Pointer, headers: Pointer, names: Sequence[str]) -> BodyCheck:
    """Return a check of the signatures inside of a wrapper that has kept the exact text of each body.

    Args:
        check: of the signature of one body.
        body: where the texts are: those that :func:`decode_wrapped` decodes.
        headers: where the headers of each are: an object, or the signature alone as a text.
        names: of the headers with a signature. A signature alone is that of the first.

    """

    def check_wrapped(_headers: Headers, content: bytes, url: str) -> bool:
        try:
            document = load_wrapper(content)
        except UnreadableBodyError:
            return False
        bodies, headers_of_bodies = body.select(document), headers.select(document)
        if bodies.missed or not bodies.found or len(bodies.found) != len(headers_of_bodies.found):
            return False
        return all(
            [
                isinstance(text, str) and check(_WrappedHeaders(values, names[0]), text.encode(), url)
                for (_, text), (_, values) in zip(bodies.found, headers_of_bodies.found, strict=True)
            ]
        )

    return check_wrapped


class _WrappedHeaders:
    """The headers that a relay has put beside a body."""

    def __init__(self, values: Any, name: str) -> None:
        """Take an object of headers, or the value of the header `name`."""
        fields = values if isinstance(values, dict) else {name: values}
        self._values = {field.lower(): value for field, value in fields.items()}

    def get(self, name: str, /) -> str | None:
        value = self._values.get(name.lower())
        if isinstance(value, list) and value:  # several headers of one name
            value = value[0]
        return value if isinstance(value, str) else None


def load_wrapper(body: bytes) -> Any:
    """Return the value of `body` in which pointers lead to the bodies inside.

    Raises:
        UnreadableBodyError: it is neither JSON nor lines of JSON nor a form.

    """
    try:
        return load_json(body)
    except UnreadableBodyError as error:
        try:
            return load_body(body)
        except UnreadableBodyError:
            raise error from None


def _add(decoded: Decoded, notification: Notification, path: Path, inner: Decoded) -> None:
    """Add the facts of the body at `path` to `decoded`, with the paths that they have in the whole body."""
    for fact, paths in inner.with_paths():
        whole_paths = [path + inner_path for inner_path in paths]
        if isinstance(fact, Rejected):  # it keeps the whole body
            fact = reject(notification, fact.provider, whole_paths[0], fact.reason, fact.reason_class)
        decoded.add(fact, *whole_paths)


def _written(value: Any, *, is_form: bool) -> bytes:
    """Return the body that a relay has parsed to `value`. A text is the body itself.

    Args:
        value: of JSON.
        is_form: whether the provider posts forms; relays write their parameters as an object.

    """
    if isinstance(value, str):
        return value.encode()
    if is_form and isinstance(value, dict):
        parameters = {name: part for name, part in value.items() if part is not None}
        if all(isinstance(part, str | int | float | list) for part in parameters.values()):
            return urlencode(parameters, doseq=True).encode()
    return msgspec.json.encode(value)
