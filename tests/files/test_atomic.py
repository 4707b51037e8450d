"""Atomic writes: a file appears complete or not at all."""

import os
import stat
import sys
from pathlib import Path

import pytest

from gatherer.files import atomic
from gatherer.files.atomic import atomic_write


def test_the_file_appears_with_its_whole_content_and_no_draft_remains(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_write(path) as draft:
        draft.write("{\n")
        assert not path.exists()
        draft.write("}")
    assert path.read_bytes() == b"{\n}", "line ends are unchanged"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("durable", [True, False])
def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, *, durable: bool) -> None:
    path = tmp_path / "a.json"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), atomic_write(path, durable=durable) as draft:  # noqa: PT012
        draft.write("half")
        raise KeyboardInterrupt
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_discarded_draft_leaves_no_files(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.json") as draft:
        draft.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_without_replace_an_existing_file_is_preserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    def refuse(self: Path, target: Path) -> None:
        if self.exists():
            raise FileExistsError
        raise PermissionError

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "a.json"
    with atomic_write(path, replace=False) as draft:
        draft.write("first")
    with pytest.raises(FileExistsError), atomic_write(path, replace=False) as draft:
        draft.write("second")
    assert path.read_text(encoding="utf-8") == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o600, 0o660])
def test_the_mode_is_independent_of_the_umask(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077 if mode == 0o660 else 0)
    try:
        with atomic_write(tmp_path / "a.json", mode=mode) as draft:
            assert stat.S_IMODE(draft.path.stat().st_mode) == mode, "the mode also holds for the draft"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot open a folder")
def test_content_and_name_are_synced_when_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised: list[tuple[bool, bool]] = []
    path = tmp_path / "a.json"

    def fsync(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synchronised.append((is_folder, path.exists()))

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    with atomic_write(path) as draft:
        draft.write("x")
    assert synchronised == [(False, False), (True, True)], "the content is synced before the name"
    with atomic_write(path, durable=False) as draft:
        draft.write("y")
    assert len(synchronised) == 2
