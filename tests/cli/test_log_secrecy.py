"""Logs contain no personal data and no secrets, at any level, for any request."""

import contextlib
import json
import logging
import re
import sqlite3

import pytest

from gatherer.cli import logs
from tests.certificates import HOST, Authority
from tests.factories import call, envelope, reaction, status, text, value
from tests.server.webhook.hostile_clients import BROKEN
from tests.server_process import ServerProcess, encode_head, encode_post, read_response, run_server, signature
from tests.waiting import wait_until

PHONE = "15557654321"
TEXT = "a private message of a person"
NAME = "Robin Example"
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
    """Return valid, odd and invalid bodies, all with a phone number and text of a person."""
    odd = [
        {**text("wamid.1", TEXT), "from": PHONE},
        {**text("wamid.2", TEXT), "from": [PHONE], "timestamp": TEXT},
        {**reaction("wamid.3", "wamid.0", emoji=TEXT), "from": PHONE},
        {"from": PHONE, "id": TEXT, "timestamp": PHONE, "type": TEXT, TEXT: {"body": TEXT}},
        {"errors": [{"code": TEXT, "title": TEXT, "details": PHONE}], "from": PHONE},
        TEXT,
    ]
    statuses = [
        status("wamid.4", TEXT),
        {**status("wamid.5"), "recipient_id": PHONE, "timestamp": TEXT},
        PHONE,
    ]
    contacts = {"contacts": [{"wa_id": PHONE, "profile": {"name": NAME}}]}
    whole = envelope(value(messages=odd, statuses=statuses) | contacts)
    return [
        whole,
        whole[:-20],
        whole.replace(b"private", b"\\ud83d private"),
        whole.replace(b"private", b"\xff\xfe private"),
        json.dumps({"object": TEXT, "entry": [{"changes": TEXT}, PHONE]}).encode(),
        f"\r\n{FORGED}\n{TEXT} {PHONE}".encode(),
        f"Body={TEXT}&From=whatsapp:%2B{PHONE}&MessageSid=SM1&ProfileName={NAME}".encode(),
    ]


def send_everything(server: ServerProcess) -> None:
    """Send valid, unauthenticated and malformed requests to every endpoint."""
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
            ({"X_Forwarded_For": f"{PHONE}, {TEXT}"}, "/open"),
            ({"Content_Type": TEXT, "User_Agent": f"{FORGED} {PHONE}"}, "/open"),
            ({"Content_Encoding": SECRETS["wrong"]}, "/open"),
            ({"Content_Length": SECRETS["wrong"]}, "/open"),
            ({"Transfer_Encoding": SECRETS["wrong"]}, "/open"),
        ):
            assert server.post(body, path, **headers).status in (200, 400, 401, 404, 415)
    target = f"/meta?hub.mode=subscribe&hub.challenge={PHONE}&hub.verify_token="
    for token, expected in ((SECRETS["verify"], 200), (SECRETS["wrong"], 401)):
        assert server.exchange(encode_head("GET", target + token, {"Host": "x"})).status == expected
    broken = [
        f"{SECRETS['wrong']} /{PHONE} {TEXT}\r\n\r\n".encode(),
        f"POST /meta HTTP/1.1\r\nHost: x\r\n{SECRETS['wrong']}\r\n{TEXT}\r\n\r\n".encode(),
        f"POST /meta\x1b[2J HTTP/1.1\r\n\n{FORGED}\r\n\r\n".encode(),
        *(request + SECRETS["wrong"].encode() for request in BROKEN.values()),
    ]
    for request in broken:
        with server.connect(0.3) as connection, contextlib.suppress(OSError):
            connection.sendall(request)
            read_response(connection)


def secrets_in(output: str) -> list[str]:
    """Return the secrets and personal data in `output`."""
    return [
        secret
        for secret in (*SECRETS.values(), PHONE, TEXT, NAME, "15550001111", "private")
        if secret in output
    ]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_logs_contain_no_message_text_phone_number_name_or_secret(tmp_path, level):
    level_option = ["--log-level", level]
    with run_server(tmp_path, *ENDPOINTS, options=level_option) as server:
        send_everything(server)
        assert server.stop() == 0
    output = server.log()
    for arguments in (
        ["gather"],
        ["replay", "--all"],
        ["replay", "--rejected"],
        ["status"],
        ["config", "check"],
    ):
        result = call(tmp_path, *level_option, *arguments)
        assert b"Traceback" not in result.stderr
        output += result.stderr.decode() + result.stdout.decode()
        if arguments != ["config", "check"]:
            assert result.returncode == 0, result.stderr
    assert secrets_in(output) == []
    assert len(re.findall("401 to", output)) > 20
    with contextlib.closing(sqlite3.connect(tmp_path / "responses.db")) as target:
        assert target.execute("SELECT count(*) FROM rejected").fetchone()[0] > 5, (
            "the runs met enough rejections to log"
        )


def test_a_request_cannot_forge_a_log_line(tmp_path):
    with run_server(tmp_path, *ENDPOINTS, options=["--log-level", "debug"]) as server:
        send_everything(server)
    lines = server.log().splitlines()
    assert len(lines) > 30
    assert [line for line in lines if not LINE.fullmatch(line) or "forged" in line] == []


def test_logs_contain_nothing_of_a_tls_handshake(tmp_path):
    authority = Authority(tmp_path / "authority")
    settings = authority.issue(password=SECRETS["keypass"]) + f'tls_key_password = "{SECRETS["keypass"]}"\n'
    with run_server(tmp_path, *ENDPOINTS, server=settings, options=["--log-level", "debug"]) as server:
        for noise in (encode_post(TEXT.encode()), TEXT.encode(), b"\x16\x03\x01\x00\x50" + TEXT.encode() * 3):
            with server.connect(5) as connection, contextlib.suppress(OSError):
                connection.sendall(noise)
                connection.recv(100)
        authority.key().write_text(SECRETS["wrong"])
        wait_until(lambda: "the old one still is" in server.log(), server.log)
    assert secrets_in(server.log()) == []
    assert HOST not in server.log()


def test_a_defect_is_logged_without_the_text_of_its_error(caplog):
    formatter = logs.LineFormatter("%(message)s")
    try:
        try:
            int(TEXT)
        except ValueError as error:
            raise KeyError(PHONE) from error
    except KeyError:
        record = logging.getLogger("x").makeRecord("x", 40, "f", 1, "defect", (), sys_exc_info())
    line = formatter.format(record)
    assert secrets_in(line) == []
    assert "\n" not in line
    assert "KeyError at test_log_secrecy.py:" in line
    assert "after ValueError at" in line
    assert (
        logs.describe_error(FileNotFoundError(2, "No such file"))
        == "FileNotFoundError ([Errno 2] No such file)"
    )


def sys_exc_info():
    import sys

    return sys.exc_info()
