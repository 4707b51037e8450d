"""The first hour: `gatherer init --for CASE` and a few more commands, without editing a file, up to the first row."""

import base64
import http.client
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gatherer.app.resources import load, sqlserver_access
from gatherer.config import SQLServerTarget
from tests.factories import call, run
from tests.server_process import ROOT, SECRET, signature
from tests.targets import engines

PAYLOADS = ROOT / "tests" / "payloads"
CASES = {
    "apteco": "meta/text.json",
    "cbot": "onprem/text.json",
    "meta": "meta/text.json",
    "onprem": "onprem/text.json",
    "wati": "wati/text_that_quotes_nothing.json",
    "enablex": "enablex/text.json",
    "twilio": "twilio/text.form",
    "infobip": "infobip/text.json",
}
URL = "https://hooks.example.org"


@contextmanager
def serving(folder: Path, configuration: Path, **environment: str) -> Iterator[int]:
    """Run `gatherer serve` with `configuration`, at a free port, for the duration of the block. Yield the port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gatherer", "--config", str(configuration), "serve", "--stop-with-input"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        announcement = re.match(r"listening at http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert announcement is not None
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(announcement[1])
    finally:
        process.stdin.close()
        assert process.wait(60) == 0
        process.stdout.close()


def at_any_port(configuration: Path) -> None:
    """Let the server choose its port, because other tests run on this machine. A user edits nothing."""
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(text.replace("\nport = 8080", "\nport = 0"), encoding="utf-8")


def post(port: int, path: str, body: bytes, **headers: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(
            "POST", path, body, {name.replace("_", "-"): text for name, text in headers.items()}
        )
        return connection.getresponse().status


@pytest.mark.parametrize("case", CASES)
def test_what_init_prints_for_a_case_is_what_the_server_accepts(tmp_path: Path, case: str) -> None:
    """The requests of each provider, with the URL and the credentials as printed, become rows; others get a 401."""
    result = call(tmp_path, "init", "--for", case, "--public-url", URL)
    assert result.returncode == 0, result.stderr
    printed = dict(
        re.findall(r"^  (Callback URL|User|Password): +(\S+)$", result.stdout.decode(), re.MULTILINE)
    )
    path = printed["Callback URL"].removeprefix(URL)
    at_any_port(tmp_path / "gatherer.toml")
    checked = call(tmp_path, "config", "check")
    assert (checked.returncode, checked.stderr) == (0, b"")
    payload = PAYLOADS / CASES[case]
    headers = {
        "Content_Type": "application/x-www-form-urlencoded"
        if payload.suffix == ".form"
        else "application/json"
    }
    if "User" in printed:
        credentials = f"{printed['User']}:{printed['Password']}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
    with serving(tmp_path, tmp_path / "gatherer.toml") as port:
        assert post(port, "/webhook/whatsapp", payload.read_bytes()) == 401
        assert post(port, path, payload.read_bytes(), **headers) == 200
    assert call(tmp_path, "gather").returncode == 0
    with closing(sqlite3.connect(tmp_path / "responses.db")) as connection:
        assert connection.execute("SELECT kind FROM response").fetchall() == [("replied",)]


@pytest.mark.parametrize("case", ["apteco", "meta"])
def test_init_asks_for_the_field_that_reports_whatsapps_own_opt_out(tmp_path: Path, case: str) -> None:
    printed = call(tmp_path, "init", "--for", case, "--public-url", URL).stdout.decode()
    assert '"messages" and "user_preferences"' in printed


def test_the_cases_of_these_tests_are_those_of_init(tmp_path: Path) -> None:
    """Except for json, which needs a mapping that no program can guess."""
    result = call(tmp_path, "init", "--for", "unknown")
    assert result.returncode == 2
    assert (
        set(result.stderr.decode().partition("there are: ")[2].strip().split(", ")) - {"json"} == CASES.keys()
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_six_commands_lead_from_a_bare_machine_to_the_first_row(tmp_path: Path, engine: str) -> None:
    """The first of the six installs gatherer: the nightly test of the page on installation runs it."""
    environment, target = {}, []
    if engine == "sqlserver":
        environment = {"GATHERER_TEST_SQLSERVER": engines.SERVER}
        target = ["--sqlserver", "sql01", "--database", "Campaigns"]
    command = ("init", "--for", "apteco", "--public-url", URL, "--every", "5m", *target)
    initialized = run(tmp_path, *command, **environment)
    assert initialized.returncode == 0, initialized.stderr
    configuration = tmp_path / "gatherer.toml"
    at_any_port(configuration)
    schema = f"{engines.SQLServerDatabase.schema}_init"
    if engine == "sqlserver":  # the server of the tests in place of sql01
        text = configuration.read_text(encoding="utf-8")
        text = re.sub(
            r"(?m)^server = 'sql01'\ndatabase = .*$",
            f'connection = {{ env = "GATHERER_TEST_SQLSERVER" }}\nschema = "{schema}"',
            text,
        )
        configuration.write_text(text, encoding="utf-8")
    applied = run(tmp_path, "schema", "apply", **environment)
    assert applied.returncode == 0, applied.stderr
    try:
        with serving(tmp_path, configuration, **environment) as port:
            key = re.search(r"Callback URL: +https://[^/]+(\S+)", initialized.stdout.decode())
            assert key is not None
            url = f"http://127.0.0.1:{port}{key[1]}"
            simulated = run(
                tmp_path, "simulate", "--url", url, "--count", "3", "--well-formed", **environment
            )
            assert simulated.returncode == 0, simulated.stderr
        gathered = run(tmp_path, "gather", **environment)
        assert gathered.returncode == 0, gathered.stderr
        if engine == "sqlserver":
            ((row,),) = engines.SQLServerDatabase.session().run(
                f"SELECT COUNT(*) AS counted FROM {schema}.response"
            )
            assert row.counted > 0
        else:
            with closing(sqlite3.connect(tmp_path / "responses.db")) as connection:
                assert connection.execute("SELECT count(*) FROM response").fetchone()[0] > 0
    finally:
        if engine == "sqlserver":
            engines.drop(schema)


def test_init_configures_sql_server_with_a_login_and_a_password_that_nothing_shows(tmp_path: Path) -> None:
    result = call(
        tmp_path, "init", "--sqlserver", r"SQL01\APTECO", "--database", "Cam'paigns", "--sql-user", "gatherer",
        "--trust-server-certificate", "--data", "data", GATHERER_SQL_PASSWORD="it's \"secret\"\\",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert b'secret"' not in result.stdout + result.stderr
    assert b"schema apply" in result.stdout
    target = load(tmp_path / "gatherer.toml", secrets=True).target
    assert isinstance(target, SQLServerTarget)
    assert target.state == tmp_path / "data" / "state"
    assert dict(sqlserver_access(target).pairs) == {
        "Server": r"SQL01\APTECO",
        "Database": "Cam'paigns",
        "UID": "gatherer",
        "PWD": 'it\'s "secret"\\',
        "Encrypt": "yes",
        "TrustServerCertificate": "yes",
    }


def test_the_secret_of_the_provider_makes_the_server_check_signatures(tmp_path: Path) -> None:
    result = call(tmp_path, "init", "--for", "meta", "--secret", "-", stdin=f"\ufeff{SECRET}\n".encode())
    assert result.returncode == 0, result.stderr
    assert SECRET.encode() not in result.stdout
    at_any_port(tmp_path / "gatherer.toml")
    [endpoint] = load(tmp_path / "gatherer.toml", secrets=True).endpoint
    body = (PAYLOADS / "meta" / "text.json").read_bytes()
    with serving(tmp_path, tmp_path / "gatherer.toml") as port:
        assert post(port, endpoint.url_path, body) == 401
        assert post(port, endpoint.url_path, body, X_Hub_Signature_256=signature(body)) == 200


def test_the_printed_entry_of_the_schedule_is_a_run_that_works(tmp_path: Path) -> None:
    folder = tmp_path / "it's a 100% folder"
    result = call(tmp_path, "init", "--directory", str(folder), "--every", "15m")
    entry = result.stdout.decode().splitlines()[-1].strip()
    if os.name == "nt":
        assert "New-TimeSpan -Minutes 15" in entry
        return
    assert entry.startswith("*/15 * * * * ")
    assert "0 */2 * * * " in call(tmp_path, "init", "--force", "--every", "120m").stdout.decode()
    with serving(tmp_path, folder / "gatherer.toml"):
        pass  # makes the inbox
    command = entry.removeprefix("*/15 * * * * ").replace(r"\%", "%")  # as cron does
    subprocess.run(
        ["/bin/sh", "-c", command], check=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (folder / "responses.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--every", "7m"),
        ("--every", "30s"),
        ("--every", "5h"),
        ("--sqlserver", "sql01"),
        ("--database", "Campaigns"),
        ("--sql-user", "gatherer"),
        ("--trust-server-certificate",),
        ("--sqlserver", "", "--database", "Campaigns"),
        ("--sqlserver", "two\nlines", "--database", "Campaigns"),
        ("--for", "wati", "--secret", "-"),
        ("--for", "meta", "--secret", "-"),
        ("--for", "meta", "--secret", "missing"),
    ],
)
def test_invalid_options_write_no_file(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = call(tmp_path, "init", *arguments, stdin=b"two\nlines")
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr
    assert result.stderr.decode().splitlines()[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []
