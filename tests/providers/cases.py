"""Payload cases: `tests/payloads/<provider>/<case>.json` beside `<case>.records.json`.

A payload is a body exactly as it is posted: `.json`, `.raw` (not JSON, or not quite), or `.form`.
The expectation is a list with one object for each record or rejection, in order. It is written to be read:

    table          response, template_event, flow_event, account_event, other_event or rejected
    other fields   as they are in the record; what is None is left out, so is `is_test: false`, and what every
                   record of a case shares with its notification (provider, endpoint, ids, received_at)
    times          ISO-8601, milliseconds, Z
    key            left out; the contract proves keys by what is the same fact and what is not
    errors, details   the JSON itself instead of its text; `"$.entry[0]…"` stands for that part of the payload

The provider `json` needs a mapping: one of `config/providers/`, or that of the made-up service `courier`. It is the
one whose name is among the words of the name of the case, and the endpoint of its notification has that name.
"""

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gatherer import providers
from gatherer.config import Endpoint
from gatherer.model import timestamps
from gatherer.model.notification import Notification
from gatherer.model.records import Record, Rejected
from gatherer.providers import mapped_json
from gatherer.providers.base import Decode, Decoded

FOLDER = Path(__file__).parent.parent / "payloads"
RECEIVED_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CONTENT_TYPES = {
    ".json": "application/json",
    ".raw": "application/json",
    ".form": "application/x-www-form-urlencoded",
}
SHARED = frozenset(
    [
        "key",
        "provider",
        "endpoint",
        "inbox_id",
        "notification_id",
        "received_at",
        "body_key",
        "body",
        "content_type",
    ]
)
JSON_TEXT = frozenset({"errors", "details"})


def _mappings(files: Iterable[Path]) -> dict[str, mapped_json.BodyMapping]:
    """Return the mapping in each of the TOML `files`, by the name of its endpoint."""
    endpoints = [
        Endpoint.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))["endpoint"][0])
        for file in files
    ]
    return {
        endpoint.name: endpoint.mapping.body_mapping(endpoint.name)
        for endpoint in endpoints
        if endpoint.mapping is not None
    }


READY_MAPPINGS = FOLDER.parent.parent / "config" / "providers"
MAPPINGS = _mappings([*sorted(READY_MAPPINGS.glob("*.toml")), FOLDER / "json" / "courier.toml"])
ENDPOINTS = {"json": tuple(MAPPINGS)}  # of the other providers, "endpoint"
AGAIN = "-again"  # another endpoint of the same service
ENDPOINT_DECODERS = {
    (name + suffix, "json"): mapped_json.decoder(mapping)
    for name, mapping in MAPPINGS.items()
    for suffix in ("", AGAIN)
}


def endpoints(provider: str) -> tuple[str, ...]:
    """Return the names of endpoints of `provider`: one for each way in which it decodes."""
    return ENDPOINTS.get(provider, ("endpoint",))


def decoder(received: Notification) -> Decode:
    """Return the decoder of `received`, without the protection of `providers.decode` against its defects."""
    name = received.provider
    return ENDPOINT_DECODERS.get((received.endpoint, name)) or providers.get(name).decode


def decode(received: Notification) -> Decoded:
    """Return what becomes of `received`, with the mappings of the provider `json`."""
    return providers.decode(received, ENDPOINT_DECODERS)


@dataclass(frozen=True)
class Case:
    """One payload file and the records it has to become."""

    provider: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.path.stem}"

    @property
    def body(self) -> bytes:
        return self.path.read_bytes()

    @property
    def expectation(self) -> Path:
        return self.path.with_suffix(".records.json")

    @property
    def expected(self) -> list[dict[str, Any]]:
        return json.loads(self.expectation.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    @property
    def endpoint(self) -> str:
        """The name of the endpoint that has received the payload."""
        names = endpoints(self.provider)
        return next((name for name in names if name in self.path.stem.split("_")), names[0])

    def notification(self, provider: str | None = None, **changes: Any) -> Notification:
        content_type = CONTENT_TYPES[self.path.suffix]
        changes.setdefault("endpoint", self.endpoint)
        return notification(self.body, provider or self.provider, content_type, **changes)

    def decode(self) -> Decoded:
        return decode(self.notification())


def notification(
    body: bytes, provider: str, content_type: str = "application/json", **changes: Any
) -> Notification:
    """Return a notification with `body` as it would come out of an inbox."""
    made = Notification(1, "inbox", RECEIVED_AT, endpoints(provider)[0], provider, body, content_type)
    return made._replace(**changes)


def cases(provider: str) -> list[Case]:
    """Return all payload cases of `provider`, by name."""
    files = sorted((FOLDER / provider).iterdir())
    return [
        Case(provider, path)
        for path in files
        if path.suffix in CONTENT_TYPES and not path.name.endswith(".records.json")
    ]


def case(name: str) -> Case:
    """Return the case called `provider/case`."""
    provider, stem = name.split("/")
    return next(payload_case for payload_case in cases(provider) if payload_case.path.stem == stem)


ALL = [payload_case for provider in providers.BUILT_IN for payload_case in cases(provider)]


def readable(decoded: Record | Rejected, payload: Any = None) -> dict[str, Any]:
    """Return `decoded` as an expectation would write it. `payload` lets details refer to its parts."""
    fields: dict[str, Any] = {"table": decoded.table}
    for name, value in msgspec.structs.asdict(decoded).items():
        if name in SHARED or value is None or (name == "is_test" and value is False):
            continue
        if isinstance(value, datetime):
            fields[name] = timestamps.iso(value)
        elif name in JSON_TEXT:
            fields[name] = json.loads(value)
        else:
            fields[name] = value
    return fields


def resolve(expected: dict[str, Any], payload: Any) -> dict[str, Any]:
    """Return `expected` with each `"$…"` in a JSON column replaced by that part of `payload`."""
    return {
        name: at(payload, value)
        if name in JSON_TEXT and isinstance(value, str) and value[:1] == "$"
        else value
        for name, value in expected.items()
    }


def at(payload: Any, path: str) -> Any:
    """Return what stands in `payload` at the JSON path."""
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        payload = payload[name] if name else payload[int(index)]
    return payload


def word(record: Record) -> str:
    """Return what `Provider.reports` calls this record: its response kind or its table."""
    kind = getattr(record, "kind", None)
    return str(kind) if kind is not None else {"other_event": "other"}.get(record.table, record.table)
