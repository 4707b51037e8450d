"""Connecting to SQL Server: with what, and the settings that every session has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gatherer.model.errors import ConfigurationError
from gatherer.targets.sqlserver import connection_string, driver
from gatherer.targets.sqlserver.connection_string import Pairs

if TYPE_CHECKING:
    import pyodbc


@dataclass(frozen=True, kw_only=True)
class Access:
    """How to get at a database, and how long to wait for it."""

    # Keywords and values of the connection string; the driver may be missing.
    pairs: Sequence[tuple[str, str]] = field(repr=False)
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


def connect(access: Access) -> "pyodbc.Connection":
    """Open a connection that commits nothing by itself but single statements.

    Raises:
        ConfigurationError: there is no driver, or no pyodbc.
        pyodbc.Error: it cannot be opened.

    """
    pyodbc = driver.load()
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
    # Under MARS a transaction ends with the batch that began it.
    given: Pairs = [(name, value) for name, value in pairs if name.lower() != "mars_connection"]
    if connection_string.get(given, "driver", "dsn", "filedsn") is None:
        given.insert(0, ("Driver", driver.find(installed)))
    # Driver 17 does not encrypt by default, 18 does.
    if connection_string.get(given, "encrypt") is None:
        given.append(("Encrypt", "yes"))
    # Where the driver brings a broken connection back by itself, temporary tables and locks are gone without a word.
    if connection_string.get(given, "connectretrycount") is None:
        given.append(("ConnectRetryCount", "0"))
    if connection_string.get(given, "app") is None:
        given.append(("APP", "gatherer"))
    return connection_string.build(given)
