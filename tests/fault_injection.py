"""Real faults for a running process: system calls that fail or stall, disks that fill up or disappear."""

import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until

LINUX = sys.platform == "linux"
ROOT_ON_LINUX = LINUX and os.geteuid() == 0
SYNCS = "fsync,fdatasync"
FS_IOC_SHUTDOWN = 0x8004587D  # the tests of the Linux kernel simulate a power failure with it
WITHOUT_FLUSHING_THE_LOG = 2
WRITES = "pwrite64,pwritev,write,writev,ftruncate"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test, with a loud reason, unless it runs as root on Linux and `programs` are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    reason = (
        "only root on Linux can inject this fault"
        if not ROOT_ON_LINUX
        else f"{', '.join(missing)} is missing"
    )
    return pytest.mark.skipif(
        not ROOT_ON_LINUX or bool(missing), reason=f"LOUD: {reason}, so it was not tried"
    )


@contextmanager
def inject_fault(process: "subprocess.Popen[str]", calls: str, fault: str, *paths: Path) -> Iterator[Path]:
    """Let the system calls `calls` of `process` on `paths` fail as `fault`, in the notation of strace, says; yield the trace."""
    number = len(list(paths[0].parent.glob("strace-*.txt")))
    trace = paths[0].parent / f"strace-{number}.txt"
    path_options = [part for path in paths for part in ("-P", str(path))]
    command = ["strace", "-qq", "-f", "-y", "-p", str(process.pid), "-o", str(trace), *path_options]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_until(
            lambda: tracer.poll() is not None or _all_traced(process.pid),
            "strace has not attached to the process",
        )
        assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
        yield trace
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        assert tracer.stderr is not None
        tracer.stderr.close()


def _all_traced(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all("TracerPid:\t0\n" not in (thread / "status").read_text() for thread in threads)


@contextmanager
def small_disk(mount_point: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory of `size` at `mount_point`; skip the test where that is impossible."""
    if not ROOT_ON_LINUX:
        pytest.skip("LOUD: only root on Linux can mount a small disk; a full disk was not tried")
    mount_point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount_point)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"LOUD: mounting a disk failed ({result.stderr.strip()}); a full disk was not tried")
    try:
        yield mount_point
    finally:
        subprocess.run(["umount", "-l", mount_point], check=True)


class LoopDisk:
    """A disk with its own file system, which can fail under a running process."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.mount_point = folder / "disk"
        self.mount_point.mkdir()
        with self.image.open("wb") as image:
            image.truncate(64 * 1024 * 1024)
        for command in (["mkfs.ext4", "-q", str(self.image)], self._mount_command()):
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                pytest.skip(
                    f"LOUD: making a loop disk failed ({result.stderr.strip()}); the test did not run"
                )

    def _mount_command(self) -> list[str]:
        return ["mount", "-o", "loop", str(self.image), str(self.mount_point)]

    def abort(self) -> None:
        """Make the disk read-only, as the kernel does after a disk error."""
        subprocess.run(["mount", "-o", "remount,abort", self.mount_point], check=True)

    def cut_power(self) -> None:
        """Discard all data that has not been synced, as a power failure does."""
        import fcntl

        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    def repair(self) -> None:
        """Unmount the disk, check its file system, mount it again."""
        subprocess.run(["umount", self.mount_point], check=True)
        assert subprocess.run(["fsck.ext4", "-p", "-f", self.image], capture_output=True).returncode <= 1
        subprocess.run(self._mount_command(), check=True)

    def close(self) -> None:
        """Unmount the disk."""
        subprocess.run(["umount", "-l", self.mount_point], check=False)


def traced_lines(trace: Path, process: "subprocess.Popen[str]") -> list[str]:
    """Return the lines of the file `trace` of `strace -f`, when strace has written that `process` has ended."""
    end = re.compile(rf"{process.pid} +\+\+\+ ")

    def lines() -> list[str]:
        return trace.read_text(encoding="utf-8", errors="replace").splitlines()

    wait_until(lambda: any(map(end.match, lines())), "strace does not end")
    return lines()
