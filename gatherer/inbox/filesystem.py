"""On which kind of file system an inbox may be: SQLite's write-ahead log needs memory shared by all its readers."""

import sys
from pathlib import Path
from typing import Final

from gatherer.model.errors import ConfigurationError

MOUNTS: Final = Path("/proc/self/mountinfo")
# Of Linux, as /proc has them: file systems whose files another machine may change.
_NETWORK: Final = frozenset(
    {
        *(
            "9p",
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "coda",
            "davfs",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
        ),
        *("nfs4", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse"),
        *("fuse.glusterfs", "fuse.juicefs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"),
    }
)
_DRIVE_REMOTE: Final = 4  # of Windows' GetDriveTypeW


def check(path: Path) -> None:
    """Make sure that the inbox at `path`, whether there or not, is on a disk of this machine.

    Raises:
        ConfigurationError: it is on a network file system, where SQLite's files get damaged.

    """
    kind = network_file_system(path)
    if kind is not None:
        raise ConfigurationError(
            f"the inbox {path} is on a network file system ({kind}), where it would be damaged: choose an [inbox] "
            "path on a local disk"
        )


def network_file_system(path: Path) -> str | None:
    """Return which network file system `path` is on; None if it is on none that we know."""
    real = path.resolve()
    if sys.platform == "win32":
        return on_windows(real)
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # not Linux
        return None
    kind = kind_of_mount(real, mounts)
    return kind if kind in _NETWORK else None


def kind_of_mount(path: Path, mounts: str) -> str | None:
    """Return the kind of file system that `path`, absolute and resolved, is on according to `mounts`.

    `mounts` is as in /proc/self/mountinfo; see proc_pid_mountinfo(5). Of two mounts at one place the later counts.
    """
    found, kind = -1, None
    for line in mounts.splitlines():
        mounted, _, described = line.partition(" - ")
        fields, words = mounted.split(), described.split()
        if len(fields) < 5 or not words:
            continue
        place = Path(_unescaped(fields[4]))
        if (place == path or place in path.parents) and len(place.parts) >= found:
            found, kind = len(place.parts), words[0]
    return kind


def _unescaped(place: str) -> str:
    """Return `place` without the octal escapes that stand for blanks, tabulators, line ends and backslashes."""
    for escape, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        place = place.replace(escape, character)
    return place


def on_windows(path: Path) -> str | None:
    """Return how Windows reaches `path`, absolute and resolved, if that is over the network."""
    drive = path.drive
    for prefix in ("\\\\?\\", "\\\\.\\"):
        drive = drive.removeprefix(prefix)
    if drive.upper().startswith("UNC\\"):
        drive = "\\\\" + drive[4:]
    if drive.startswith("\\\\"):
        return f"the share {drive}"
    if drive and _drive_type(f"{drive}\\") == _DRIVE_REMOTE:
        return f"the network drive {drive}"
    return None


def _drive_type(root: str) -> int:
    import ctypes

    windows = getattr(ctypes, "windll")  # noqa: B009 - there is none elsewhere, also not for type checkers
    return int(windows.kernel32.GetDriveTypeW(root))
