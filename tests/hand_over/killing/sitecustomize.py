"""Kills a run where a test says, as `kill -9` does: at the operation with the number KILL_AT, of any of its processes.

An operation is what changes something outside of the process: a file is opened for writing, renamed, linked or
deleted, a database is opened, a program is started. They are counted in the file KILL_COUNT.
"""

import os
import signal
import sys
from typing import Any

OPERATIONS = frozenset({"os.rename", "os.link", "os.remove", "sqlite3.connect", "subprocess.Popen"})
WRITING = os.O_WRONLY | os.O_RDWR
SIGNAL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows knows no signals: any ends the process at once
_busy = False


def count_and_kill(event: str, arguments: tuple[Any, ...]) -> None:
    """Count an operation. At the number KILL_AT, kill the run and this process."""
    global _busy
    is_writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    if _busy or not (event in OPERATIONS or is_writing):
        return
    _busy = True
    try:
        counter = os.open(os.environ["KILL_COUNT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(counter, b"x")
        number = os.fstat(counter).st_size
        os.close(counter)
    finally:
        _busy = False
    if number == int(os.environ["KILL_AT"]):
        for process in {int(os.environ["KILL_RUN"]), os.getpid()}:
            os.kill(process, SIGNAL)


if "KILL_AT" in os.environ:
    os.environ.setdefault("KILL_RUN", str(os.getpid()))
    sys.addaudithook(count_and_kill)
