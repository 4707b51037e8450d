"""The providers: one module for each, from the bytes of a notification to records.

A new provider is its own module, one line in `BUILT_IN`, one folder of payloads under `tests/payloads` (with a
signed request in `signature.toml`, if it signs) and one line in `tests/providers/counting.py`. The contract tests
in `tests/providers` then prove it like all others. What several providers pass on from WhatsApp unchanged is
decoded by the modules of `whatsapp/`.

`Provider` declares everything that the configuration, `gatherer serve` and the warnings need to know about it.
A package of another author registers such an object under the entry-point group `gatherer.providers`, as in
`acme = acme_gatherer:PROVIDER`; the name of the entry point is the name of the provider.
"""

from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, TypeAlias

from gatherer.model import widths
from gatherer.model.errors import ConfigurationError
from gatherer.model.notification import Notification
from gatherer.model.records import Reason
from gatherer.providers.base import (
    MAX_ELEMENTS,
    MAX_MARKS,
    Decode,
    Decoded,
    Provider,
    TooManyElementsError,
    limit_rejections,
    reject_body,
)
from gatherer.providers.pointer import Pointer
from gatherer.providers.unwrap import decode_wrapped

BUILT_IN: Final = {
    "meta": "gatherer.providers.meta",
    "onprem": "gatherer.providers.onprem",
    "wati": "gatherer.providers.wati",
    "enablex": "gatherer.providers.enablex",
    "twilio": "gatherer.providers.twilio",
    "infobip": "gatherer.providers.infobip",
    "json": "gatherer.providers.mapped_json",
}
_COMPOSING: Final = frozenset({"json"})
_MARKS: Final = (b"{", b"[", b",", b"&", b"%")
GROUP: Final = "gatherer.providers"

# Decoders that the configuration makes, by the name of the endpoint and the provider
EndpointDecoders: TypeAlias = Mapping[tuple[str, str], Decode]
NO_DECODERS: Final[EndpointDecoders] = MappingProxyType({})

# Where in a wrapper the body of the provider is, by the name of the endpoint
Wrappers: TypeAlias = Mapping[str, Pointer]
NO_WRAPPERS: Final[Wrappers] = MappingProxyType({})


def names() -> list[str]:
    """Return the names of all providers, built in and registered by other packages."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


@cache
def get(name: str) -> Provider:
    """Return the provider called `name`.

    Raises:
        ConfigurationError: there is no provider of this name, or the package that registers it is broken.

    """
    if name in BUILT_IN:
        return import_module(BUILT_IN[name]).PROVIDER  # type: ignore[no-any-return]
    for point in entry_points(group=GROUP, name=name):
        return _load(point)
    raise ConfigurationError(f"there is no provider {name!r}; there are: {', '.join(names())}")


def _load(point: EntryPoint) -> Provider:
    """Return the provider that the package of another author registers."""
    try:
        provider = point.load()
    except Exception as error:
        raise ConfigurationError(
            f"the provider {point.name!r} ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(provider, Provider):
        raise ConfigurationError(
            f"the provider {point.name!r} ({point.value}) is not a gatherer.providers.base.Provider"
        )
    if provider.name != point.name:
        raise ConfigurationError(
            f"the provider {point.name!r} ({point.value}) calls itself {provider.name!r}"
        )
    return provider


def decode(
    notification: Notification,
    endpoint_decoders: EndpointDecoders = NO_DECODERS,
    wrappers: Wrappers = NO_WRAPPERS,
) -> Decoded:
    """Decode `notification` with the provider it was stored for. Raises nothing.

    Args:
        notification: what to decode.
        endpoint_decoders: take the place of the provider's decoder for notifications of their endpoint and provider.
        wrappers: of the endpoints whose notifications have one.

    """
    name = notification.provider
    try:
        decode_body = endpoint_decoders.get((notification.endpoint, name)) or get(name).decode
        if (pointer := wrappers.get(notification.endpoint)) is not None:
            decode_body = partial(
                decode_wrapped, pointer=pointer, decode=decode_body, posts_forms=get(name).posts_forms
            )
    except ConfigurationError as error:
        return reject_body(notification, name, str(error), Reason.UNKNOWN_PROVIDER)
    body = notification.body
    if len(body) > MAX_MARKS and (marks := sum(map(body.count, _MARKS))) > MAX_MARKS:
        reason = f"the body has {marks} brackets, commas and separators, more than {MAX_MARKS}"
        return reject_body(notification, name, reason, Reason.LIMIT)
    try:
        decoded = decode_body(notification)
        if len(decoded) > MAX_ELEMENTS:
            raise TooManyElementsError
        # A mapping of the configuration can put any part of the body into any column, as can another author's decoder.
        if not decoded.fits and (
            name in _COMPOSING or name not in BUILT_IN or widths.may_be_long(body, decoded)
        ):
            widths.fit(decoded, 2 * len(body))
        return limit_rejections(notification, decoded)
    except TooManyElementsError as error:
        return reject_body(notification, name, str(error), Reason.LIMIT)
    except Exception as defect:  # noqa: BLE001 - a defect in a decoder must not stop the run
        reason = f"the decoder failed: {type(defect).__name__}"
        return reject_body(notification, name, reason, Reason.DECODER)
