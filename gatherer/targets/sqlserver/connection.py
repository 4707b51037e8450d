"""Connecting to SQL Server: which driver, with what, and the settings that every session has."""

import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer.config import SQLServerTarget
from gatherer.errors import ConfigurationError
from gatherer.targets.sqlserver import connection_string
from gatherer.targets.sqlserver.connection_string import Pairs

if TYPE_CHECKING:
    import pyodbc

OLDEST_DRIVER: Final = 17
_MICROSOFT: Final = re.compile(r"ODBC Driver (\d+) for SQL Server")
_PACKAGE: Final = "mssql_python_odbc"

NO_PYODBC: Final = "SQL Server needs pyodbc, which is not installed: pip install 'gatherer[sqlserver]'"
NO_DRIVER: Final = (
    "Microsoft's ODBC driver for SQL Server (17 or later) is not installed. "
    "Windows: winget install --id Microsoft.msodbcsql.18. "
    "Linux: pip install 'gatherer[sqlserver]' brings one, or add Microsoft's package source "
    "(learn.microsoft.com, 'Install the Microsoft ODBC driver') and: apt install msodbcsql18, or "
    "dnf install msodbcsql18. [target] driver names one that is elsewhere"
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to get at a database, and how long to wait for it."""

    pairs: Sequence[
        tuple[str, str]
    ]  # keywords and values of the connection string; the driver may be missing
    login_timeout_seconds: int = 15
    query_timeout_seconds: int = 300
    lock_timeout_seconds: int = 30

    @classmethod
    def parse(cls, text: str, **timeouts: int) -> "Access":
        """Return how to get at what the ODBC connection string `text` leads to.

        Raises:
            ConfigurationError: it is none.

        """
        try:
            return cls(pairs=connection_string.parse(text), **timeouts)
        except ValueError as error:
            raise ConfigurationError(f"target.connection: {error}") from None

    @property
    def server(self) -> str:
        """Which server it leads to, for people."""
        return connection_string.server(list(self.pairs))

    @property
    def database(self) -> str:
        """Which database it leads to, for people."""
        return connection_string.database(list(self.pairs))

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        return connection_string.secrets(list(self.pairs))

    @property
    def encrypt(self) -> str:
        """Whether encryption is asked for: the driver's word. Since version 18, it is unless it is declined."""
        return (connection_string.get(list(self.pairs), "encrypt") or "yes").lower()


_AUTHENTICATION: Final = {
    "entra-password": "ActiveDirectoryPassword",
    "entra-integrated": "ActiveDirectoryIntegrated",
    "entra-managed-identity": "ActiveDirectoryMsi",
    "entra-service-principal": "ActiveDirectoryServicePrincipal",
}


def access(settings: SQLServerTarget) -> Access:
    """Return how to get at the database that `settings`, loaded with their secrets, describe.

    Raises:
        ConfigurationError: the connection string is none.

    """
    timeouts = {
        name: getattr(settings, name)
        for name in ("login_timeout_seconds", "query_timeout_seconds", "lock_timeout_seconds")
    }
    if settings.connection is not None:
        return Access.parse(settings.connection.reveal(), **timeouts)
    encrypt = settings.encrypt if isinstance(settings.encrypt, str) else ("yes" if settings.encrypt else "no")
    password = settings.password.reveal() if settings.password is not None else None
    integrated = settings.authentication == "integrated"
    given = {
        "Driver": settings.driver,
        "Server": settings.server,
        "Database": settings.database,
        "Trusted_Connection": "yes" if integrated else None,
        "Authentication": _AUTHENTICATION.get(settings.authentication),
        "UID": settings.user,
        "PWD": password,
        "Encrypt": encrypt,
        "TrustServerCertificate": "yes" if settings.trust_server_certificate else "no",
    }
    return Access(pairs=[(name, value) for name, value in given.items() if value is not None], **timeouts)


def connect(access: Access) -> "pyodbc.Connection":
    """Open a connection that commits nothing by itself but single statements.

    Raises:
        ConfigurationError: there is no driver.
        pyodbc.Error: it cannot be opened.

    """
    try:
        import pyodbc
    except ImportError as error:
        raise ConfigurationError(f"{NO_PYODBC} ({error})") from None
    # A pool would hand back the very connection that has just broken.
    pyodbc.pooling = False
    connection = pyodbc.connect(
        complete(access.pairs, pyodbc.drivers()), autocommit=True, timeout=access.login_timeout_seconds
    )
    try:
        connection.timeout = access.query_timeout_seconds
        # Where a report and we wait for each other, it is we who can try again.
        connection.execute(
            f"SET NOCOUNT ON; SET XACT_ABORT ON; SET DEADLOCK_PRIORITY LOW; "
            f"SET LOCK_TIMEOUT {access.lock_timeout_seconds * 1000:d}; SET DATEFORMAT ymd"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def complete(pairs: Sequence[tuple[str, str]], installed: Sequence[str]) -> str:
    """Return the connection string of `pairs`, with a driver, encryption and our name where they are missing.

    Raises:
        ConfigurationError: no driver is named, and none is installed.

    """
    given: Pairs = list(pairs)
    if connection_string.get(given, "driver", "dsn", "filedsn") is None:
        given.insert(0, ("Driver", find_driver(installed)))
    # Driver 17 does not encrypt by default, 18 does.
    if connection_string.get(given, "encrypt") is None:
        given.append(("Encrypt", "yes"))
    if connection_string.get(given, "app") is None:
        given.append(("APP", "gatherer"))
    return connection_string.build(given)


def find_driver(installed: Sequence[str]) -> str:
    """Return Microsoft's newest driver: a name among `installed`, else the path of the one from PyPI.

    Raises:
        ConfigurationError: there is none; the message has the commands that mend it.

    """
    versions = {int(found[1]): name for name in installed if (found := _MICROSOFT.fullmatch(name))}
    newest = max(versions, default=0)
    if newest >= OLDEST_DRIVER:
        return versions[newest]
    # The driver manager of Windows only loads drivers that were installed; unixODBC loads any by its path.
    if os.name != "nt" and (packaged := _packaged_driver()) is not None:
        return str(packaged)
    raise ConfigurationError(NO_DRIVER)


def _packaged_driver() -> Path | None:
    """Return the driver in the package `mssql-python-odbc` that fits this system; None if there is none."""
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        return None
    libraries = Path(package.origin).parent / "libs"
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    if sys.platform == "darwin":
        folders, pattern = [libraries / "macos" / machine / "lib"], "libmsodbcsql*.dylib"
    else:
        folders = [libraries / "linux" / family / machine / "lib" for family in _families()]
        pattern = "libmsodbcsql-*.so*"
    return next((found for folder in folders for found in sorted(folder.glob(pattern), reverse=True)), None)


def _families() -> list[str]:
    """Return the package's names for Linux distributions, the most fitting first."""
    known = {
        "alpine": "alpine",
        "debian": "debian_ubuntu",
        "ubuntu": "debian_ubuntu",
        "rhel": "rhel",
        "fedora": "rhel",
        "centos": "rhel",
        "suse": "suse",
        "sles": "suse",
    }
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    fitting = [known[name] for name in names if name in known]
    return list(dict.fromkeys([*fitting, "debian_ubuntu", "rhel", "suse"]))
