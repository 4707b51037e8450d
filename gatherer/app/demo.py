"""`gatherer demo`: a server, requests and runs on one machine, and a check that nothing is counted twice."""

import hashlib
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gatherer.app.gather import GatherResult, gather_inboxes
from gatherer.app.resources import load
from gatherer.config import SQLiteTarget, example
from gatherer.files.lock import LockHeldError
from gatherer.model.errors import ConfigurationError, GathererError
from gatherer.simulation import destination, sender
from gatherer.simulation.campaign import Campaign, yesterday

ENDPOINT: Final = "whatsapp"
LOG_NAME: Final = "serve.log"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0
_LISTENING: Final = re.compile(r"listening at (http://[^/\s]+)/")
_FACTS: Final = ("response", "rejected", "other_event", "template_event", "flow_event", "account_event")


class DemoError(GathererError):
    """A step of the demonstration failed."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The contents of the tables of the target."""

    kinds: dict[str, int]  # number of responses by kind
    failures: list[tuple[int, str, int]]  # code, title, number of responses
    reactions: list[tuple[str, int]]  # current emoji and number of reactions; '': removed
    replies: list[tuple[str, str]]  # type and text, at most three of each type
    rejected: list[str]  # reasons
    tests: int  # number of rows marked as tests
    digest: str  # SHA-256 of every row of every table of facts: equal rows have equal digests


class Demo:
    """A demonstration in a folder that holds its configuration, inbox and target."""

    def __init__(self, folder: Path, *, count: int, seed: int) -> None:
        """Write a configuration into `folder`, which must be empty or new.

        Args:
            folder: created if it does not exist.
            count: number of messages of the campaign.
            seed: of the campaign: the same seed makes the same campaign.

        Raises:
            ConfigurationError: the folder is not empty, or cannot be written.

        """
        try:
            occupied = folder.exists() and any(folder.iterdir())
        except OSError as error:
            raise ConfigurationError(f"{folder} cannot be used: {error.strerror or error}") from None
        if occupied:
            raise ConfigurationError(f"{folder} is not empty; choose a folder that does not exist yet")
        self.folder = folder
        secret = example.token()
        replaced = {
            "port = ": "port = 0                                # any free port, because this is a demonstration",
            "#app_secrets = ": f'app_secrets = ["{secret}"]',
        }
        content = example.filled(verify_token=example.token(), url_key=example.token(), replaced=replaced)
        self.path = example.write(folder, content)
        self.configuration = load(self.path, secrets=True)
        target = self.configuration.target
        assert isinstance(target, SQLiteTarget), "the example's target is a file"  # noqa: S101
        self.responses = target.path
        self.campaign = Campaign(count=count, seed=seed, start=yesterday())
        self.bodies = list(self.campaign.bodies())

    @contextmanager
    def server(self) -> Iterator[str]:
        """Run `gatherer serve` in a child process for the duration of the block. Yields its URL without a path.

        Raises:
            DemoError: the server does not start, or does not stop cleanly.

        """
        command = [
            sys.executable,
            "-m",
            "gatherer",
            "--config",
            str(self.path),
            "--log-level",
            "warning",
            "serve",
            "--stop-with-input",
        ]
        # In its own process group, so that Ctrl-C reaches only this process, which then stops the server cleanly. If
        # this process is killed, the server's input ends, and it stops as well.
        own_group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        log = self.folder / LOG_NAME
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the interpreter and module of this process
                command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, **own_group
            )
        try:
            yield _wait_for_address(process, log)
        finally:
            code = _stop(process)
        if code:
            raise DemoError(f"the server ended with exit code {code}; {log} says: {_tail(log)}")

    def post(self, address: str, progress: Callable[[int, int | None], None]) -> sender.Delivery:
        """Post the campaign to the server at `address`, and return the figures of its responses.

        Raises:
            GathererError: the server did not accept every request.

        """
        endpoint = self.configuration.endpoint[0]
        receiver = destination.of_endpoint(self.configuration, endpoint.name, address + endpoint.url_path)
        delivery = sender.post_bodies(
            self.bodies, receiver, progress=lambda posted: progress(posted, len(self.bodies))
        )
        delivery.check()
        return delivery

    def gather(self, progress: Callable[[int, int | None], None]) -> GatherResult:
        """Run `gather` once, and return its result."""
        try:
            return gather_inboxes(self.configuration, progress=progress)
        except LockHeldError as error:
            raise DemoError(f"another run is in progress in {self.folder}: {error.holder}") from None

    def figures(self) -> Figures:
        """Return the current contents of the tables."""
        with closing(sqlite3.connect(self.responses)) as target:
            return _figures(target)


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that the server announces once it accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(encoding="utf-8", errors="replace")
        if match := _LISTENING.search(text):
            return match[1]
        if process.poll() is not None:
            raise DemoError(f"the server did not start: {_tail(log)}")
        time.sleep(0.05)
    raise DemoError(f"the server did not start within {START_SECONDS:.0f} s: {_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    """Stop the server by closing its input, and return its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise DemoError("the server did not stop when its input ended, and was killed") from None


def _tail(log: Path) -> str:
    """Return the last lines of the file `log` as one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " / ".join(line for line in lines[-6:] if line) or "nothing"


def _figures(target: sqlite3.Connection) -> Figures:
    digest = hashlib.sha256()
    for table in _FACTS:
        for row in target.execute(f"SELECT * FROM {table} ORDER BY key"):
            digest.update(repr(row).encode("utf-8", "surrogatepass"))
    return Figures(
        kinds=dict(
            target.execute("SELECT kind, count(*) FROM response GROUP BY kind ORDER BY 2 DESC, 1").fetchall()
        ),
        failures=target.execute(
            "SELECT error_code, min(error_title), count(*) FROM response WHERE kind = 'failed'"
            " GROUP BY error_code ORDER BY 3 DESC, 1"
        ).fetchall(),
        # The latest reaction of each person to a message counts: SQLite takes bare columns from the row of the max.
        reactions=target.execute(
            "SELECT emoji, count(*) FROM (SELECT emoji, max(occurred_at) FROM response WHERE kind = 'reacted'"
            " GROUP BY about_message_id, coalesce(phone, user_id)) GROUP BY emoji ORDER BY 2 DESC, 1"
        ).fetchall(),
        replies=target.execute(
            "SELECT reply_type, text FROM (SELECT reply_type, iif(reply_type = 'flow', reply_payload, reply_text)"
            " AS text, row_number() OVER (PARTITION BY reply_type ORDER BY min(occurred_at), key) AS nth"
            " FROM response WHERE kind = 'replied' GROUP BY 1, 2) WHERE nth <= 3 ORDER BY reply_type, nth"
        ).fetchall(),
        rejected=[reason for (reason,) in target.execute("SELECT reason FROM rejected ORDER BY key")],
        tests=target.execute("SELECT count(*) FROM response WHERE is_test").fetchone()[0],
        digest=digest.hexdigest(),
    )
