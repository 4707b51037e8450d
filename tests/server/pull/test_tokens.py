"""Which tokens are accepted, and how failures are counted."""

import pytest

from gatherer.server.pull.tokens import MAX_ADDRESSES, WINDOW_SECONDS, FailureCounter, Tokens


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("Bearer one", True),
        ("bearer two", True),
        ("Bearer  one ", True),
        ("Bearer on", False),
        ("Bearer onee", False),
        ("Bearer", False),
        ("Basic one", False),
        ("one", False),
        ("Bearer \udcff", False),
        ("", False),
        (None, False),
    ],
)
def test_a_header_is_accepted_with_one_of_the_tokens_only(header: str | None, accepted: bool) -> None:
    assert Tokens(["one", "two"]).accept(header) is accepted


def test_failures_are_counted_per_address_and_forgotten_after_the_window() -> None:
    now = [0.0]
    failures = FailureCounter(lambda: now[0])
    assert [failures.add("192.0.2.1") for _ in range(3)] == [1, 2, 3]
    assert failures.add("192.0.2.2") == 1
    now[0] = WINDOW_SECONDS - 1
    assert failures.add("192.0.2.1") == 4
    now[0] = WINDOW_SECONDS
    assert failures.add("192.0.2.1") == 1


def test_the_addresses_of_an_ipv6_network_are_counted_as_one() -> None:
    failures = FailureCounter()
    assert [failures.add(f"2001:db8::{i:x}") for i in range(1, 4)] == [1, 2, 3]
    assert failures.add("2001:db8:0:1::1") == 1
    assert failures.add("::ffff:192.0.2.1") == 1
    assert failures.add("192.0.2.1") == 2


def test_the_memory_for_addresses_is_bounded() -> None:
    failures = FailureCounter()
    for i in range(MAX_ADDRESSES + 100):
        failures.add(f"2001:db8:{i:x}::1")
    assert len(failures._windows) == MAX_ADDRESSES
    assert failures.add("2001:db8:0::1") == 1, "the oldest address is dropped"
