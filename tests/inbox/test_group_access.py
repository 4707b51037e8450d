"""Accounts and places: a group that shares an inbox, a reader without a log, file systems that are refused."""

import asyncio
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gatherer.inbox import consumers, filesystem, sqlite_file
from gatherer.inbox.base import Bounds
from gatherer.inbox.reader import LocalInbox
from gatherer.inbox.writer import InboxWriter, NotificationRow
from gatherer.model.errors import ConfigurationError, InboxError, TemporaryError
from tests.factories import configure, fill_inbox, run
from tests.inbox.test_reader import NOBODY, _elsewhere
from tests.server_process import run_server

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="LOUD: Windows shares by access control lists")
ROOT = pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="LOUD: only root can be others")
FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
BODIES = [b"%d" % n for n in range(30)]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def bodies(path: Path) -> list[bytes]:
    with closing(LocalInbox(path)) as inbox:
        return [one.body for one in inbox.read(0, Bounds())]


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def without_log(path: Path) -> None:
    """Take away what a tool takes away that opens the file and closes it last."""
    for suffix in ("-wal", "-shm"):
        assert suffix != "-wal" or Path(f"{path}-wal").stat().st_size == 0
        Path(f"{path}{suffix}").unlink()


def mine() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name


@POSIX
def test_with_a_group_folder_and_files_belong_to_it(tmp_path):
    path = tmp_path / "data" / "inbox.db"
    for _ in range(2):
        with closing(InboxWriter(path, group=mine())):
            assert mode(path.parent) == mode(consumers.folder(path)) == "2770"
            for suffix in ("", "-wal", "-shm", ".lock", ".lock.holder"):
                assert mode(Path(f"{path}{suffix}")) == "660", suffix
    consumers.acknowledge(path, "reports", "a", 1)
    assert mode(consumers.folder(path) / "reports.json") == "660"


@POSIX
def test_without_a_group_nobody_else_gets_in(tmp_path):
    path = tmp_path / "data" / "inbox.db"
    InboxWriter(path).close()
    consumers.acknowledge(path, "reports", "a", 1)
    assert mode(path.parent) == mode(consumers.folder(path)) == "700"
    assert {mode(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")} == {"600"}
    assert mode(consumers.folder(path) / "reports.json") == "600"


@POSIX
@ROOT
@FORKS
@pytest.mark.parametrize("running", [True, False])
def test_an_account_of_the_group_reads_and_acknowledges_and_serve_goes_on(folder, running):
    """`serve` here runs as root, with files of the group of `nobody`; `gather` as `nobody`."""
    import grp

    path = folder / "data" / "inbox.db"
    group = grp.getgrgid(NOBODY).gr_name

    def gather() -> str:
        os.umask(0o077)
        with closing(LocalInbox(path)) as inbox:
            found = inbox.read(0, Bounds())
            consumers.acknowledge(path, "reports", inbox.identity, found[-1].id)
        return str(len(found))

    def bury() -> None:
        with closing(InboxWriter(path, group=group)) as writer:
            asyncio.run(append(writer))
            if running:
                assert _elsewhere(gather, nobody=True) == "1"
        if not running:
            assert _elsewhere(gather, nobody=True) == "1"

    bury()
    (known,) = consumers.read_all(path)
    assert (known.name, known.notification_id) == ("reports", 1)
    with closing(InboxWriter(path, group=group)) as writer:
        asyncio.run(append(writer))
    assert len(bodies(path)) == 2


async def append(writer: InboxWriter) -> None:
    await writer.append(NotificationRow(1_790_000_000_000, "e", "meta", None, None, None, b"{}"))


@POSIX
@pytest.mark.parametrize(
    ("group", "where", "said"),
    [("no-such-group", "data", "has no group 'no-such-group'"), (None, "open", "a folder of its own")],
)
def test_a_group_that_cannot_be_is_named_before_anything_is_made(tmp_path, group, where, said):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(ConfigurationError, match=said):
        InboxWriter(tmp_path / where / "inbox.db", group=group or mine())
    assert mode(tmp_path / "open") == "1777"


@POSIX
@ROOT
@FORKS
def test_an_account_outside_the_group_is_told_what_to_do(folder):
    import grp  # noqa: F401 - what is imported now, nobody need be able to find

    os.chown(folder, NOBODY, NOBODY)
    said = _elsewhere(lambda: str(InboxWriter(folder / "data" / "inbox.db", group="root")), nobody=True)
    assert said.startswith("ConfigurationError: ")
    assert "chgrp root" in said
    assert "\n" not in said


@POSIX
@FORKS
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "readable only"])
def test_an_inbox_without_its_log_is_read_and_nothing_is_made_beside_it(folder, writable):
    path = folder / "inbox.db"
    fill_inbox(path, BODIES)
    without_log(path)
    if not writable:
        path.chmod(0o444)
        folder.chmod(0o555)
    before = sorted(folder.iterdir())
    assert _elsewhere(lambda: str(len(bodies(path))), nobody=not writable) == "30"
    assert sorted(folder.iterdir()) == before
    folder.chmod(0o755)


def test_a_copy_of_the_file_alone_is_read(tmp_path):
    fill_inbox(tmp_path / "inbox.db", BODIES)
    (tmp_path / "copy.db").write_bytes((tmp_path / "inbox.db").read_bytes())
    assert bodies(tmp_path / "copy.db") == BODIES


@POSIX
@FORKS
def test_a_log_that_cannot_be_read_without_its_index_is_named_and_not_ignored(folder):
    """What is in the log is not in the file: reading the file alone would skip it silently."""
    with run_server(folder) as server:
        for body in BODIES:
            assert server.post(body).status == 200
        server.kill()
        path = server.inbox
    Path(f"{path}-shm").unlink()
    for one in (path, Path(f"{path}-wal")):
        one.chmod(0o444)
    folder.chmod(0o555)
    said = _elsewhere(lambda: str(len(bodies(path))), nobody=True)
    folder.chmod(0o755)
    assert said.startswith("InboxError: the inbox ")
    assert "cannot be opened" in said


def test_a_reader_of_a_resting_inbox_notices_that_serve_begins(tmp_path):
    path = tmp_path / "inbox.db"
    fill_inbox(path, BODIES)
    without_log(path)
    with closing(LocalInbox(path)) as inbox:
        assert len(inbox.read(0, Bounds())) == 30
        with closing(InboxWriter(path)) as writer:
            asyncio.run(append(writer))
            assert [one.body for one in inbox.read(30, Bounds())] == [b"{}"]
            assert inbox.last_id() == 31
        assert len(inbox.read(0, Bounds())) == 31


def test_a_reader_of_a_resting_inbox_notices_that_another_takes_its_place(tmp_path):
    path, other = tmp_path / "inbox.db", tmp_path / "other.db"
    for one in (path, other):
        fill_inbox(one, BODIES)
        without_log(one)
    with closing(LocalInbox(path)) as inbox:
        other.replace(path)
        with pytest.raises(TemporaryError, match="another inbox has taken the place"):
            inbox.last_id()


def test_an_inbox_that_cannot_be_read_is_named_before_the_target_is_touched(tmp_path):
    configure(tmp_path)
    (tmp_path / "inbox.db").write_bytes(b"garbage" * 1000)
    result = run(tmp_path, "gather")
    assert result.returncode == InboxError.exit_code
    assert not (tmp_path / "responses.db").exists()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /mnt rw - tmpfs tmpfs rw
31 30 0:44 / /mnt/share rw,relatime shared:5 master:2 - cifs //server/share rw
32 30 0:45 / /mnt/with\\040blank rw - nfs4 server:/export rw
33 30 0:46 / /mnt/both rw - ext4 /dev/vdb rw
34 30 0:47 / /mnt/both rw - fuse.sshfs user@host: rw
nonsense
"""


@POSIX
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/gatherer/inbox.db", "ext4"),
        ("/mnt/inbox.db", "tmpfs"),
        ("/mnt/share/inbox.db", "cifs"),
        ("/mnt/shared/inbox.db", "tmpfs"),
        ("/mnt/with blank/a/inbox.db", "nfs4"),
        ("/mnt/both/inbox.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path, kind):
    assert filesystem.kind_of_mount(Path(path), MOUNTS) == kind


@POSIX
@pytest.mark.parametrize("command", ["serve", "gather", "inbox check"])
def test_an_inbox_on_a_network_file_system_is_refused(tmp_path, monkeypatch, command):
    """The table of mounts is made up; everything else is real."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"22 1 0:1 / / rw - ext4 /dev/vda rw\n31 22 0:2 / {tmp_path} rw - nfs4 server:/x rw\n")
    configure(tmp_path)
    program = (
        "import sys, pathlib\n"
        "from gatherer.inbox import filesystem\n"
        f"filesystem.MOUNTS = pathlib.Path({str(mounts)!r})\n"
        f"sys.argv = ['gatherer', *{command.split()!r}]\n"
        "from gatherer.cli import main\nmain()\n"
    )
    import subprocess

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 2
    assert "on a network file system (nfs4)" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "inbox.db").exists()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (r"\\server\share\inbox.db", r"the share \\server\share"),
        (r"\\?\UNC\server\share\inbox.db", r"the share \\server\share"),
        (r"Z:\inbox.db", "the network drive Z:"),
        (r"\\?\Z:\inbox.db", "the network drive Z:"),
        (r"C:\ProgramData\gatherer\inbox.db", None),
    ],
)
def test_windows_ways_over_the_network_are_told_apart(path, kind, monkeypatch):
    """By what Windows would say of the drives; LOUD: the question itself is asked on Windows only."""
    from pathlib import PureWindowsPath

    monkeypatch.setattr(filesystem, "_drive_type", lambda root: 4 if root.startswith("Z:") else 3)
    assert filesystem.on_windows(PureWindowsPath(path)) == kind


def test_a_file_system_that_we_do_not_know_is_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    assert filesystem.network_file_system(tmp_path / "inbox.db") is None
    sqlite_file.create_private(tmp_path / "inbox.db")
