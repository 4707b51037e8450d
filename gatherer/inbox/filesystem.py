"""Refuses an inbox on a network file system: SQLite's write-ahead log needs memory that all processes share."""

import sys
from pathlib import Path
from typing import Final

from gatherer.model.errors import ConfigurationError

MOUNTS: Final = Path("/proc/self/mountinfo")
# Linux, by the names in /proc: file systems whose files another machine can change.
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
    """Check that `path`, which need not exist yet, is on a disk of this machine.

    Raises:
        ConfigurationError: it is on a network file system, which would damage SQLite's files.

    """
    kind = network_file_system(path)
    if kind is not None:
        raise ConfigurationError(
            f"the inbox {path} is on a network file system ({kind}), which would damage it: choose an [inbox] "
            "path on a local disk"
        )


def network_file_system(path: Path) -> str | None:
    """Return the kind of network file system that `path` is on; None if it is not on a known one."""
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
    """Return the kind of file system that `path` is on; None if no mount contains it.

    Args:
        path: absolute and resolved.
        mounts: the content of /proc/self/mountinfo; see proc_pid_mountinfo(5).

    """
    longest, kind = -1, None
    for line in mounts.splitlines():
        mount, _, file_system = line.partition(" - ")
        mount_fields, file_system_fields = mount.split(), file_system.split()
        if len(mount_fields) < 5 or not file_system_fields:
            continue
        mount_point = Path(_unescape(mount_fields[4]))
        contains_path = mount_point == path or mount_point in path.parents
        if (
            contains_path and len(mount_point.parts) >= longest
        ):  # of two mounts at one path the later is visible
            longest, kind = len(mount_point.parts), file_system_fields[0]
    return kind


def _unescape(mount_point: str) -> str:
    """Return `mount_point` without its octal escapes for spaces, tabs, line ends and backslashes."""
    for escape, character in ((r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")):
        mount_point = mount_point.replace(escape, character)
    return mount_point


def on_windows(path: Path) -> str | None:
    """Return the share or network drive that `path`, absolute and resolved, is on; None if it is on a local disk."""
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


def _drive_type(root: str) -> int:  # pragma: windows
    import ctypes

    windows = getattr(ctypes, "windll")  # noqa: B009 - type checkers on other systems do not know it
    return int(windows.kernel32.GetDriveTypeW(root))
