"""One run over local and remote inboxes: independent of each other, with the right rows even if some fail."""

import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from gatherer.inbox import consumers
from gatherer.inbox.base import Bounds
from gatherer.pipeline.gather import gather_inbox
from gatherer.targets.sqlite.target import SQLiteTarget
from tests.factories import call, configure, fill_inbox, inbox_files, receipts, rows
from tests.server.pull.pull_server import TOKEN, PullServer, run_pull_server
from tests.server_process import OPEN, encode_post, read_response
from tests.waiting import wait_until


def section(name: str, pull_server: PullServer) -> str:
    return (
        f"[[inbox]]\nname = '{name}'\nurl = '{pull_server.url}'\ntoken = '{TOKEN}'\nca = '{pull_server.ca}'\n"
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


AWAY = "[[inbox]]\nname = 'away'\nurl = 'https://127.0.0.1:1'\ntoken = 't'\n"


def gather(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    result = call(folder, "gather", "--json", *options)
    assert b"Traceback" not in result.stderr
    return result.returncode, json.loads(result.stdout) if result.stdout else {}


def test_local_and_remote_inboxes_are_gathered_in_one_run(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts("wamid.A"), receipts("wamid.B"), receipts("wamid.C")])
    fill_inbox(tmp_path / "here.db", [receipts("wamid.C"), receipts("wamid.D")])
    with run_pull_server(web) as pull_server:
        configure(tmp_path, section("web1", pull_server) + "[[inbox]]\nname = 'here'\npath = 'here.db'\n")
        code, summary = gather(tmp_path)
        assert code == 0
        assert (summary["read"], summary["inserted"]) == (5, {"sent": 4})
        assert summary["duplicates"] + summary["filled"] == 1
        assert summary["position"] is None
        by_name = {inbox["name"]: inbox for inbox in summary["inboxes"]}
        assert [(by_name[name]["read"], by_name[name]["position"]) for name in ("web1", "here")] == [
            (3, 3),
            (2, 2),
        ]
        assert gather(tmp_path)[1]["read"] == 0
        # Both inboxes know the position of the target, which their purge uses.
        with closing(SQLiteTarget(tmp_path / "responses.db")) as target:
            for inbox, reached in ((web / "inbox.db", 3), (tmp_path / "here.db", 2)):
                assert [(c.name, c.notification_id) for c in consumers.read_all(inbox)] == [
                    (target.identity, reached)
                ]
        state = json.loads(call(tmp_path, "status", "--json").stdout)
        assert [(inbox["name"], inbox["backlog"], inbox["problem"]) for inbox in state["inboxes"]] == [
            ("web1", 0, None),
            ("here", 0, None),
        ]
        printed = call(tmp_path, "status").stdout.decode()
        assert "inbox web1" in printed
        assert "inbox here" in printed
        output = call(tmp_path, "gather").stdout.decode()
        assert output.count("inbox web1: gathered 0 notifications") == 1


def test_the_summary_and_status_of_a_single_inbox_have_their_own_keys(tmp_path: Path) -> None:
    configure(tmp_path)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    code, summary = gather(tmp_path)
    assert code == 0
    assert summary["position"] == 1
    assert [inbox["name"] for inbox in summary["inboxes"]] == ["inbox"]
    assert json.loads(call(tmp_path, "status", "--json").stdout)["inbox"]["position"] == 1
    assert "inbox inbox" not in call(tmp_path, "gather").stdout.decode()


def test_a_failing_inbox_does_not_stop_the_others(tmp_path: Path) -> None:
    """A temporary failure gives exit code 75."""
    fill_inbox(tmp_path / "here.db", [receipts("wamid.A")])
    here = "[[inbox]]\nname = 'here'\npath = 'here.db'\n"
    configure(tmp_path, AWAY + here)
    code, summary = gather(tmp_path)
    assert code == 75
    assert [inbox["exit_code"] for inbox in summary["inboxes"]] == [75, 0]
    assert "inbox away at https://127.0.0.1:1" in summary["inboxes"][0]["problem"]
    assert len(rows(tmp_path / "responses.db")) == 1
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection:
        runs = connection.execute("SELECT exit_code, problem FROM gather_run ORDER BY id").fetchall()
    assert [code for code, _ in runs] == [75, 0]
    assert runs[0][1].startswith("inbox away: ")


@pytest.mark.nightly
def test_status_shows_every_inbox_and_the_worst_decides_the_exit_code(tmp_path: Path) -> None:
    """75 for a temporary failure, 3 for one that needs the operator."""
    fill_inbox(tmp_path / "here.db", [receipts("wamid.A")])
    here = "[[inbox]]\nname = 'here'\npath = 'here.db'\n"
    configure(tmp_path, here)
    assert gather(tmp_path)[0] == 0
    configure(tmp_path, AWAY + here)
    result = call(tmp_path, "status", "--json")
    assert result.returncode == 75
    away, shown = json.loads(result.stdout)["inboxes"]
    assert "tried" in away["problem"]
    assert shown["backlog"] == 0
    missing = "[[inbox]]\nname = 'gone'\npath = 'gone.db'\n"
    configure(tmp_path, missing + AWAY + here)
    assert gather(tmp_path)[0] == 3
    configure(tmp_path, missing + here)
    result = call(tmp_path, "gather")
    assert result.returncode == 3
    assert b"inbox gone: failed: there is no inbox at" in result.stdout
    assert b"inbox here: gathered" in result.stdout


def test_a_replaced_inbox_is_gathered_from_its_start_and_a_restored_one_fails_alone(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts("wamid.A"), receipts("wamid.B")])
    fill_inbox(tmp_path / "here.db", [receipts("wamid.C")])
    with run_pull_server(web) as pull_server:
        configure(tmp_path, section("web1", pull_server) + "[[inbox]]\nname = 'here'\npath = 'here.db'\n")
        assert gather(tmp_path)[0] == 0
    with (
        closing(sqlite3.connect(web / "inbox.db")) as connection,
        connection,
    ):  # as in an older copy of the inbox
        connection.execute("DELETE FROM notification WHERE id = 2")
        connection.execute("UPDATE sqlite_sequence SET seq = 1")
    fill_inbox(tmp_path / "here.db", [receipts("wamid.D")])
    with run_pull_server(web, port=pull_server.port):
        code, summary = gather(tmp_path)
        assert code == 3
        assert "ends at 1" in summary["inboxes"][0]["problem"]
        assert summary["inboxes"][1]["read"] == 1
    for path in inbox_files(web):
        path.unlink()
    fill_inbox(web / "inbox.db", [receipts("wamid.E")])
    with run_pull_server(web, port=pull_server.port):
        code, summary = gather(tmp_path)
        assert (code, summary["inboxes"][0]["read"]) == (0, 1)
    assert {row["message_id"][-1] for row in rows(tmp_path / "responses.db")} == set("ABCDE")


def test_the_limit_applies_to_all_inboxes_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill_inbox(tmp_path / f"{name}.db", [receipts(f"wamid.{name}{i}") for i in range(3)])
    configure(tmp_path, "".join(f"[[inbox]]\nname = '{n}'\npath = '{n}.db'\n" for n in ("one", "two")))
    assert [gather(tmp_path, "--limit", "2")[1]["read"] for _ in range(4)] == [2, 2, 2, 0]


def test_a_dry_run_acknowledges_nothing(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts("wamid.A")])
    with run_pull_server(web) as pull_server:
        configure(tmp_path, section("web1", pull_server))
        assert gather(tmp_path, "--dry-run")[1]["read"] == 1
    assert consumers.read_all(web / "inbox.db") == []


def test_replay_requires_the_name_of_an_inbox_if_there_are_several(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts("wamid.A"), b"junk"])
    fill_inbox(tmp_path / "here.db", [receipts("wamid.B")])
    with run_pull_server(web) as pull_server:
        configure(tmp_path, section("web1", pull_server) + "[[inbox]]\nname = 'here'\npath = 'here.db'\n")
        result = call(tmp_path, "replay", "--all")
        assert result.returncode == 2
        assert b"choose one with --inbox: web1, here" in result.stderr
        assert call(tmp_path, "replay", "--all", "--inbox", "unknown").returncode == 2
        result = call(tmp_path, "replay", "--all", "--inbox", "web1", "--json")
        assert json.loads(result.stdout)["read"] == 2
        assert [row["message_id"] for row in rows(tmp_path / "responses.db")] == ["wamid.A"]
        assert json.loads(call(tmp_path, "replay", "--rejected", "--json").stdout)["read"] == 1


def test_serve_uses_the_inbox_that_has_a_path(tmp_path: Path) -> None:
    """A machine may receive webhooks and also gather remote inboxes."""
    fill_inbox(tmp_path / "here.db", [])
    endpoint = f"[server]\nport = 0\n[[endpoint]]\n{OPEN}"
    configure(tmp_path, AWAY + AWAY.replace("away", "off").replace(":1'", ":2'") + endpoint)
    result = call(tmp_path, "serve")
    assert result.returncode == 2
    assert b"0 [[inbox]] have a path" in result.stderr


GATHER = """
import sys
from pathlib import Path
from contextlib import closing
from gatherer.pipeline import gather
from gatherer.inbox.base import Bounds
from gatherer.inbox.remote.inbox import RemoteInbox
from gatherer.inbox.remote.client import Address
from gatherer.targets.sqlite.target import SQLiteTarget
gather.BOUNDS = Bounds(rows=20)
url, ca, target = sys.argv[1:]
with closing(RemoteInbox("web1", Address(url=url, token="{token}", ca=Path(ca)))) as inbox:
    with closing(SQLiteTarget(Path(target))) as destination:
        print(gather.gather_inbox(inbox, destination).read)
"""


def test_several_gather_hosts_at_the_same_time_write_correct_rows(tmp_path: Path) -> None:
    """Each host has its own lock: only the target coordinates them."""
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts(f"wamid.{i}") for i in range(400)])
    SQLiteTarget(tmp_path / "responses.db").close()
    with run_pull_server(web) as pull_server:
        command = [
            sys.executable,
            "-c",
            GATHER.replace("{token}", TOKEN),
            pull_server.url,
            str(pull_server.ca),
        ]
        hosts = [
            subprocess.Popen([*command, str(tmp_path / "responses.db")], stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        read = [int(host.communicate(timeout=60)[0]) for host in hosts]
        assert [host.returncode for host in hosts] == [0, 0, 0]
    assert sum(read) >= 400
    responses = rows(tmp_path / "responses.db")
    assert len(responses) == len({row["message_id"] for row in responses}) == 400
    with closing(SQLiteTarget(tmp_path / "responses.db")) as target:
        position = target.position(responses[0]["inbox_id"])
        assert position is not None
        assert position.notification_id == 400
        assert [(c.name, c.notification_id) for c in consumers.read_all(web / "inbox.db")] == [
            (target.identity, 400)
        ]


class Balancer:
    """Clients that send each request to one of several servers, and to another if the response is not 200."""

    def __init__(self, ports: list[int], clients: int = 4) -> None:
        self.acknowledged: list[str] = []
        self._ports = ports
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self) -> "Balancer":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for(self, count: int) -> None:
        expected = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= expected, "nothing is acknowledged")

    def _post(self, client: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            message = f"wamid.{client}-{number}"
            attempt = number
            while True:  # until a server accepts it, as a provider does
                attempt += 1
                try:
                    with socket.create_connection(("127.0.0.1", self._ports[attempt % 3]), 5) as connection:
                        connection.sendall(encode_post(receipts(message), "/open", Connection="close"))
                        if read_response(connection).status == 200:
                            break
                except OSError:
                    pass
                time.sleep(0.002)
            self.acknowledged.append(message)


@pytest.mark.nightly
def test_no_notification_is_lost_or_duplicated_when_one_of_three_servers_is_killed(tmp_path: Path) -> None:
    """No acknowledged request is lost and no row is duplicated while a gatherer reads all three."""
    ports, pulls = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                run_pull_server(tmp_path / f"web{i}", OPEN, public_port=ports[i], port=pulls[i])
            )
            for i in range(3)
        ]
        configure(tmp_path, "".join(section(f"web{i}", server) for i, server in enumerate(servers)))
        with Balancer(ports) as load:
            load.wait_for(150)
            servers[1].server.kill()
            code, summary = gather(tmp_path)
            assert code == 75
            assert [inbox["exit_code"] for inbox in summary["inboxes"]] == [0, 75, 0]
            load.wait_for(150)
            stack.enter_context(run_pull_server(tmp_path / "web1", OPEN, public_port=ports[1], port=pulls[1]))
            load.wait_for(150)
            assert gather(tmp_path)[0] == 0
            load.wait_for(50)
        code, summary = gather(tmp_path)
        assert code == 0
        assert all(inbox["position"] > 0 for inbox in summary["inboxes"])
    responses = [row["message_id"] for row in rows(tmp_path / "responses.db")]
    assert len(responses) == len(set(responses))
    assert set(load.acknowledged) <= set(responses), "an acknowledged notification is lost"
    assert len(responses) - len(set(load.acknowledged)) <= 4, "at most the requests in flight at the end"


def test_a_target_restored_from_a_copy_catches_up_over_the_network(tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    fill_inbox(web / "inbox.db", [receipts(f"wamid.{i}") for i in range(10)])
    with run_pull_server(web) as pull_server, closing(pull_server.open()) as inbox:
        with closing(SQLiteTarget(tmp_path / "responses.db")) as target:
            gather_inbox(inbox, target, limit=4)
            identity = target.identity
            with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
                target._connection.backup(copy)
            gather_inbox(inbox, target)
        assert consumers.read_all(web / "inbox.db")[0].notification_id == 10
        with closing(SQLiteTarget(tmp_path / "copy.db")) as restored:
            assert restored.identity == identity
            assert gather_inbox(inbox, restored, limit=1).position == 5
            assert consumers.read_all(web / "inbox.db")[0].notification_id == 5, (
                "the purge waits for the restored target"
            )
            assert gather_inbox(inbox, restored).position == 10
    assert len(rows(tmp_path / "copy.db")) == 10
    assert Bounds().rows > 1
