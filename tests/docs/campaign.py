"""The campaign that the examples of the pages are about: always the same rows, none of them marked as a test.

`python -m tests.docs.campaign` gathers it in the current folder, for the shell blocks of a page.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from gatherer.model.timestamps import from_milliseconds
from gatherer.simulation.campaign import Campaign
from tests.factories import RECEIVED_AT, call, fill_inbox

NAME = "Autumn offer"
MESSAGES = 300
TIME_ZONE = "Europe/London"
SENT_BEFORE = timedelta(days=1)  # the notifications are received


def responses(folder: Path) -> Path:
    """Gather the campaign into a target in `folder`, and return its file."""
    fill_inbox(folder / "inbox.db", _bodies(), endpoint="whatsapp")
    _call(folder, "init")
    configuration = folder / "gatherer.toml"
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(
        text.replace('time_zone = "UTC"', f'time_zone = "{TIME_ZONE}"'), encoding="utf-8"
    )
    _call(folder, "gather")
    path = folder / "responses.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        _map_messages(connection)
    return path


def _call(folder: Path, *arguments: str) -> None:
    result = call(folder, *arguments)
    assert result.returncode == 0, result.stderr


def _bodies() -> Iterator[bytes]:
    """Yield the bodies, with an account and a number that are not those of Meta's tests."""
    start = from_milliseconds(RECEIVED_AT) - SENT_BEFORE
    for body in Campaign(count=MESSAGES, seed=0, start=start).bodies():
        yield body.replace(b'"id":"0"', b'"id":"900000000000001"').replace(b"123456123", b"100000000000001")


def _map_messages(connection: sqlite3.Connection) -> None:
    """Fill message_map as the sender of the campaign does: a row for each message."""
    connection.execute(
        """
        INSERT INTO message_map (message_id, campaign, communication_key, urn, phone, sent_at)
        SELECT message_id, ?, 'autumn-1', replace(client_reference, 'gatherer-simulation/', ''), phone, min(occurred_at)
        FROM response WHERE kind IN ('sent', 'failed') GROUP BY message_id ORDER BY message_id
        """,
        (NAME,),
    )


if __name__ == "__main__":
    responses(Path.cwd())
