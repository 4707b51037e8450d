"""Consumers of an inbox: how far each has got, in files that are replaced as a whole."""

from pathlib import Path

import pytest

from gatherer.inbox import consumers


def test_an_acknowledgement_replaces_the_one_before(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    assert consumers.read_all(inbox) == []
    consumers.acknowledge(inbox, "reports", "a", 7)
    consumers.acknowledge(inbox, "archive", "a", 3)
    consumers.acknowledge(inbox, "reports", "a", 9)
    assert [found[:3] for found in consumers.read_all(inbox)] == [("archive", "a", 3), ("reports", "a", 9)]
    assert sorted(path.name for path in consumers.folder(inbox).iterdir()) == ["archive.json", "reports.json"]


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b'{"inbox_id":"a","notification_id":"x"}', b"\xff"])
def test_a_consumer_whose_file_is_damaged_has_nothing(tmp_path: Path, content: bytes) -> None:
    """So nothing is purged before it has said anew what it has."""
    inbox = tmp_path / "inbox.db"
    consumers.acknowledge(inbox, "reports", "a", 7)
    (consumers.folder(inbox) / "reports.json").write_bytes(content)
    assert [found[:3] for found in consumers.read_all(inbox)] == [("reports", "", 0)]


def test_a_consumer_can_be_forgotten(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    consumers.acknowledge(inbox, "reports", "a", 7)
    assert consumers.forget(inbox, "reports")
    assert not consumers.forget(inbox, "reports")
    assert consumers.read_all(inbox) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "ä", "x" * 101, "a\n"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        consumers.acknowledge(tmp_path / "inbox.db", name, "a", 1)
    assert not consumers.forget(tmp_path / "inbox.db", name)
