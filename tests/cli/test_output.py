"""What commands print for people and for programs."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.factories import configure, fill_inbox, receipts, run


def _read_terminal(master: int, shown: list[bytes]) -> None:
    """Append to `shown` what programs write to a pseudo-terminal, until all of them have closed it."""
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65_536):
            shown.append(chunk)


@pytest.mark.skipif(sys.platform != "linux", reason="LOUD: other systems end pseudo-terminals in other ways")
def test_a_progress_bar_is_shown_on_a_terminal_and_only_there(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    shown: list[bytes] = []
    master, terminal = os.openpty()
    reader = threading.Thread(target=_read_terminal, args=(master, shown))
    command = [sys.executable, "-m", "gatherer", "gather"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        reader.start()
        output, _ = process.communicate(timeout=120)
    reader.join()
    os.close(master)
    progress = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(shown).decode())
    assert re.search(r"gathering \S+ 1/1 ", progress), progress
    assert output.startswith(b"gathered 1 notifications")
    assert b"\x1b" not in output
    piped = run(tmp_path, "gather")
    assert (piped.returncode, piped.stderr) == (0, b"")
