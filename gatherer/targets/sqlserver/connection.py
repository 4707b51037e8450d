"""Connections to SQL Server: the connection string, the timeouts, and the settings of every session."""

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
    """How to connect to a database, and how long to wait for it."""

    # Keywords and values of the ODBC connection string; `Driver` may be missing.
    pairs: Sequence[tuple[str, str]] = field(repr=False)
    login_timeout_seconds: int = 15
    query_timeout_seconds: int = 300
    lock_timeout_seconds: int = 30

    @classmethod
    def parse(cls, text: str, **timeouts: int) -> "Access":
        """Return the access that the ODBC connection string `text` describes.

        Raises:
            ConfigurationError: `text` is not a valid connection string.

        """
        try:
            return cls(pairs=connection_string.parse(text), **timeouts)
        except ValueError as error:
            raise ConfigurationError(f"target.connection: {error}") from None

    @property
    def server(self) -> str:
        """The server, for messages."""
        return connection_string.server(list(self.pairs))

    @property
    def database(self) -> str:
        """The database, for messages."""
        return connection_string.database(list(self.pairs))

    @property
    def secrets(self) -> list[str]:
        """The values that no message may show."""
        return connection_string.secrets(list(self.pairs))

    @property
    def encrypt(self) -> str:
        """The value of `Encrypt` in lower case. Version 18 of the driver encrypts by default."""
        return (connection_string.get(list(self.pairs), "encrypt") or "yes").lower()


def connect(access: Access) -> "pyodbc.Connection":
    """Open a connection in autocommit mode: transactions are begun by statements.

    Raises:
        ConfigurationError: the driver or pyodbc is missing.
        pyodbc.Error: the connection cannot be opened.

    """
    pyodbc = driver.load()
    # A pool could return the connection that has just broken.
    pyodbc.pooling = False
    connection = pyodbc.connect(
        complete(access.pairs, pyodbc.drivers()), autocommit=True, timeout=access.login_timeout_seconds
    )
    try:
        connection.timeout = access.query_timeout_seconds
        # In a deadlock with a report, the server ends our transaction, which can be retried.
        connection.execute(
            f"SET NOCOUNT ON; SET XACT_ABORT ON; SET DEADLOCK_PRIORITY LOW; "
            f"SET LOCK_TIMEOUT {access.lock_timeout_seconds * 1000:d}; SET DATEFORMAT ymd"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def complete(pairs: Sequence[tuple[str, str]], installed: Sequence[str]) -> str:
    """Return the connection string of `pairs`, with driver, encryption and application name if they are missing.

    Raises:
        ConfigurationError: `pairs` name no driver, and none is installed.

    """
    # With MARS a transaction ends with the batch that began it.
    given: Pairs = [(name, value) for name, value in pairs if name.lower() != "mars_connection"]
    if connection_string.get(given, "driver", "dsn", "filedsn") is None:
        given.insert(0, ("Driver", driver.find(installed)))
    # Driver 17 does not encrypt by default, 18 does.
    if connection_string.get(given, "encrypt") is None:
        given.append(("Encrypt", "yes"))
    # If the driver restored a broken connection by itself, temporary tables and locks would be lost unnoticed.
    if connection_string.get(given, "connectretrycount") is None:
        given.append(("ConnectRetryCount", "0"))
    if connection_string.get(given, "app") is None:
        given.append(("APP", "gatherer"))
    return connection_string.build(given)
