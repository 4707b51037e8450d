"""Quarantine: unauthenticated requests are stored, and gathered only after the operator releases them."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatherer.server.webhook import credential_summary
from tests import fault_injection
from tests.factories import call, receipts, run
from tests.factories import rows as target_rows
from tests.server_process import (
    ENDPOINT,
    ServerProcess,
    check_integrity,
    encode_post,
    read_response,
    run_server,
)
from tests.waiting import wait_until

SECRET = "Zm9vYmFyYmF6cXV4-not-to-be-seen-0123456789"
QUARANTINE = ENDPOINT + 'on_failed_authentication = "quarantine"\n'
REJECTING = ENDPOINT.replace("meta", "strict", 1).replace("/webhook/meta", "/strict")
BEARER = (
    'name = "bearer"\nprovider = "twilio"\npath = "/bearer"\nurl_key = "the-key"\nbearer_tokens = ["right"]\n'
    'on_failed_authentication = "quarantine"\n'
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with run_server(tmp_path, QUARANTINE, REJECTING, BEARER) as running:
        yield running


def command(folder: Path, *arguments: str, code: int = 0) -> str:
    result = call(folder, "quarantine", *arguments)
    assert result.returncode == code, result.stderr.decode()
    assert b"Traceback" not in result.stderr
    return (result.stdout if code == 0 else result.stderr).decode()


def quarantined(folder: Path) -> list[dict[str, object]]:
    return json.loads(command(folder, "list", "--json"))["requests"]  # type: ignore[no-any-return]


def test_a_released_request_reaches_inbox_and_target(tmp_path, server):
    body = receipts("wamid.KEPT")
    assert server.post(body, X_Hub_Signature_256=None, Authorization=f"Bearer {SECRET}").status == 200
    assert server.post(b"good").status == 200
    assert server.bodies() == [b"good"], "it is not in the inbox"
    assert server.post(b"bad", "/strict", X_Hub_Signature_256=None).status == 401
    shown = command(tmp_path, "list") + command(tmp_path, "show", "1")
    assert f"Authorization: Bearer, {len(SECRET)} characters" in shown
    assert "wamid.KEPT" in shown
    assert SECRET not in shown + server.log()
    assert command(tmp_path, "show", "1", "--body") == body.decode()
    call(tmp_path, "gather")
    assert target_rows(tmp_path / "responses.db") == []
    assert json.loads(call(tmp_path, "status", "--json").stdout)["inbox"]["in_quarantine"] == 1
    assert json.loads(run(tmp_path, "quarantine", "release", "1", "--json").stdout) == {"released": 1}
    assert server.bodies() == [b"good", body]
    assert server.rows("endpoint, provider, remote, content_type")[-1] == (
        "meta", "meta", "127.0.0.1", "application/json",
    )  # fmt: skip
    assert quarantined(tmp_path) == []
    call(tmp_path, "gather")
    assert [row["message_id"] for row in target_rows(tmp_path / "responses.db")] == ["wamid.KEPT"]
    for name in ("inbox.quarantine.db", "inbox.quarantine.db-wal", "inbox.db", "inbox.db-wal"):
        assert SECRET.encode() not in (tmp_path / name).read_bytes()
    assert list((tmp_path / "inbox.db.requests").iterdir()) == []


def test_a_quarantined_request_is_described_without_credential_values(tmp_path, server):
    basic = base64.b64encode(b"user:password-of-theirs").decode()
    key = "0123456789abcdef" * 2
    assert server.post(b"1", "/bearer/the-key", Authorization="Bearer wrong").status == 200
    assert server.post(b"2", "/bearer/wrong-key", Authorization="Bearer right").status == 200
    answer = server.post(
        b"3",
        f"/bearer?token={SECRET}&sig=xyz",
        Authorization=f"Basic {basic}",
        X_Api_Key=key,
        Cookie="a=bcdef",
    )
    assert (answer.status, answer.body) == (200, b"<Response/>"), "the provider is answered as ever"
    authentication = {str(entry["id"]): entry["authentication"] for entry in quarantined(tmp_path)}
    assert {
        "URL key: 7 characters, URL-safe Base64",
        "Authorization: Bearer, 5 characters, letters and digits",
    } <= set(authentication["1"])
    assert authentication["2"][0] == "URL key: 9 characters, URL-safe Base64"
    assert {
        f"URL parameter token: {len(SECRET)} characters, URL-safe Base64",
        "URL parameter sig: 3 characters, letters and digits",
        f"Authorization: Basic, {len(basic)} characters, Base64",
        "X-Api-Key: 32 characters, hexadecimal",
        "Cookie: 7 characters",
        "X-Hub-Signature-256: sha256=, 64 characters, hexadecimal",
    } <= set(authentication["3"])
    everything = command(tmp_path, "list", "--json") + command(tmp_path, "show", "3", "--json") + server.log()
    for value in (SECRET, basic, key, "bcdef", "the-key", "wrong"):
        assert value not in everything
    assert server.post(b"4", "/bearer/the-key", Authorization="Bearer right").status == 200
    assert server.bodies() == [b"4"]


def test_limits_apply_before_a_request_is_quarantined(tmp_path, server):
    assert server.post(b"\x1f\x8b", X_Hub_Signature_256=None, Content_Encoding="gzip").status == 415
    assert server.post(b"x", "/nowhere").status == 404
    with server.connect() as connection:
        head = encode_post(b"", X_Hub_Signature_256=None, Content_Length="99999999")
        connection.sendall(head)
        assert read_response(connection).status == 413
    assert quarantined(tmp_path) == []


def test_the_limit_of_the_quarantine_is_respected_and_discarding_frees_space(tmp_path):
    with run_server(
        tmp_path, QUARANTINE, settings="[quarantine]\nmax_rows = 3\nmax_bytes = 1000\n"
    ) as server:
        bad = {"X_Hub_Signature_256": None}
        assert server.post(b"x" * 2000, **bad).status == 401
        assert [server.post(b"%d" % n, **bad).status for n in range(5)] == [200] * 3 + [401] * 2
        assert server.post(b"good").status == 200, "other requests are still accepted"
        assert command(tmp_path, "discard", "2") == "discarded 1 request\n"
        assert [server.post(b"%d" % n, **bad).status for n in range(2)] == [200, 401]
        assert [entry["id"] for entry in quarantined(tmp_path)] == [1, 3, 4]
        server.kill()
    with run_server(
        tmp_path, QUARANTINE, settings="[quarantine]\nmax_rows = 3\nmax_bytes = 1000\n"
    ) as server:
        assert server.post(b"x", **bad).status == 401, "what a former process kept counts"
        assert integrity_of(tmp_path) == "ok"


def integrity_of(folder: Path) -> str:
    return check_integrity(folder / "inbox.quarantine.db")


def test_release_and_discard_work_without_serve(tmp_path):
    with run_server(tmp_path, QUARANTINE) as server:
        for n in range(120):
            assert server.post(b"%d" % n, X_Hub_Signature_256=None).status == 200
        server.kill()
    assert command(tmp_path, "release", "--endpoint", "meta") == "released 120 requests\n"
    assert server.bodies() == [b"%d" % n for n in range(120)]
    assert command(tmp_path, "release", "--all") == "released 0 requests\n"
    assert integrity_of(tmp_path) == check_integrity(server.inbox) == "ok"
    with run_server(
        tmp_path, ENDPOINT
    ):  # the endpoint refuses by now, and what is left over can still be had
        assert command(tmp_path, "discard", "--all") == "discarded 0 requests\n"


def test_a_release_interrupted_by_a_crash_completes_at_the_next_start(tmp_path):
    with run_server(tmp_path, QUARANTINE) as server:
        assert server.post(b"kept", X_Hub_Signature_256=None).status == 200
        server.kill()
    from gatherer.inbox import control

    control.submit(tmp_path / "inbox.db", "release", [1])
    with run_server(tmp_path, QUARANTINE) as server:
        wait_until(lambda: server.bodies() == [b"kept"], message=server.log)


@pytest.mark.parametrize(
    "content",
    [
        b'{"action":"release","values":["x"]}',
        *(pytest.param(bad, marks=pytest.mark.nightly) for bad in (b"", b"null", b"\xff")),
    ],
)
def test_a_damaged_control_file_does_not_disturb_the_server(tmp_path, server, content):
    folder = tmp_path / "inbox.db.requests"
    folder.mkdir(exist_ok=True)
    (folder / "0.request").write_bytes(content)
    wait_until(lambda: (folder / "0.answer").exists())
    assert server.post(b"good").status == 200
    assert "Traceback" not in server.log()


def test_invalid_commands_are_errors_in_one_line(tmp_path, server):
    assert "say what to release" in command(tmp_path, "release", code=2)
    assert "say what to discard" in command(tmp_path, "discard", "1", "--all", code=2)
    assert "not in quarantine: 7" in command(tmp_path, "release", "7", code=2)
    assert "no request 7" in command(tmp_path, "show", "7", code=2)
    for arguments in (["list"], ["release"], ["discard"]):
        error = command(tmp_path, *arguments, "--endpoint", "missing", code=2)
        assert "there is no endpoint 'missing'; there are: " in error
    assert command(tmp_path, "list") == "the quarantine is empty\n"


def test_a_quarantined_post_is_not_answered_before_it_is_synced(tmp_path):
    if not fault_injection.ROOT_ON_LINUX or shutil.which("strace") is None:
        pytest.skip("LOUD: strace is missing, the order was not checked")
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,pwritev,write,writev,send,sendto,sendmsg,fsync,fdatasync"
    wrapper = ["strace", "-D", "-f", "-y", "-s", "5000", "-e", calls, "-o", str(trace)]
    with run_server(tmp_path, QUARANTINE, wrapper=wrapper) as server:
        assert server.post(b"marker-of-the-body" * 3, X_Hub_Signature_256=None).status == 200
        server.stop()
    lines = fault_injection.traced_lines(trace, server.process)
    answered = next(n for n, line in enumerate(lines) if "HTTP/1.1 200 OK" in line)
    written = max(
        n for n, line in enumerate(lines[:answered]) if "quarantine.db-wal>" in line and "marker-of" in line
    )
    synced = r"f(data)?sync(\(\d+<[^>]*quarantine\.db-wal>\)| resumed>\)) += 0"
    assert any(re.search(synced, line) for line in lines[written:answered])


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("Bearer " + "x" * 43, "Bearer, 43 characters, letters and digits"),
        ("bearer a.b.c", "Bearer, 5 characters, a JSON web token"),
        ("Secret-Scheme abc", "17 characters"),
        ("sha256=" + "0f" * 32, "sha256=, 64 characters, hexadecimal"),
        ("", "empty"),
        ("7", "1 character, digits"),
        ("ä" * 3, "3 characters"),
    ],
)
def test_credentials_are_described_by_their_form(value, form):
    assert credential_summary.describe([("X-Any", value)], "", "") == [f"X-Any: {form}"]


def test_ordinary_headers_are_not_described_and_long_lists_are_cut():
    ordinary = [("Host", "x"), ("User-Agent", "x"), ("X-Forwarded-For", "192.0.2.1"), ("Content-Type", "x")]
    assert credential_summary.describe(ordinary, "", "") == []
    assert len(credential_summary.describe([(f"X-{n}", "v") for n in range(500)], "a=b&" * 500, "/key")) == 40
    assert credential_summary.describe([], "=&a&a=&%ff=%00", "") == [
        "URL parameter without a name: 1 character, hexadecimal",
        "URL parameter : empty", "URL parameter a: empty", "URL parameter \\ufffd: 1 character",
    ]  # fmt: skip
    assert "s3cr3t" not in " ".join(credential_summary.describe([], "s3cr3t-token", ""))
