"""Real faults for a running process: system calls that fail or stall, disks that fill up or go away."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LINUX = sys.platform == "linux"
ROOT_HERE = LINUX and os.geteuid() == 0
SYNCS = "fsync,fdatasync"
FS_IOC_SHUTDOWN = 0x8004587D  # what the kernel's own tests use in place of a power failure
WITHOUT_FLUSHING_THE_LOG = 2
WRITES = "pwrite64,pwritev,write,writev,ftruncate"


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test, loudly, unless it runs as root on Linux and `programs` are installed."""
    missing = [name for name in programs if shutil.which(name) is None]
    reason = "only root on Linux can make this fault" if not ROOT_HERE else f"{', '.join(missing)} is missing"
    return pytest.mark.skipif(not ROOT_HERE or bool(missing), reason=f"LOUD: {reason}, so it was not tried")


@contextmanager
def injected(process: "subprocess.Popen[str]", calls: str, fault: str, *paths: Path) -> Iterator[Path]:
    """Let the system calls `calls` of `process` on `paths` fail as strace's `fault` says; yield the trace."""
    number = len(list(paths[0].parent.glob("strace-*.txt")))
    trace = paths[0].parent / f"strace-{number}.txt"
    places = [part for path in paths for part in ("-P", str(path))]
    command = ["strace", "-qq", "-f", "-y", "-p", str(process.pid), "-o", str(trace), *places]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 10
        while not _all_traced(process.pid):
            assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
            assert time.monotonic() < end, "strace did not get hold of the process"
            time.sleep(0.02)
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
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a disk in memory of `size` at `place`; skip where that cannot be done."""
    if not ROOT_HERE:
        pytest.skip("LOUD: only root on Linux can mount a small disk; a full disk was not tried")
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"LOUD: no disk could be mounted ({done.stderr.strip()}); a full disk was not tried")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


class LoopDisk:
    """A disk with a file system of its own, which can lose its footing under a running process."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.place = folder / "disk"
        self.place.mkdir()
        with self.image.open("wb") as image:
            image.truncate(64 * 1024 * 1024)
        for command in (["mkfs.ext4", "-q", str(self.image)], self._mounting()):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"LOUD: no loop disk could be made ({done.stderr.strip()}); it was not tried")

    def _mounting(self) -> list[str]:
        return ["mount", "-o", "loop", str(self.image), str(self.place)]

    def abort(self) -> None:
        """Do to it what the kernel does after an error of the disk: from now on it is read-only."""
        subprocess.run(["mount", "-o", "remount,abort", self.place], check=True)

    def cut_power(self) -> None:
        """Let it forget, from one moment to the next, whatever has not been synced."""
        import fcntl

        descriptor = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)

    def repair(self) -> None:
        """Unmount it, check it, mount it again."""
        subprocess.run(["umount", self.place], check=True)
        assert subprocess.run(["fsck.ext4", "-p", "-f", self.image], capture_output=True).returncode <= 1
        subprocess.run(self._mounting(), check=True)

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "-l", self.place], check=False)


def wait_until(condition, seconds: float = 20, what: object = "") -> None:
    """Return when `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.05)
