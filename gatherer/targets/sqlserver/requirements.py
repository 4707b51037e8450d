"""What a server has to be: SQL Server 2016 or later with a database that knows JSON, or Azure SQL."""

from typing import Any, Final

from gatherer.model.errors import TargetError
from gatherer.targets.sqlserver.session import Session

OLDEST_VERSION: Final = 13  # SQL Server 2016
OLDEST_LEVEL: Final = 130  # at which OPENJSON begins
_AZURE: Final = frozenset({5, 8, 11, 12})  # editions that have no version of their own: always the newest

QUERY: Final = """
SELECT
    CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version,
    CAST(SERVERPROPERTY('Edition') AS nvarchar(128)) AS edition,
    CAST(SERVERPROPERTY('EngineEdition') AS int) AS engine,
    DB_NAME() AS name,
    (SELECT CAST(compatibility_level AS int) FROM sys.databases WHERE name = DB_NAME()) AS level
"""


def check(session: Session) -> Any:
    """Make sure that the server is new enough, and return what it says of itself.

    Raises:
        TargetError: it is too old.

    """
    ((found,),) = session.run(QUERY)
    major = int(str(found.version).partition(".")[0] or 0)
    if major < OLDEST_VERSION and found.engine not in _AZURE:
        raise TargetError(
            f"{session.name} has version {found.version}; gatherer needs SQL Server 2016 (13.0) or later, or Azure SQL"
        )
    if found.level is not None and found.level < OLDEST_LEVEL:
        raise TargetError(
            f"the database {found.name} of {session.name} has compatibility level {found.level}, and gatherer needs "
            f"{OLDEST_LEVEL} or higher: ALTER DATABASE [{found.name}] SET COMPATIBILITY_LEVEL = {OLDEST_LEVEL}"
        )
    return found
