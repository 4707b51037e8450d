"""Consumers of an inbox: the position of each, in files that are replaced atomically."""

from pathlib import Path

import pytest

from gatherer.inbox import consumers


def test_an_acknowledgement_replaces_the_previous_one(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    assert consumers.read_all(inbox) == []
    consumers.acknowledge(inbox, "reports", "a", 7)
    consumers.acknowledge(inbox, "archive", "a", 3)
    consumers.acknowledge(inbox, "reports", "a", 9)
    assert [consumer[:3] for consumer in consumers.read_all(inbox)] == [
        ("archive", "a", 3),
        ("reports", "a", 9),
    ]
    assert sorted(path.name for path in consumers.folder(inbox).iterdir()) == ["archive.json", "reports.json"]


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"inbox_id":"a","notification_id":"x"}', b"\xff"])
def test_a_consumer_with_a_damaged_file_has_acknowledged_nothing(tmp_path: Path, content: bytes) -> None:
    """So nothing is purged before the consumer acknowledges again."""
    inbox = tmp_path / "inbox.db"
    consumers.acknowledge(inbox, "reports", "a", 7)
    (consumers.folder(inbox) / "reports.json").write_bytes(content)
    assert [consumer[:3] for consumer in consumers.read_all(inbox)] == [("reports", "", 0)]


def test_forget_removes_a_consumer(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    consumers.acknowledge(inbox, "reports", "a", 7)
    assert consumers.forget(inbox, "reports")
    assert not consumers.forget(inbox, "reports")
    assert consumers.read_all(inbox) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "ä", "x" * 101, "a\n"])
def test_a_consumer_name_that_could_leave_the_folder_is_rejected(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        consumers.acknowledge(tmp_path / "inbox.db", name, "a", 1)
    assert not consumers.forget(tmp_path / "inbox.db", name)
