"""Bodies of many lines: posts that a relay collected, or junk that must not hold up the run."""

from gatherer import providers
from gatherer.model.records import Reason, Rejected
from gatherer.providers.payload import MOST_LINES, load_lines
from tests.factories import receipts
from tests.providers.cases import notification


def test_bodies_one_per_line_are_all_decoded() -> None:
    lines = [receipts(f"wamid.{number}") for number in range(1000)]
    assert len(providers.decode(notification(b"\n".join(lines), "meta"))) == 1000


def test_junk_of_very_many_lines_is_one_rejection() -> None:
    junk = b"{\n" * (MOST_LINES * 50)
    assert load_lines(junk) == []
    (rejected,) = providers.decode(notification(junk, "meta"))
    assert isinstance(rejected, Rejected)
    assert (rejected.path, rejected.reason_class, rejected.body) == ("$", Reason.UNREADABLE, junk)
