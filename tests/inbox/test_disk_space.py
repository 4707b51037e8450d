"""Limits of the writer: the queue, the size of a commit, the size of the file."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing

import pytest

from gatherer.inbox import disk_space
from gatherer.inbox.queue import QueueLimits
from gatherer.inbox.writer import InboxUnavailableError, InboxWriter
from tests.inbox.test_writer import GOOD, append
from tests.server_process import rows
from tests.waiting import BUSY_SECONDS, until, wait_until


def test_a_commit_stays_within_commit_bytes_but_holds_at_least_one_row(tmp_path):
    groups: list[int] = []
    limits = QueueLimits(commit_bytes=1000)
    with closing(InboxWriter(tmp_path / "inbox.db", limits=limits, committed=groups.append)) as inbox:
        bodies = [b"x" * 400] * 7 + [b"y" * 5000] + [b"z" * 400] * 3
        assert append(inbox, *[GOOD._replace(body=body) for body in bodies]) == ["stored"] * 11
    assert groups == [2, 2, 2, 1, 1, 2, 1]


def test_the_queue_limit_includes_rows_that_are_being_committed(tmp_path):
    limits = QueueLimits(queue_rows=3, commit_seconds=60)
    with closing(InboxWriter(tmp_path / "inbox.db", limits=limits)) as inbox:
        release = threading.Event()
        busy = inbox.perform(lambda _: release.wait(60))

        async def main() -> list[object]:
            futures = [inbox.append(GOOD) for _ in range(5)]
            assert inbox.waiting == (3, 3 * len(GOOD.body))
            release.set()
            return await asyncio.gather(*futures, return_exceptions=True)

        outcomes = asyncio.run(main())
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [InboxUnavailableError] * 2
        assert busy.result() is True
        assert inbox.waiting == (0, 0)
        assert append(inbox, GOOD) == ["stored"]


def test_a_body_larger_than_queue_bytes_is_stored_when_the_queue_is_empty(tmp_path):
    with closing(InboxWriter(tmp_path / "inbox.db", limits=QueueLimits(queue_bytes=10))) as inbox:
        assert append(inbox, GOOD._replace(body=b"x" * 1000)) == ["stored"]


def test_a_row_fails_after_commit_seconds_and_later_rows_fail_at_once_until_the_disk_answers(tmp_path):
    with closing(InboxWriter(tmp_path / "inbox.db", limits=QueueLimits(commit_seconds=0.2))) as inbox:
        begun, release = threading.Event(), threading.Event()
        inbox.perform(lambda _: (begun.set(), release.wait(60)))
        assert begun.wait(60)

        async def main() -> None:
            started = time.monotonic()
            with pytest.raises(InboxUnavailableError, match="has not answered"):
                await inbox.append(GOOD)
            assert 0.15 < time.monotonic() - started < BUSY_SECONDS
            assert "has not answered" in str(inbox.refusal_reason())
            release.set()
            await until(lambda: inbox.refusal_reason() is None)

        asyncio.run(main())
        # A busy disk may take longer than commit_seconds again. A row that failed may have been stored.
        wait_until(lambda: append(inbox, GOOD) == ["stored"])
    assert len(rows(tmp_path / "inbox.db", "id")) >= 2


def test_a_full_inbox_is_purged_before_it_rejects_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space, "PURGE_SECONDS", 0)
    calls = []

    def purge(connection: sqlite3.Connection) -> None:
        calls.append(threading.current_thread().name)
        connection.execute("DELETE FROM notification WHERE id <= (SELECT max(id) FROM notification) - 2")

    space = disk_space.DiskSpace(max_inbox_bytes=300_000)
    with closing(InboxWriter(tmp_path / "inbox.db", space=space, purge=purge)) as inbox:
        for _ in range(20):
            assert append(inbox, GOOD._replace(body=b"x" * 50_000)) == ["stored"]
        assert calls
        assert set(calls) == {"inbox-writer"}
        assert inbox.refusal_reason() is None


def test_a_purge_that_frees_nothing_is_not_repeated_at_once(tmp_path):
    calls = []
    space = disk_space.DiskSpace(max_inbox_bytes=200_000)
    with closing(InboxWriter(tmp_path / "inbox.db", space=space, purge=lambda _: calls.append(1))) as inbox:
        outcomes = [append(inbox, GOOD._replace(body=b"x" * 50_000))[0] for _ in range(10)]
        assert outcomes == ["stored"] * outcomes.count("stored") + ["refused"] * outcomes.count("refused")
        assert outcomes.count("refused") > 3
        assert len(calls) == 1


def test_a_shortage_ends_only_above_a_margin():
    space = disk_space.DiskSpace(min_free_bytes=1000, max_inbox_bytes=1000)
    assert space.shortage(disk_space.Usage(900, 0, 1005), 0) is None
    assert space.shortage(disk_space.Usage(900, 0, 1005), 0, short=True) is not None
    assert space.shortage(disk_space.Usage(995, 0, 5000), 0) is None
    assert space.shortage(disk_space.Usage(995, 0, 5000), 0, short=True) is not None
    assert disk_space.DiskSpace().shortage(disk_space.Usage(10**12, 0, 0), 0) is None
