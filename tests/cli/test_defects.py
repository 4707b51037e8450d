"""A defect of gatherer, and a full disk under the output: one line, an exit code, and nothing of what people wrote."""

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatherer.app import status as app_status
from gatherer.inbox.reader import LocalInbox
from tests.factories import call, configure, fill_inbox, receipts, rows

PERSON = "+15550001111"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RuntimeError(f"cannot handle {PERSON}"), 70, "Error: a defect in gatherer, RuntimeError; --log-level debug shows where"),
        (OSError(errno.EIO, "Input/output error"), 70, "Error: a defect in gatherer, OSError ([Errno 5] Input/output error); --log-level debug shows where"),
        (OSError(errno.ENOSPC, "No space left on device"), 75, "Error: the output could not be written: No space left on device"),
    ],
)  # fmt: skip
def test_an_unexpected_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, line: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(app_status, "status", fail)
    configure(tmp_path)
    result = call(tmp_path, "status")
    assert (result.returncode, result.stderr.decode()) == (code, f"{line}\n")
    explained = call(tmp_path, "--log-level", "debug", "status").stderr.decode()
    assert ("test_defects.py" in explained) == (code == 70), "where it was raised"
    assert PERSON not in explained


def test_a_defect_with_one_inbox_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DefectiveInbox(LocalInbox):
        def last_id(self) -> int:
            if self.path.name == "bad.db":
                raise RuntimeError(f"cannot handle {PERSON}")
            return super().last_id()

    monkeypatch.setattr("gatherer.inbox.reader.LocalInbox", DefectiveInbox)
    for name in ("bad", "good"):
        fill_inbox(tmp_path / f"{name}.db", [receipts(f"wamid.{name}")])
    configure(
        tmp_path, "[[inbox]]\nname = 'bad'\npath = 'bad.db'\n[[inbox]]\nname = 'good'\npath = 'good.db'\n"
    )
    result = call(tmp_path, "gather", "--json")
    assert result.returncode == 70
    bad, good = json.loads(result.stdout)["inboxes"]
    assert (bad["exit_code"], bad["problem"]) == (
        70,
        "a defect in gatherer, RuntimeError; the log shows where",
    )
    assert (good["exit_code"], good["read"]) == (0, 1)
    assert [row["message_id"] for row in rows(tmp_path / "responses.db")] == ["wamid.good"]
    assert b"test_defects.py" in result.stderr
    with closing(sqlite3.connect(tmp_path / "responses.db")) as target:
        recorded = target.execute("SELECT group_concat(problem) FROM gather_run").fetchone()[0]
    assert PERSON not in result.stderr.decode() + result.stdout.decode() + str(recorded)
