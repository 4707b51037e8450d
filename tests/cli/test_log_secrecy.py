"""Logs tell what happened, and to nobody what was said: at no level, whatever arrives."""

import contextlib
import json
import logging
import re
import sqlite3
import subprocess

import pytest

from gatherer.cli import logs
from tests.certificates import HOST, Authority
from tests.factories import call, envelope, reaction, status, text, value
from tests.server.webhook.hostile_clients import BROKEN
from tests.server_process import ServerProcess, encode_head, encode_post, read_response, run_server, signature

PHONE = "15557654321"
SAID = "a message that nobody but us may read"
NAMED = "Somebody With A Name"
FORGED = "2026-01-01T00:00:00.000Z ERROR   forged"
SECRETS = {
    name: f"{name}-0123456789abcdef"
    for name in ("app", "verify", "urlkey", "bearer", "password", "apikey", "twilio", "keypass", "wrong")
}
ENDPOINTS = (
    f"""
name = "meta"
provider = "meta"
path = "/meta"
app_secrets = ["{SECRETS["app"]}"]
verify_token = "{SECRETS["verify"]}"
""",
    f'name = "url"\nprovider = "wati"\npath = "/url"\nurl_key = "{SECRETS["urlkey"]}"\n',
    f'name = "bearer"\nprovider = "infobip"\npath = "/bearer"\nbearer_tokens = ["{SECRETS["bearer"]}"]\n',
    f'name = "basic"\nprovider = "enablex"\npath = "/basic"\nbasic = {{ user = "u", password = "{SECRETS["password"]}" }}\n',
    f'name = "api"\nprovider = "onprem"\npath = "/api"\napi_key = {{ header = "X-Key", value = "{SECRETS["apikey"]}" }}\n',
    f'name = "twilio"\nprovider = "twilio"\npath = "/twilio"\ntwilio_auth_tokens = ["{SECRETS["twilio"]}"]\n',
    'name = "open"\nprovider = "meta"\npath = "/open"\nunauthenticated = true\n',
)
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) +\S.*")


def bodies() -> list[bytes]:
    """Return posts that are right, odd and wrong, all with a phone number and words in them."""
    odd = [
        {**text("wamid.1", SAID), "from": PHONE},
        {**text("wamid.2", SAID), "from": [PHONE], "timestamp": SAID},
        {**reaction("wamid.3", "wamid.0", emoji=SAID), "from": PHONE},
        {"from": PHONE, "id": SAID, "timestamp": PHONE, "type": SAID, SAID: {"body": SAID}},
        {"errors": [{"code": SAID, "title": SAID, "details": PHONE}], "from": PHONE},
        SAID,
    ]
    statuses = [
        status("wamid.4", SAID),
        {**status("wamid.5"), "recipient_id": PHONE, "timestamp": SAID},
        PHONE,
    ]
    contacts = {"contacts": [{"wa_id": PHONE, "profile": {"name": NAMED}}]}
    whole = envelope(value(messages=odd, statuses=statuses) | contacts)
    return [
        whole,
        whole[:-20],
        whole.replace(b"nobody", b"\\ud83d nobody"),
        whole.replace(b"nobody", b"\xff\xfe nobody"),
        json.dumps({"object": SAID, "entry": [{"changes": SAID}, PHONE]}).encode(),
        f"\r\n{FORGED}\n{SAID} {PHONE}".encode(),
        f"Body={SAID}&From=whatsapp:%2B{PHONE}&MessageSid=SM1&ProfileName={NAMED}".encode(),
    ]


def everything(server: ServerProcess) -> None:
    """Send what is good, what is wrong and what is broken to every endpoint."""
    for body in bodies():
        for headers, path in (
            ({"X_Hub_Signature_256": signature(body, SECRETS["app"])}, "/meta"),
            ({"X_Hub_Signature_256": signature(body, SECRETS["wrong"])}, "/meta"),
            ({}, f"/url/{SECRETS['urlkey']}"),
            ({}, f"/url/{SECRETS['wrong']}"),
            ({}, f"/{SECRETS['wrong']}/{PHONE}"),
            ({"Authorization": f"Bearer {SECRETS['bearer']}"}, "/bearer"),
            ({"Authorization": f"Bearer {SECRETS['wrong']}"}, "/bearer"),
            ({"Authorization": f"Basic {SECRETS['wrong']}"}, "/basic"),
            ({"X_Key": SECRETS["apikey"]}, "/api"),
            ({"X_Key": SECRETS["wrong"]}, "/api"),
            ({"X_Twilio_Signature": SECRETS["wrong"]}, "/twilio"),
            ({"X_Forwarded_For": f"{PHONE}, {SAID}"}, "/open"),
            ({"Content_Type": SAID, "User_Agent": f"{FORGED} {PHONE}"}, "/open"),
            ({"Content_Encoding": SECRETS["wrong"]}, "/open"),
            ({"Content_Length": SECRETS["wrong"]}, "/open"),
            ({"Transfer_Encoding": SECRETS["wrong"]}, "/open"),
        ):
            assert server.post(body, path, **headers).status in (200, 400, 401, 404, 415)
    asked = f"/meta?hub.mode=subscribe&hub.challenge={PHONE}&hub.verify_token="
    for token, wanted in ((SECRETS["verify"], 200), (SECRETS["wrong"], 401)):
        assert server.exchange(encode_head("GET", asked + token, {"Host": "x"})).status == wanted
    broken = [
        f"{SECRETS['wrong']} /{PHONE} {SAID}\r\n\r\n".encode(),
        f"POST /meta HTTP/1.1\r\nHost: x\r\n{SECRETS['wrong']}\r\n{SAID}\r\n\r\n".encode(),
        f"POST /meta\x1b[2J HTTP/1.1\r\n\n{FORGED}\r\n\r\n".encode(),
        *(one + SECRETS["wrong"].encode() for one in BROKEN.values()),
    ]
    for request in broken:
        with server.connect(0.3) as connection, contextlib.suppress(OSError):
            connection.sendall(request)
            read_response(connection)


def reveals(said: str) -> list[str]:
    """Return what `said` has in it and must not."""
    return [one for one in (*SECRETS.values(), PHONE, SAID, NAMED, "15550001111", "nobody") if one in said]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_log_reveals_what_was_said_by_whom_or_a_secret(tmp_path, level):
    level_option = ["--log-level", level]
    with run_server(tmp_path, *ENDPOINTS, options=level_option) as server:
        everything(server)
        assert server.stop() == 0
    said = server.log()
    for arguments in (
        ["gather"],
        ["replay", "--all"],
        ["replay", "--rejected"],
        ["status"],
        ["config", "check"],
    ):
        ended = call(tmp_path, *level_option, *arguments)
        assert b"Traceback" not in ended.stderr
        said += ended.stderr.decode() + ended.stdout.decode()
        if arguments != ["config", "check"]:
            assert ended.returncode == 0, ended.stderr
    assert reveals(said) == []
    assert len(re.findall("401 to", said)) > 20
    with contextlib.closing(sqlite3.connect(tmp_path / "responses.db")) as target:
        assert target.execute("SELECT count(*) FROM rejected").fetchone()[0] > 5, "there was enough to tell"


def test_no_line_of_the_log_can_be_forged(tmp_path):
    with run_server(tmp_path, *ENDPOINTS, options=["--log-level", "debug"]) as server:
        everything(server)
    lines = server.log().splitlines()
    assert len(lines) > 30
    assert [line for line in lines if not LINE.fullmatch(line) or "forged" in line] == []


def test_nothing_of_a_handshake_is_told(tmp_path):
    authority = Authority(tmp_path / "authority")
    settings = authority.issue(password=SECRETS["keypass"]) + f'tls_key_password = "{SECRETS["keypass"]}"\n'
    with run_server(tmp_path, *ENDPOINTS, server=settings, options=["--log-level", "debug"]) as server:
        for noise in (encode_post(SAID.encode()), SAID.encode(), b"\x16\x03\x01\x00\x50" + SAID.encode() * 3):
            with server.connect(5) as connection, contextlib.suppress(OSError):
                connection.sendall(noise)
                connection.recv(100)
        authority.key().write_text(SECRETS["wrong"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(3)
    assert "the old one still is" in server.log()
    assert reveals(server.log()) == []
    assert HOST not in server.log()


def test_a_defect_is_told_without_the_text_of_its_error(caplog):
    formatter = logs.LineFormatter("%(message)s")
    try:
        try:
            int(SAID)
        except ValueError as error:
            raise KeyError(PHONE) from error
    except KeyError:
        record = logging.getLogger("x").makeRecord("x", 40, "f", 1, "defect", (), sys_exc_info())
    told = formatter.format(record)
    assert reveals(told) == []
    assert "\n" not in told
    assert "KeyError at test_log_secrecy.py:" in told
    assert "after ValueError at" in told
    assert (
        logs.describe_error(FileNotFoundError(2, "No such file"))
        == "FileNotFoundError ([Errno 2] No such file)"
    )


def sys_exc_info():
    import sys

    return sys.exc_info()
