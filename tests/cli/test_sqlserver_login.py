"""Commands with a SQL Server target whose server cannot be used: which login they try, and how they end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gatherer.targets.sqlserver import session
from tests.factories import call, configure, fill_inbox, receipts

# Its wheels for Linux need the driver manager of the system, which not every account may install.
pyodbc = pytest.importorskip(
    "pyodbc", reason="LOUD: unixODBC is missing, so errors of a login were not tried", exc_type=ImportError
)

CONFIGURATION: Final = """
[target]
kind = "sqlserver"
server = "sql01"
database = "Campaigns"
driver = "some driver"
authentication = "sql"
user = "gatherer"
password = { env = "GATHERER_PASSWORD" }
"""
REFUSED: Final = pyodbc.InterfaceError(
    "28000",
    "[28000] [Microsoft][ODBC Driver 18 for SQL Server]Login failed for 'hunter2'. (18456) (SQLDriverConnect)",
)
UNREACHABLE: Final = pyodbc.OperationalError(
    "08001", "[08001] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2749 (10061) (SQLDriverConnect)"
)  # fmt: skip
COMMANDS: Final = (
    "target check",
    "schema check",
    "schema apply",
    "gather",
    "status",
    "export",
    "replay --all",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration and an inbox."""
    configure(tmp_path, CONFIGURATION)
    fill_inbox(tmp_path / "inbox.db", [receipts("wamid.A")])
    return tmp_path


@pytest.fixture
def logins(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], list[str]]:
    """A function that lets each login fail with an error; it returns the list of connection strings that were tried."""

    def fail(error: Exception) -> list[str]:
        tried: list[str] = []

        def connect(text: str, **_: Any) -> None:
            tried.append(text)
            raise error

        monkeypatch.setattr(pyodbc, "connect", connect)
        monkeypatch.setattr(session.time, "sleep", lambda _seconds: None)
        return tried

    return fail


@pytest.mark.parametrize("command", COMMANDS)
def test_a_refused_login_ends_the_command_with_exit_code_3(
    folder: Path, logins: Callable[[Exception], list[str]], command: str
) -> None:
    tried = logins(REFUSED)
    result = call(folder, *command.split(), GATHERER_PASSWORD="hunter2")
    assert (result.returncode, len(tried)) == (3, 1), (
        "a refused login is not tried again: it could lock the account"
    )
    error = result.stderr.decode()
    assert error.count("\n") == 1
    assert "check user and password" in error
    assert "hunter2" not in error + result.stdout.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreachable_server_is_tried_again_and_ends_the_command_with_exit_code_75(
    folder: Path, logins: Callable[[Exception], list[str]], command: str
) -> None:
    tried = logins(UNREACHABLE)
    result = call(folder, *command.split(), GATHERER_PASSWORD="hunter2")
    assert (result.returncode, len(tried)) == (75, session.RETRY_POLICY.attempts)
    assert "nothing is lost" in result.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize("command", ["apply", "check"])
def test_the_dba_logs_in_with_the_connection_string_of_a_variable(
    folder: Path, logins: Callable[[Exception], list[str]], command: str
) -> None:
    tried = logins(REFUSED)
    dba = "Driver=mine;Server=sql02;Database=D;UID=dba;PWD=secret-of-the-dba"
    arguments = ("schema", command, "--connection-env", "DDL")
    result = call(folder, *arguments, DDL=dba)  # without the password of the login of `gather`
    assert result.returncode == 3
    (connection_string,) = tried
    assert "UID=dba" in connection_string
    assert "UID=gatherer" not in connection_string
    assert b"secret-of-the-dba" not in result.stderr
    missing = call(folder, *arguments)
    assert (missing.returncode, len(tried)) == (2, 1)
    assert b"the environment variable DDL is not set" in missing.stderr


def test_the_schema_is_printed_without_a_connection(
    folder: Path, logins: Callable[[Exception], list[str]]
) -> None:
    tried = logins(REFUSED)
    script = call(folder, "schema", "print")  # without the password
    removal = call(folder, "schema", "print", "--remove")
    assert (script.returncode, removal.returncode, tried) == (0, 0, [])
    assert b"CREATE TABLE [gatherer].response (" in script.stdout
    assert b"CREATE VIEW [gatherer].campaign_funnel" in script.stdout
    assert b"DROP" in removal.stdout
    assert b"CREATE" not in removal.stdout
