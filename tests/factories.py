"""Builders of test data: WhatsApp bodies, notifications, filled inboxes; helpers that run commands and read rows."""

import asyncio
import io
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import chdir, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

from gatherer import cli
from gatherer.inbox.writer import InboxWriter, NotificationRow
from gatherer.model.notification import Notification
from gatherer.model.timestamps import from_milliseconds

STREAMS = ("stdin", "stdout", "stderr")
RECEIVED_AT = 1_790_000_000_000  # milliseconds; the first notification, then one every second


def value(*, statuses: Iterable[Any] = (), messages: Iterable[Any] = ()) -> dict[str, Any]:
    """Return a `value` of the field `messages`."""
    parts: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550002222", "phone_number_id": "100000000000001"},
    }
    if statuses:
        parts["statuses"] = list(statuses)
    if messages:
        parts["messages"] = list(messages)
    return parts


def envelope(*values: dict[str, Any]) -> bytes:
    """Return the body of a request from Meta."""
    changes = [{"field": "messages", "value": item} for item in values]
    body = {"object": "whatsapp_business_account", "entry": [{"id": "900000000000001", "changes": changes}]}
    return json.dumps(body).encode()


def status(message_id: str, word: str = "sent", at: int = 1_790_000_000, **more: Any) -> dict[str, Any]:
    """Return an element of `statuses`."""
    return {
        "id": message_id,
        "status": word,
        "timestamp": str(at),
        "recipient_id": "15550001111",
        **more,
    }


def text(message_id: str, body: str = "hello", **more: Any) -> dict[str, Any]:
    """Return a text message for `messages`."""
    return {
        "from": "15550001111",
        "id": message_id,
        "timestamp": "1790000100",
        "type": "text",
        "text": {"body": body},
        **more,
    }


def reaction(message_id: str, about: str, **emoji: Any) -> dict[str, Any]:
    """Return a reaction for `messages`."""
    return {
        "from": "15550001111",
        "id": message_id,
        "timestamp": "1790000200",
        "type": "reaction",
        "reaction": {"message_id": about, **emoji},
    }


def receipts(*message_ids: str, word: str = "sent") -> bytes:
    """Return the body of a request with a receipt for each message."""
    return envelope(value(statuses=[status(message_id, word) for message_id in message_ids]))


def fill_inbox(
    path: Path,
    bodies: Iterable[bytes],
    *,
    endpoint: str = "apteco",
    provider: str = "meta",
    received_at: int = RECEIVED_AT,
) -> None:
    """Append `bodies` to the inbox at `path` with the real writer, creating it if needed.

    They were received at seconds that follow each other from `received_at`, in milliseconds since 1970.
    """

    async def append_all() -> None:
        with closing(InboxWriter(path)) as writer:
            notifications = (
                NotificationRow(
                    received_at + i * 1000, endpoint, provider, "203.0.113.9", "application/json", None, body
                )
                for i, body in enumerate(bodies)
            )
            while group := list(islice(notifications, 100)):  # no more than fits into one commit
                await asyncio.gather(*map(writer.append, group))

    asyncio.run(append_all())


def notification(body: bytes, number: int = 1, provider: str = "meta", **more: Any) -> Notification:
    """Return a notification that is stored in no inbox."""
    at = from_milliseconds(RECEIVED_AT + number * 1000)
    return Notification(number, "inbox-a", at, "apteco", provider, body)._replace(**more)


def inbox_files(folder: Path) -> list[Path]:
    """Return the files of the inbox in `folder`, without the folders beside it."""
    return [path for path in folder.glob("inbox.db*") if path.is_file()]


def rows(path: Path, table: str = "response", *, aside: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return all rows of `table` in order of key, without surrogate ids, times of writing and the columns `aside`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        excluded = {"id", "inserted_at", "changed_at", "commit_number", "told_commit_number", *aside}
        records = connection.execute(f"SELECT * FROM {table} ORDER BY key").fetchall()
        return [{name: row[name] for name in row.keys() if name not in excluded} for row in records]  # noqa: SIM118


def all_rows(path: Path, *, aside: Iterable[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table that holds facts, by table."""
    tables = ("response", "template_event", "flow_event", "account_event", "other_event", "rejected")
    return {table: rows(path, table, aside=aside) for table in tables}


CONFIGURATION = """
[server]
port = 0
[[endpoint]]
name = "apteco"
provider = "meta"
path = "/webhook/apteco"
app_secrets = ["secret-of-the-app"]
verify_token = "token-of-the-handshake"
"""


def configure(folder: Path, text: str = CONFIGURATION) -> Path:
    """Write a configuration into `folder`."""
    path = folder / "gatherer.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run(
    folder: Path, *arguments: str, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `gatherer` with `arguments` in `folder`, as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gatherer", *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
        env=os.environ | environment,
    )


def call(
    folder: Path, *arguments: str, stdin: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Do what `run` does, but in this process: that takes a tenth of the time.

    For tests that do not depend on a separate process. The command must end by itself.
    """
    streams = [
        io.TextIOWrapper(io.BytesIO(content), "utf-8", write_through=True) for content in (stdin, b"", b"")
    ]
    with (
        chdir(folder),
        mock.patch.dict(os.environ, environment),
        mock.patch.multiple(sys, argv=["gatherer", *arguments], **dict(zip(STREAMS, streams, strict=True))),
        _logging_restored(),
    ):
        try:
            cli.main()
            code: str | int | None = 0
        except SystemExit as exit_request:
            code = exit_request.code
    _, output, errors = (stream.buffer.getvalue() for stream in streams)  # type: ignore[attr-defined]
    assert code is None or isinstance(code, int), code
    return subprocess.CompletedProcess(["gatherer", *arguments], code or 0, output, errors)


@contextmanager
def _logging_restored() -> Iterator[None]:
    """Undo afterwards what a command changes in logging, which is global to the process."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    settings = {logger: (logger.level, list(logger.filters)) for logger in _loggers()}
    try:
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        for logger in _loggers():
            level, logger.filters = settings.get(logger, (logging.NOTSET, []))
            logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    root = logging.getLogger()
    return [
        root,
        *(logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)),
    ]
