"""How much memory a process has had at the most."""

import re
from pathlib import Path
from typing import Final

import psutil

_KB: Final = 1024


def peak_bytes(process: psutil.Process | None = None) -> int:
    """Return the most memory that `process` has ever had; without one, this process.

    Not `ru_maxrss`: that of a child begins with what its parent had.
    """
    process = process or psutil.Process()
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * _KB
    except (OSError, IndexError):
        memory = process.memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
