"""Access to an inbox: a group that shares it, a reader without its log, file systems that are rejected."""

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
from tests.inbox.test_reader import NOBODY, run_in_child
from tests.server_process import run_server

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="LOUD: Windows shares by access control lists")
ROOT = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0, reason="LOUD: only root can switch accounts"
)
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
        return [notification.body for notification in inbox.read(0, Bounds())]


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def remove_log(path: Path) -> None:
    """Remove the files that SQLite removes when the last program closes the database."""
    for suffix in ("-wal", "-shm"):
        assert suffix != "-wal" or Path(f"{path}-wal").stat().st_size == 0
        Path(f"{path}{suffix}").unlink()


def own_group() -> str:
    import grp

    return grp.getgrgid(os.getgid()).gr_name


@POSIX
def test_folder_and_files_belong_to_the_configured_group(tmp_path):
    path = tmp_path / "data" / "inbox.db"
    for _ in range(2):
        with closing(InboxWriter(path, group=own_group())):
            assert mode(path.parent) == mode(consumers.folder(path)) == "2770"
            for suffix in ("", "-wal", "-shm", ".lock", ".lock.holder"):
                assert mode(Path(f"{path}{suffix}")) == "660", suffix
    consumers.acknowledge(path, "reports", "a", 1)
    assert mode(consumers.folder(path) / "reports.json") == "660"


@POSIX
def test_without_a_group_only_the_owner_has_access(tmp_path):
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
def test_an_account_in_the_group_reads_and_acknowledges_while_serve_writes(folder, running):
    """`serve` runs as root here, with files of the group of `nobody`; `gather` runs as `nobody`."""
    import grp

    path = folder / "data" / "inbox.db"
    group = grp.getgrgid(NOBODY).gr_name

    def gather() -> str:
        os.umask(0o077)
        with closing(LocalInbox(path)) as inbox:
            batch = inbox.read(0, Bounds())
            consumers.acknowledge(path, "reports", inbox.identity, batch[-1].id)
        return str(len(batch))

    def write() -> None:
        with closing(InboxWriter(path, group=group)) as writer:
            asyncio.run(append(writer))
            if running:
                assert run_in_child(gather, as_nobody=True) == "1"
        if not running:
            assert run_in_child(gather, as_nobody=True) == "1"

    write()
    (consumer,) = consumers.read_all(path)
    assert (consumer.name, consumer.notification_id) == ("reports", 1)
    with closing(InboxWriter(path, group=group)) as writer:
        asyncio.run(append(writer))
    assert len(bodies(path)) == 2


async def append(writer: InboxWriter) -> None:
    await writer.append(NotificationRow(1_790_000_000_000, "e", "meta", None, None, None, b"{}"))


@POSIX
@pytest.mark.parametrize(
    ("group", "parent", "message"),
    [("no-such-group", "data", "has no group 'no-such-group'"), (None, "open", "needs a private folder")],
)
def test_an_unusable_group_is_reported_before_files_are_created(tmp_path, group, parent, message):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    with pytest.raises(ConfigurationError, match=message):
        InboxWriter(tmp_path / parent / "inbox.db", group=group or own_group())
    assert mode(tmp_path / "open") == "1777"


@POSIX
@ROOT
@FORKS
def test_the_error_for_an_account_outside_the_group_names_the_command(folder):
    import grp  # noqa: F401 - the child process may not be able to import it

    os.chown(folder, NOBODY, NOBODY)
    outcome = run_in_child(
        lambda: str(InboxWriter(folder / "data" / "inbox.db", group="root")), as_nobody=True
    )
    assert outcome.startswith("ConfigurationError: ")
    assert "chgrp root" in outcome
    assert "\n" not in outcome


@POSIX
@FORKS
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "readable only"])
def test_reading_an_inbox_without_its_log_creates_no_files(folder, writable):
    path = folder / "inbox.db"
    fill_inbox(path, BODIES)
    remove_log(path)
    if not writable:
        path.chmod(0o444)
        folder.chmod(0o555)
    before = sorted(folder.iterdir())
    assert run_in_child(lambda: str(len(bodies(path))), as_nobody=not writable) == "30"
    assert sorted(folder.iterdir()) == before
    folder.chmod(0o755)


def test_a_copy_of_the_database_file_alone_is_readable(tmp_path):
    fill_inbox(tmp_path / "inbox.db", BODIES)
    (tmp_path / "copy.db").write_bytes((tmp_path / "inbox.db").read_bytes())
    assert bodies(tmp_path / "copy.db") == BODIES


@POSIX
@FORKS
def test_a_log_without_its_index_is_an_error_when_it_cannot_be_read(folder):
    """Rows in the log are not yet in the file: reading the file alone would skip them silently."""
    with run_server(folder) as server:
        for body in BODIES:
            assert server.post(body).status == 200
        server.kill()
        path = server.inbox
    Path(f"{path}-shm").unlink()
    for file in (path, Path(f"{path}-wal")):
        file.chmod(0o444)
    folder.chmod(0o555)
    outcome = run_in_child(lambda: str(len(bodies(path))), as_nobody=True)
    folder.chmod(0o755)
    assert outcome.startswith("InboxError: the inbox ")
    assert "cannot be opened" in outcome


def test_a_reader_of_an_idle_inbox_sees_rows_after_serve_starts(tmp_path):
    path = tmp_path / "inbox.db"
    fill_inbox(path, BODIES)
    remove_log(path)
    with closing(LocalInbox(path)) as inbox:
        assert len(inbox.read(0, Bounds())) == 30
        with closing(InboxWriter(path)) as writer:
            asyncio.run(append(writer))
            assert [notification.body for notification in inbox.read(30, Bounds())] == [b"{}"]
            assert inbox.last_id() == 31
        assert len(inbox.read(0, Bounds())) == 31


def test_a_reader_of_an_idle_inbox_notices_that_the_file_was_replaced(tmp_path):
    path, other = tmp_path / "inbox.db", tmp_path / "other.db"
    for database in (path, other):
        fill_inbox(database, BODIES)
        remove_log(database)
    with closing(LocalInbox(path)) as inbox:
        other.replace(path)
        with pytest.raises(TemporaryError, match="another inbox replaced"):
            inbox.last_id()


def test_an_unreadable_inbox_is_reported_before_the_target_is_created(tmp_path):
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
def test_the_file_system_is_that_of_the_nearest_mount_point(path, kind):
    assert filesystem.kind_of_mount(Path(path), MOUNTS) == kind


@POSIX
@pytest.mark.parametrize("command", ["serve", "gather", "inbox check"])
def test_an_inbox_on_a_network_file_system_is_rejected(tmp_path, monkeypatch, command):
    """Only the table of mounts is replaced."""
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
def test_windows_network_paths_are_recognised(path, kind, monkeypatch):
    """The types of the drives are replaced; LOUD: the query itself runs on Windows only."""
    from pathlib import PureWindowsPath

    monkeypatch.setattr(filesystem, "_drive_type", lambda root: 4 if root.startswith("Z:") else 3)
    assert filesystem.on_windows(PureWindowsPath(path)) == kind


def test_an_unknown_file_system_counts_as_local(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "none")
    assert filesystem.network_file_system(tmp_path / "inbox.db") is None
    sqlite_file.create_private(tmp_path / "inbox.db")
