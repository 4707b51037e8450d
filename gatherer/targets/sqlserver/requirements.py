"""The oldest supported server: SQL Server 2016 with compatibility level 130, or Azure SQL."""

from typing import Any, Final

from gatherer.model.errors import TargetError
from gatherer.targets.sqlserver.session import Session

OLDEST_VERSION: Final = 13  # SQL Server 2016
OLDEST_LEVEL: Final = 130  # OPENJSON needs it
_AZURE: Final = frozenset(
    {5, 8, 11, 12}
)  # Azure editions: always the newest version, with a version number of their own

QUERY: Final = """
SELECT
    CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version,
    CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition,
    CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine,
    DB_NAME() AS name,
    (SELECT CAST(compatibility_level AS int) FROM sys.databases WHERE name = DB_NAME()) AS level
"""


def check(session: Session) -> Any:
    """Check that the server is new enough; return the row of `QUERY`.

    Raises:
        TargetError: the server or the compatibility level of the database is too old.

    """
    ((server,),) = session.run(QUERY)
    major = int(str(server.version).partition(".")[0] or 0)
    if major < OLDEST_VERSION and server.engine not in _AZURE:
        raise TargetError(
            f"{session.name} has version {server.version}; gatherer needs SQL Server 2016 (13.0) or later, or Azure SQL"
        )
    if server.level is not None and server.level < OLDEST_LEVEL:
        raise TargetError(
            f"the database {server.name} of {session.name} has compatibility level {server.level}, and gatherer needs "
            f"{OLDEST_LEVEL} or higher: ALTER DATABASE [{server.name}] SET COMPATIBILITY_LEVEL = {OLDEST_LEVEL}"
        )
    return server
