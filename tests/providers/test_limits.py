"""One notification cannot stop a run: its cost grows with its size alone, and what is beyond a limit is one rejection."""

import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatherer import providers
from gatherer.model.records import Reason, Rejected
from gatherer.providers.base import MAX_ELEMENTS, MAX_MARKS, MAX_REJECTIONS
from tests.factories import envelope, notification, status, value

NAMES = sorted(providers.BUILT_IN)
MEGABYTE = 1_000_000
BODY_BYTES = 4 * MEGABYTE  # the largest body that `gatherer serve` takes
CPU_SECONDS = 5
MEMORY_BYTES = 150 * MEGABYTE


def statuses(elements: list[Any]) -> bytes:
    return envelope(value(statuses=elements))


def rejections(body: bytes, provider: str = "meta") -> list[Rejected]:
    return [
        fact for fact in providers.decode(notification(body, provider=provider)) if type(fact) is Rejected
    ]


def test_twenty_thousand_receipts_in_one_body_are_decoded() -> None:
    more = {
        "conversation": {"id": "c", "expiration_timestamp": "1790086400", "origin": {"type": "marketing"}},
        "pricing": {"billable": True, "pricing_model": "PMP", "type": "regular", "category": "marketing"},
        "biz_opaque_callback_data": "spring",
    }
    body = statuses([status(f"wamid.{number}", "read", **more) for number in range(20_000)])
    decoded = providers.decode(notification(body))
    assert len({fact.key for fact in decoded}) == 20_000
    assert not any(type(fact) is Rejected for fact in decoded)


@pytest.mark.parametrize(
    "body",
    [
        statuses([status(f"wamid.{number}") for number in range(MAX_ELEMENTS + 1)]),
        envelope(*(value(statuses=[status(f"wamid.{n}", "new word")]) for n in range(MAX_ELEMENTS + 1))),
        b'{"entry":[' + b"{}," * (MAX_MARKS // 2) + b"{}]}",
        b"[" * (MAX_MARKS + 1),
    ],
    ids=["receipts in one array", "events in many arrays", "empty objects", "brackets"],
)
def test_a_body_beyond_a_limit_is_one_rejection_with_its_bytes(body: bytes) -> None:
    (rejected,) = providers.decode(notification(body))
    assert type(rejected) is Rejected
    assert (rejected.path, rejected.reason_class, rejected.body) == ("$", Reason.LIMIT, body)


def test_the_first_hundred_rejections_are_listed_and_one_more_counts_the_rest() -> None:
    elements: list[Any] = [status("wamid.A"), *range(150), status("wamid.B"), *range(100)]
    decoded = providers.decode(notification(statuses(elements)))
    kept = [fact for fact in decoded if type(fact) is not Rejected]
    listed = [fact for fact in decoded if type(fact) is Rejected]
    assert len(kept) == 2
    place = "$.entry[0].changes[0].value.statuses"
    assert [rejected.path for rejected in listed] == [
        *(f"{place}[{number}]" for number in range(1, MAX_REJECTIONS + 1)),
        "$",
    ]
    assert listed[-1].reason == "150 more elements were rejected; the first 100 are listed"
    assert listed[-1].reason_class is Reason.LIMIT
    assert len(decoded.paths) == len(decoded)


def test_a_hundred_rejections_are_all_listed() -> None:
    listed = rejections(statuses(list(range(MAX_REJECTIONS))))
    assert len(listed) == MAX_REJECTIONS
    assert all(rejected.path != "$" for rejected in listed)


def test_rejections_cost_time_in_proportion_to_the_body() -> None:
    def seconds(count: int) -> float:
        source = notification(statuses([{}] * count + ["x" * 100 * (count // 100)]))
        started = time.process_time()
        providers.decode(source)
        return time.process_time() - started

    seconds(100)
    # Quadratic work would take a hundred times as long for ten times the elements.
    assert min(seconds(20_000) for _ in range(3)) < 40 * min(seconds(2_000) for _ in range(3))


MEASURE = """
import json, resource, sys, time
from datetime import UTC, datetime
from gatherer import providers
from gatherer.model.notification import Notification
from gatherer.pipeline.decode import decode_batch
provider = sys.argv[1]
providers.get(provider)
body = sys.stdin.buffer.read()
notification = Notification(1, "inbox-a", datetime.now(UTC), "apteco", provider, body)
providers.decode(notification._replace(body=b"{}"))
memory, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
batch = decode_batch([notification], frozenset())
used = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
print(json.dumps([*used, len(batch.records), len(batch.rejected)]))
"""

# What a hostile body repeats; %d is a number of its own.
UNITS = [
    b"{}", b"[]", b"1", b'""', b"[[]]", b'{"a":1}', b'{"a":{"a":{}}}', b'{"id":"%d"}', b'"\\ud800"', b'"\\u0000"',
    b'{"id":"%d","status":"read","timestamp":"1790000000","recipient_id":"1%d"}',
    b'{"id":"%d","type":"text","from":"1%d","timestamp":"1790000000","text":{"body":"stop"}}',
    b'{"id":"1","changes":[{}]}', b'{"changes":[{"field":"x","value":{}}]}', b'{"wa_id":"1%d"}', b'{"code":1}',
    b'{"messageId":"%d","to":"1"}', b'{"eventType":"x","id":"%d"}', b'{"phones":[{"phone":"1%d"}]}',
    b'"{\\"a\\":[1,2]}"', b"1e400", b"9" * 400, b'"k%d":[{}]', b'"k%d":{}', b'"k%d":1',
]  # fmt: skip
PLACES = [
    b"[%b]", b"{%b}", b'{"entry":[%b]}', b'{"changes":[%b]}', b'{"results":[%b]}', b'{"messages":[%b]}',
    b'{"statuses":[%b]}', b'{"contacts":[%b],"messages":[%b]}',
    b'{"entry":[{"id":"1","changes":[{"field":"messages","value":{%b}}]}]}',
    b'{"entry":[{"changes":[{"field":"messages","value":{"statuses":[%b]}}]}]}',
    b'{"entry":[{"changes":[{"field":"messages","value":{"contacts":[%b],"messages":[%b]}}]}]}',
    b'{"entry":[{"changes":[{"field":"messages","value":{"errors":[%b],"new":[%b]}}]}]}',
    b'{"entry":[{"changes":[{"field":"messages","value":{"statuses":[{"id":"a","status":"failed","errors":[%b]}]}}]}]}',
    b'{"entry":[{"changes":[{"field":"messages","value":{"messages":[{"id":"a","type":"contacts","contacts":[%b]}]}}]}]}',
    b"%b",
]  # fmt: skip
SEPARATORS = [b",", b"\n", b"&", b", "]


class HostileBody(NamedTuple):
    """A body of at most 4 MB that repeats one unit as often as fits, or as some limit allows."""

    unit: bytes
    separator: bytes
    place: bytes
    repetitions: int

    def build(self) -> bytes:
        parts = self.place.count(b"%b")
        size = len(self.unit) + len(self.separator) + 14  # a unit has its number up to twice
        count = min(self.repetitions, (BODY_BYTES - 1_000) // size) // parts
        repeated = self.separator.join(self.unit.replace(b"%d", b"%d" % number) for number in range(count))
        return self.place.replace(b"%b", repeated)


hostile_bodies = st.builds(
    HostileBody,
    st.sampled_from(UNITS),
    st.sampled_from(SEPARATORS),
    st.sampled_from(PLACES),
    st.sampled_from([MAX_ELEMENTS - 100, MAX_MARKS // 8, MAX_MARKS // 4, MAX_MARKS // 2 - 100, BODY_BYTES]),
)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="measures with resource")
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile=hostile_bodies)
def test_no_body_costs_more_than_five_seconds_and_150_megabytes(name: str, hostile: HostileBody) -> None:
    body = hostile.build()
    assert len(body) <= BODY_BYTES
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, name], input=body, stdout=subprocess.PIPE, check=True
    )
    cpu_seconds, kilobytes, records, rejected = json.loads(done.stdout)
    assert cpu_seconds < CPU_SECONDS, (records, rejected)
    assert kilobytes * 1024 < MEMORY_BYTES, (records, rejected)
    assert records <= MAX_ELEMENTS * 2  # a reply can be an opt-out as well
    assert rejected <= MAX_REJECTIONS + 1
