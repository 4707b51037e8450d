"""The contract of a provider holds for its bodies inside of a wrapper: the same records, each element once, all paths right."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gatherer import providers
from gatherer.model import merge
from gatherer.model.notification import Notification, body_key
from gatherer.model.records import Reason, Record, Rejected
from gatherer.providers.base import MAX_ELEMENTS, MAX_REJECTIONS, Decode, Decoded
from gatherer.providers.paths import load_body, path_text
from gatherer.providers.paths import resolve as resolve_path
from gatherer.providers.payload import UnreadableBodyError, load_form, load_json
from gatherer.providers.pointer import Pointer
from gatherer.providers.unwrap import decode_wrapped
from tests.providers.cases import (
    ENDPOINT_DECODERS,
    MAPPINGS,
    Case,
    cases,
    decode,
    endpoints,
    notification,
    readable,
)
from tests.providers.counting import COUNTS, COUNTS_OF_MAPPINGS
from tests.providers.mutating import mutated, mutated_form
from tests.providers.test_contract import BODIES_IN_NO_FORM, encodable, records_of

PROVIDERS = ["meta", "onprem", "wati", "twilio", "json"]


def parsed(body: bytes) -> Any:
    """Return what a relay makes of `body` that parses it: of a form, an object of its parameters."""
    try:
        return load_json(body)
    except UnreadableBodyError:
        return load_form(body)


def sns(message: str) -> dict[str, Any]:
    return {"Type": "Notification", "TopicArn": "arn:…", "Message": message, "Signature": "c2ln"}


@dataclass(frozen=True)
class Wrapper:
    """The form in which a relay passes on a body.

    Attributes:
        pointer: where the body is.
        wrap: makes the wrapper of a body.
        keeps_text: whether the wrapper holds the text of the body. Else it holds the parsed body.

    """

    pointer: str
    wrap: Callable[[bytes], Any]
    keeps_text: bool = False

    @property
    def decode(self) -> Callable[[Notification], Decoded]:
        pointer = Pointer.parse(self.pointer)
        return partial(
            providers.decode,
            endpoint_decoders=ENDPOINT_DECODERS,
            wrappers=dict.fromkeys(("endpoint", *MAPPINGS), pointer),
        )


WRAPPERS = {
    "n8n, all items": Wrapper(
        "/*/body",
        lambda body: [{"headers": {"host": "n8n"}, "query": {}, "body": parsed(body), "webhookUrl": ""}],
    ),
    "n8n, one item": Wrapper("/*/body", lambda body: {"headers": {}, "body": parsed(body), "webhookUrl": ""}),
    "Zapier, Catch Raw Hook": Wrapper(
        "/raw_body", lambda body: {"raw_body": body.decode(), "headers": {}}, keeps_text=True
    ),
    "Make, collected": Wrapper("/bundles/*", lambda body: {"bundles": [parsed(body)], "count": 1}),
    "8x8": Wrapper(
        "/payload", lambda body: {"namespace": "ChatApps", "eventType": "x", "payload": parsed(body)}
    ),
    "SNS": Wrapper("/Message", lambda body: sns(body.decode()), keeps_text=True),
    "SNS of AWS Social Messaging": Wrapper(
        "/Message/whatsAppWebhookEntry",
        lambda body: sns(json.dumps({"context": {}, "whatsAppWebhookEntry": body.decode()})),
        keeps_text=True,
    ),
}

every_wrapper = pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
every_provider = pytest.mark.parametrize("name", PROVIDERS)


def cases_for(name: str, wrapper: Wrapper) -> list[Case]:
    """Return the payload cases of the provider `name` whose bodies a relay can put into this wrapper."""
    suffixes = (".form",) if providers.get(name).posts_forms else (".json",)
    return [case for case in cases(name) if case.path.suffix in suffixes and is_readable(case)]


def is_readable(case: Case) -> bool:
    try:
        parsed(case.body)
    except UnreadableBodyError:
        return False
    return True


def wrapped(case: Case, wrapper: Wrapper, **changes: Any) -> Notification:
    body = json.dumps(wrapper.wrap(case.body)).encode()
    return notification(body, case.provider, endpoint=case.endpoint, **changes)


@every_provider
@every_wrapper
def test_a_wrapped_body_becomes_the_same_facts_at_their_paths_in_the_whole_body(
    name: str, wrapper: Wrapper
) -> None:
    for case in cases_for(name, wrapper):
        direct, received = case.decode(), wrapped(case, wrapper)
        decoded, document = wrapper.decode(received), load_json(received.body)
        assert decoded == wrapper.decode(received), "pure"
        (part,) = Pointer.parse(wrapper.pointer).select(document).found
        assert [paths for _, paths in decoded.with_paths()] == [
            tuple(part.path + path for path in paths) for _, paths in direct.with_paths()
        ], case.name
        for fact, (before, paths) in zip(decoded, direct.with_paths(), strict=True):
            if isinstance(fact, Rejected) and isinstance(before, Rejected):
                assert fact.path == path_text(part.path + paths[0])
                assert (fact.reason, fact.reason_class) == (before.reason, before.reason_class)
                assert (fact.body, fact.body_key) == (received.body, body_key(received.body)), "all is kept"
            else:
                assert fact.key == before.key
                assert readable(fact) == readable(before)
        for paths in decoded.paths:
            for path in paths:
                resolve_path(document, path)


@every_provider
@every_wrapper
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_wrapped_and_other_notifications_in_any_order_are_the_same_records(
    name: str, wrapper: Wrapper, data: st.DataObject
) -> None:
    possible = cases_for(name, wrapper)
    drawn = data.draw(st.lists(st.sampled_from(possible), min_size=2, max_size=4))
    deliveries = [(wrapper.decode, wrapped(case, wrapper, id=i)) for i, case in enumerate(drawn)]
    deliveries += [(decode, case.notification(id=50 + i)) for i, case in enumerate(drawn[:2])]
    shuffled = data.draw(st.permutations(deliveries))

    def folded(order: list[tuple[Decode, Notification]]) -> dict[bytes, Record]:
        records = [record for decode_one, received in order for record in records_of(decode_one(received))]
        return {record.key: record for record in merge.fold(records)}

    assert folded(deliveries) == folded(shuffled)
    direct = {record.key for case in drawn for record in records_of(case.decode())}
    assert folded(deliveries).keys() == direct, "a wrapped fact is the fact"


@every_provider
@every_wrapper
@pytest.mark.parametrize("what", BODIES_IN_NO_FORM)
def test_a_body_without_the_wrapper_is_rejected_whole(name: str, wrapper: Wrapper, what: str) -> None:
    received = notification(BODIES_IN_NO_FORM[what], name)
    (rejected,) = wrapper.decode(received)
    assert isinstance(rejected, Rejected)
    assert rejected.path == "$"
    assert rejected.reason_class in (Reason.UNREADABLE, Reason.SHAPE)
    assert rejected.body == received.body


def test_no_sibling_is_lost_with_what_is_not_wrapped() -> None:
    good = json.loads(cases("meta")[0].body)
    count = len(cases("meta")[0].decode())
    body = [{"body": good}, {"other": 1}, 17, None, {"body": None}, {"body": good}, {"body": "no JSON"}, good]
    decoded = WRAPPERS["n8n, all items"].decode(notification(json.dumps(body).encode(), "meta"))
    records = [record for record in decoded if not isinstance(record, Rejected)]
    assert len(records) == 2 * count
    assert [(fact.path, fact.reason_class) for fact in decoded if isinstance(fact, Rejected)] == [
        ("$[1]", Reason.SHAPE),
        ("$[2]", Reason.SHAPE),
        ("$[3]", Reason.SHAPE),
        ("$[4].body", Reason.SHAPE),
        ("$[6].body", Reason.UNREADABLE),
        ("$[7]", Reason.SHAPE),
    ]
    assert len({fact.key for fact in decoded if isinstance(fact, Rejected)}) == 6


def test_several_lines_are_wrappers_in_an_array() -> None:
    payload = json.loads(cases("meta")[0].body)
    line = json.dumps({"body": payload}).encode()
    decoded = WRAPPERS["n8n, all items"].decode(notification(b"\n".join([line, b"broken", line]), "meta"))
    rejections = [fact for fact in decoded if isinstance(fact, Rejected)]
    assert [rejected.path for rejected in rejections] == ["$[1]"]
    assert len(decoded) == 2 * len(cases("meta")[0].decode()) + 1
    each = Wrapper("/*", parsed).decode
    lines = b"\n".join([json.dumps(payload).encode(), b"broken", json.dumps(payload).encode()])
    again = each(notification(lines, "meta"))
    assert [fact.path for fact in again if isinstance(fact, Rejected)] == ["$[1]"]
    assert [fact.reason_class for fact in again if isinstance(fact, Rejected)] == [Reason.UNREADABLE]


def test_lines_inside_of_a_text_have_paths_too() -> None:
    payload = json.loads(cases("meta")[0].body)
    lines = "\n".join([json.dumps(payload)] * 2)
    received = notification(json.dumps({"raw_body": lines}).encode(), "meta")
    decoded = WRAPPERS["Zapier, Catch Raw Hook"].decode(received)
    assert len(decoded) == 2 * len(cases("meta")[0].decode())
    for paths in decoded.paths:
        assert resolve_path(load_body(received.body), paths[0]) is not None


def test_an_empty_wrapper_is_a_rejection() -> None:
    for body in (b"[]", b"null"):
        (rejected,) = WRAPPERS["n8n, all items"].decode(notification(body, "meta"))
        assert isinstance(rejected, Rejected)
        assert rejected.reason == "/*/body leads to nothing in this body"


def test_other_endpoints_have_no_wrapper() -> None:
    direct = cases("meta")[0].notification(endpoint="another")
    assert WRAPPERS["SNS"].decode(direct) == providers.decode(direct)


def test_an_unknown_provider_is_a_rejection() -> None:
    body = json.dumps([{"body": {}}, {"body": {}}]).encode()
    (rejected,) = WRAPPERS["n8n, all items"].decode(notification(body, "nope"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason_class is Reason.UNKNOWN_PROVIDER


def test_a_defect_in_a_decoder_costs_only_the_body_in_which_it_occurs() -> None:
    def decode(received: Notification) -> Decoded:
        if b"defect" in received.body:
            raise ZeroDivisionError
        return providers.decode(received)

    case = cases("meta")[0]
    body = json.dumps([parsed(case.body), "defect", parsed(case.body)]).encode()
    decoded = decode_wrapped(notification(body, "meta"), Pointer.parse("/*"), decode)
    (rejected,) = [fact for fact in decoded if isinstance(fact, Rejected)]
    assert (rejected.path, rejected.reason_class) == ("$[1]", Reason.DECODER)
    assert len(decoded) == 2 * len(case.decode()) + 1


def test_the_limits_of_a_notification_hold_for_all_its_bodies_together() -> None:
    case = cases("meta")[0]
    half = {"entry": [{"changes": [{"value": {"statuses": [1] * (MAX_ELEMENTS // 2 + 1)}}]}]}
    decode = WRAPPERS["n8n, all items"].decode
    (rejected,) = decode(notification(json.dumps([{"body": half}] * 2).encode(), "meta"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason_class is Reason.LIMIT
    (rejected,) = decode(notification(json.dumps([17] * (MAX_ELEMENTS + 1)).encode(), "meta"))
    assert isinstance(rejected, Rejected)
    assert rejected.reason_class is Reason.LIMIT
    mixed = [{"body": parsed(case.body)}, *([17] * (MAX_REJECTIONS + 5))]
    decoded = decode(notification(json.dumps(mixed).encode(), "meta"))
    assert len(decoded) == len(case.decode()) + MAX_REJECTIONS + 1


def check_invariant(name: str, endpoint: str, wrapper: Wrapper, body: bytes) -> None:
    """Assert that `body` decodes purely, without a defect, to one record or rejection per element of each part."""
    received = notification(body, name, endpoint=endpoint)
    decoded = wrapper.decode(received)
    assert decoded == wrapper.decode(received)
    for fact in decoded:
        assert not isinstance(fact, Rejected) or fact.reason_class is not Reason.DECODER, fact.reason
        assert not isinstance(fact, Record) or encodable(fact)
    assert len({paths[0] for paths in decoded.paths}) == len(decoded.paths) == len(decoded)
    try:
        document = load_json(body)
    except UnreadableBodyError:
        assert [type(fact) for fact in decoded] == [Rejected]
        return
    for paths in decoded.paths:
        for path in paths:
            resolve_path(document, path)
    found, missed = Pointer.parse(wrapper.pointer).select(document)
    counts = [_count(name, endpoint, part.value) for part in found]
    assert len(decoded) == (sum(counts) + len(missed) or (0 if counts else 1))


def _count(name: str, endpoint: str, value: Any) -> int:
    """Count the elements of the body that a relay passes on as `value`."""
    if providers.get(name).posts_forms:
        return 1
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_constant=int)
        except ValueError:
            return 1
    return (COUNTS.get(name) or COUNTS_OF_MAPPINGS[endpoint])(value)


def fuzz(name: str, endpoint: str, wrapper: Wrapper, examples: int) -> None:
    """Break wrappers outside, and the bodies inside."""
    possible = [case for case in cases_for(name, wrapper) if case.endpoint == endpoint]
    outside = mutated(
        [wrapper.wrap(case.body) for case in random.Random(3).sample(possible, min(8, len(possible)))]
    )
    forms = providers.get(name).posts_forms
    inside = (
        mutated_form([case.body for case in possible])
        if forms
        else mutated([json.loads(case.body) for case in possible])
    )

    def rewrapped(body: bytes) -> bytes:
        if not wrapper.keeps_text:
            try:
                return json.dumps(wrapper.wrap(body)).encode()
            except UnreadableBodyError:
                return body
        return json.dumps(wrapper.wrap(body.decode("utf-8", "replace").replace("\0", "").encode())).encode()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(body=outside | inside.map(rewrapped))
    def run(body: bytes) -> None:
        check_invariant(name, endpoint, wrapper, body)

    run()


@every_provider
@every_wrapper
def test_every_element_of_a_broken_wrapper_ends_as_one_record_or_rejection(
    name: str, wrapper: Wrapper
) -> None:
    for endpoint in endpoints(name):
        fuzz(name, endpoint, wrapper, 40 // len(endpoints(name)))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@every_provider
@every_wrapper
def test_every_element_of_many_broken_wrappers_ends_as_one_record_or_rejection(
    name: str, wrapper: Wrapper
) -> None:
    for endpoint in endpoints(name):
        fuzz(name, endpoint, wrapper, 4_000 // len(endpoints(name)))
