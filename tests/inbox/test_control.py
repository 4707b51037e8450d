"""The request files through which commands have `serve`, or their own process, change an inbox."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gatherer import config
from gatherer.app import control as submitting
from gatherer.app.resources import load
from gatherer.config import Configuration
from gatherer.files.lock import exclusive
from gatherer.inbox import control
from gatherer.inbox.queue import InboxUnavailableError
from gatherer.model.errors import InboxError, TemporaryError
from tests.factories import configure, fill_inbox
from tests.waiting import SECONDS


def files(inbox: Path) -> list[str]:
    """Return the suffixes of the request files beside `inbox`."""
    return sorted(path.suffix for path in control.folder(inbox).iterdir())


def action(*, raises: Exception | None = None) -> Callable[[Any], Awaitable[int]]:
    """Return an action that changes as many rows as it is given values, or fails."""

    async def perform(values: Any) -> int:
        if raises is not None:
            raise raises
        return len(values)

    return perform


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox.db"


def test_a_request_is_answered_once_by_the_process_that_watches_the_folder(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "POLL_SECONDS", 0.001)

    async def main() -> list[int | None]:
        watching = asyncio.create_task(control.run(inbox, {"count": action()}))
        changed: list[int | None] = []
        async with asyncio.timeout(SECONDS):
            for values in ([1, 2, 3], []):
                answer = control.submit(inbox, "count", values)
                while (rows := control.fetch_answer(answer)) is None:
                    await asyncio.sleep(0.001)
                changed.append(rows)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return changed

    assert asyncio.run(main()) == [3, 0]
    assert files(inbox) == []


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("fail", InboxUnavailableError("the disk is full"), "the inbox cannot be written at present: the disk is full"),
        ("fail", ValueError("no ids"), "ValueError: no ids"),
        ("unknown", None, "KeyError: 'unknown'"),
    ],
)  # fmt: skip
def test_the_answer_to_a_request_that_fails_is_the_reason(
    inbox: Path, name: str, error: Exception | None, reason: str
) -> None:
    answer = control.submit(inbox, name, [])
    asyncio.run(control.perform_pending(inbox, {"fail": action(raises=error)}))
    with pytest.raises(InboxUnavailableError) as caught:
        control.fetch_answer(answer)
    assert str(caught.value) == reason
    assert files(inbox) == [], "it is not performed again"


def test_a_request_whose_answer_cannot_be_written_is_performed_again(
    inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = control.submit(inbox, "count", [1])
    answer.mkdir()
    asyncio.run(control.perform_pending(inbox, {"count": action()}))
    assert "cannot be answered" in caplog.text
    answer.rmdir()
    asyncio.run(control.perform_pending(inbox, {"count": action()}))
    assert control.fetch_answer(answer) == 1


def test_an_answer_that_no_command_fetched_is_removed_after_an_hour(inbox: Path) -> None:
    control.make_folder(inbox)
    old, young = (control.folder(inbox) / f"{name}.answer" for name in ("old", "young"))
    for path in (old, young):
        path.write_text(json.dumps({"changed": 1}), encoding="utf-8")
    an_hour_ago = time.time() - control.STALE_SECONDS
    os.utime(old, (an_hour_ago, an_hour_ago))
    os.utime(young, (an_hour_ago + SECONDS, an_hour_ago + SECONDS))
    asyncio.run(control.perform_pending(inbox, {}))
    assert (old.exists(), young.exists()) == (False, True)


# --- the command that submits -----------------------------------------------------------------------


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    fill_inbox(tmp_path / "inbox.db", [b"{}"])
    return load(configure(tmp_path), secrets=False)


def submit(configuration: Configuration, name: str = "discard") -> int:
    settings = configuration.inbox
    assert isinstance(settings, config.Inbox)
    return submitting.submit(configuration, settings, name, [1])


def test_a_command_without_serve_performs_the_action_and_releases_the_inbox(
    configuration: Configuration, inbox: Path
) -> None:
    assert submit(configuration) == 0  # there is no quarantine
    assert files(inbox) == []
    with exclusive(inbox.with_name("inbox.db.lock")):
        pass


def test_a_request_that_serve_does_not_answer_is_withdrawn(
    configuration: Configuration, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise serve would perform later what the operator was told had failed."""
    monkeypatch.setattr(submitting, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(submitting, "POLL_SECONDS", 0.01)
    with exclusive(inbox.with_name("inbox.db.lock")):  # as serve does
        with pytest.raises(TemporaryError, match="serve has not answered within"):
            submit(configuration)
    assert files(inbox) == []


def test_an_action_that_fails_is_a_temporary_error(configuration: Configuration, inbox: Path) -> None:
    with pytest.raises(TemporaryError, match="the action unknown failed: KeyError"):
        submit(configuration, "unknown")
    assert files(inbox) == []


def test_a_folder_of_requests_that_cannot_be_used_names_the_account_to_use(
    configuration: Configuration, inbox: Path
) -> None:
    control.folder(inbox).write_text("a file", encoding="utf-8")
    with pytest.raises(InboxError, match="Run this command under the account of serve"):
        submit(configuration)
