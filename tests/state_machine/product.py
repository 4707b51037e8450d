"""The product as an operator has it: two servers with an inbox each, commands, files, and one clock for all of them.

Every process is a real one. libfaketime moves the clock where it is installed.
"""

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.server_process import ROOT, Response, encode_post, read_response
from tests.state_machine.payloads import DAY, ENDPOINTS, Payload
from tests.targets import engines
from tests.waiting import SECONDS

INBOXES: Final = ("a", "b")
LIBFAKETIME: Final = next(
    (str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None
)  # Debian and Ubuntu: apt install libfaketime
KILLING: Final = ROOT / "tests" / "hand_over" / "killing"
KILLED: Final = -9 if sys.platform != "win32" else 15


class Product:
    """A folder with everything, and the processes that run in it."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder = folder
        self.engine = engine
        self.days_ahead = 0
        self._servers: dict[str, tuple[subprocess.Popen[str], int]] = {}
        self._database = engines.DATABASES["sqlserver"](folder) if engine == "sqlserver" else None
        self._write_configurations()

    def _write_configurations(self) -> None:
        endpoints = "".join(
            f'[[endpoint]]\nname = "{name}"\nprovider = "{name.partition("-")[0]}"\npath = "/{name}"\n'
            "unauthenticated = true\n"
            for name in ENDPOINTS
        )
        for inbox in INBOXES:
            text = f'[server]\nport = 0\n[inbox]\npath = "{inbox}.db"\nmin_free_bytes = 0\n{endpoints}'
            self._write(f"serve-{inbox}.toml", text)
        inboxes = "".join(f'[[inbox]]\nname = "{inbox}"\npath = "{inbox}.db"\n' for inbox in INBOXES)
        for target in ("main", "clone"):
            settings = f'[target]\nkind = "sqlite"\npath = "{target}.db"\n'
            if self._database is not None:
                settings = engines.SQLServerDatabase.settings()
            self._write(f"{target}.toml", inboxes + settings + endpoints)

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")

    # The clock

    def _environment(self, **more: str) -> dict[str, str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | more
        if LIBFAKETIME is None:
            return environment
        return environment | {
            "LD_PRELOAD": LIBFAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
            "FAKETIME_NO_CACHE": "1",  # a running server sees the change at once
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set_clock(self, days_ahead: int) -> None:
        """Let all clocks be `days_ahead` of the right time, also those of running servers."""
        self.days_ahead = days_ahead
        draft = self.folder / "clock.draft"
        draft.write_text(f"{days_ahead * DAY:+d}\n")
        draft.replace(self.folder / "clock")

    # Servers

    def serve(self, inbox: str) -> int:
        """Return the port of the server of `inbox`, which is started if it is not running."""
        if inbox not in self._servers:
            if not (self.folder / "clock").exists():
                self.set_clock(self.days_ahead)
            with (self.folder / f"serve-{inbox}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "gatherer", "--config", f"serve-{inbox}.toml", "serve"],
                    cwd=self.folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    encoding="utf-8",
                )
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listening at" in line, self.log(inbox)
            threading.Thread(target=process.stdout.read, daemon=True).start()
            self._servers[inbox] = process, int(line.split("/")[2].partition(":")[2])
        return self._servers[inbox][1]

    def log(self, inbox: str) -> str:
        """Return what the servers of `inbox` have logged."""
        return (self.folder / f"serve-{inbox}.log").read_text(encoding="utf-8")

    def stop(self, inbox: str, *, kill: bool = False) -> None:
        """Stop the server of `inbox`, if it runs: in an orderly way, or as `kill -9` does."""
        if inbox not in self._servers:
            return
        process, _ = self._servers.pop(inbox)
        process.kill() if kill else process.terminate()
        code = process.wait(SECONDS)
        assert process.stdout is not None
        process.stdout.close()
        assert kill or code == 0 or sys.platform == "win32", self.log(inbox)

    def post(self, inbox: str, payload: Payload, *, kill: bool = False) -> Response | None:
        """Post `payload` to the server of `inbox`, and return its response.

        With `kill` the server is killed at once after the request is sent; None if there is no response then.
        """
        request = encode_post(payload.body, f"/{payload.endpoint}", Content_Type=payload.content_type)
        with socket.create_connection(("127.0.0.1", self.serve(inbox)), 60) as connection:
            connection.sendall(request)
            if kill:
                self.stop(inbox, kill=True)
            try:
                return read_response(connection)
            except ConnectionError:
                assert kill, self.log(inbox)
                return None

    # Commands

    def run(self, *arguments: str, kill_at: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command. With `kill_at` it is killed at the operation with this number, if it gets so far."""
        more = {}
        if kill_at is not None:
            counter = self.folder / "operations"
            counter.unlink(missing_ok=True)
            more = {"KILL_AT": str(kill_at), "KILL_COUNT": str(counter)}
            more["PYTHONPATH"] = os.pathsep.join([str(KILLING), str(ROOT)])
        if not (self.folder / "clock").exists():
            self.set_clock(self.days_ahead)
        return subprocess.run(
            [sys.executable, "-m", "gatherer", *arguments],
            cwd=self.folder,
            env=self._environment(**more),
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    def gather(self, target: str, *options: str, kill_at: int | None = None) -> tuple[int, dict[str, Any]]:
        """Run `gatherer gather`; return the exit code and the summary, which is empty if the run was killed."""
        result = self.run("--config", f"{target}.toml", "gather", "--json", *options, kill_at=kill_at)
        if result.returncode == KILLED:
            return KILLED, {}
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout)

    # What is stored

    def identity(self, inbox: str) -> str:
        """Return the identity of an inbox."""
        with self._opened(inbox) as connection:
            return str(connection.execute("SELECT identity FROM inbox").fetchone()[0])

    def notifications(self, inbox: str) -> list[tuple[int, int, str, bytes]]:
        """Return id, time of receipt in milliseconds, endpoint and body of each notification of an inbox."""
        with self._opened(inbox) as connection:
            query = "SELECT id, received_at, endpoint, body FROM notification ORDER BY id"
            return connection.execute(query).fetchall()

    def purged_to(self, inbox: str) -> int:
        """Return up to which id an inbox was purged."""
        with self._opened(inbox) as connection:
            return int(connection.execute("SELECT purged_to FROM inbox").fetchone()[0])

    def query(self, target: str, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query of a target; $(schema). stands before each table."""
        if self._database is not None:
            return self._database.query(query)
        with self._opened(target) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query.replace("$(schema).", ""))]

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[sqlite3.Connection]:
        uri = (self.folder / f"{name}.db").as_uri()
        with closing(sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=SECONDS)) as connection:
            yield connection

    # Files

    def exists(self, name: str) -> bool:
        """Return whether there is a file of the inbox or the target `name`."""
        return (self.folder / f"{name}.db").exists()

    def copy(self, name: str, to: Path) -> None:
        """Copy the file of the target `name` as SQLite's own backup does."""
        with self._opened(name) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)

    def put(self, copy: Path, name: str) -> None:
        """Put a copy in the place of a file as an operator does who knows SQLite: its old log is removed."""
        for suffix in ("-wal", "-shm"):
            Path(f"{self.folder / name}.db{suffix}").unlink(missing_ok=True)
        shutil.copyfile(copy, self.folder / f"{name}.db")

    def move_away(self, inbox: str) -> None:
        """Move the files of `inbox` into a folder, so that `serve` begins a new one."""
        away = self.folder / f"away-{inbox}-{len(list(self.folder.glob(f'away-{inbox}-*')))}"
        away.mkdir()
        for path in self.folder.glob(f"{inbox}.db*"):
            if path.is_file():
                path.rename(away / path.name)

    def close(self) -> None:
        """End all processes."""
        for inbox in list(self._servers):
            self.stop(inbox, kill=True)
