"""The peak memory of a process."""

import re
from pathlib import Path
from typing import Final

import psutil

_KB: Final = 1024


def peak_bytes(process: psutil.Process | None = None) -> int:
    """Return the peak memory of `process`, by default of this process, in bytes.

    `ru_maxrss` is unsuitable: that of a child starts with the value of its parent.
    """
    process = process or psutil.Process()
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * _KB
    except (OSError, IndexError):
        memory = process.memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
