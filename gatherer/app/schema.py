"""`gatherer schema` and `gatherer target`: create, check and remove the tables and views of the target."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from gatherer import config
from gatherer.app.resources import sqlserver_access
from gatherer.config import Configuration
from gatherer.model.errors import ConfigurationError

if TYPE_CHECKING:
    from gatherer.targets.sqlserver.session import Session


def inspect_target(configuration: Configuration) -> dict[str, Any]:
    """Return the state of the target and the problems that prevent a run. See `inspection.inspect` of its package."""
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import inspection

        return inspection.inspect(sqlserver_access(settings), settings.schema_name)
    from gatherer.targets.sqlite import inspection as sqlite_inspection

    return sqlite_inspection.inspect(settings.path)


def schema_script(configuration: Configuration, *, remove: bool) -> str:
    """Return the SQL that creates the tables and views of the target, or with `remove` drops them.

    Raises:
        ConfigurationError: `remove` is set, and the target is a file.

    """
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        return schema.text("remove", settings.schema_name) if remove else schema.script(settings.schema_name)
    if remove:
        raise ConfigurationError(f"the target is a file, and nothing else is in it: delete {settings.path}")
    from gatherer.targets.sqlite import inspection

    return inspection.script()


def apply_schema(
    configuration: Configuration, *, include_tests: bool = False, connection_env: str | None = None
) -> list[str]:
    """Create the missing tables and views of the target; return the names of the scripts that were run.

    With `include_tests` the views show test rows as well. With `connection_env`, log in to SQL Server with the
    connection string in this environment variable.

    Raises:
        ConfigurationError: there is no such variable, or the target is a file.
        GathererError: the tables cannot be created.

    """
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        with _session(settings, connection_env) as session:
            return session.with_retry(
                lambda: schema.apply(session, settings.schema_name, include_tests=include_tests)
            )
    _check_file_needs_no_login(settings, connection_env)
    from gatherer.targets.sqlite.schema import VERSIONS
    from gatherer.targets.sqlite.target import SQLiteTarget

    before = inspect_target(configuration)
    with closing(SQLiteTarget(settings.path)) as target:
        target.show_tests(shown=include_tests)
    return list(VERSIONS.scripts) if before["schema_version"] is None else []


def check_schema(configuration: Configuration, *, connection_env: str | None = None) -> dict[str, Any]:
    """Return the version of the tables of the target, the version needed, and the problem, if there is one.

    With `connection_env`, log in to SQL Server with the connection string in this environment variable.

    Raises:
        ConfigurationError: there is no such variable, or the target is a file.
        GathererError: the target cannot be read.

    """
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        with _session(settings, connection_env) as session:
            state = session.with_retry(lambda: schema.examine(session, settings.schema_name))
            return {
                "target": session.name,
                "schema": settings.schema_name,
                "version": state.number,
                "needed": schema.VERSION,
                "problem": state.problem,
            }
    _check_file_needs_no_login(settings, connection_env)
    inspected = inspect_target(configuration)
    problem = next(iter(inspected["problems"]), None)
    if problem is None and inspected["schema_version"] is None:
        problem = "the tables do not exist yet; the next run creates them"
    return {
        "target": inspected["target"],
        "version": inspected["schema_version"],
        "needed": inspected["schema_version_needed"],
        "problem": problem,
    }


def _check_file_needs_no_login(settings: config.SQLiteTarget, connection_env: str | None) -> None:
    if connection_env is not None:
        raise ConfigurationError(
            f"--connection-env is for SQL Server: the target is the file {settings.path}"
        )


@contextmanager
def _session(settings: config.SQLServerTarget, connection_env: str | None) -> "Iterator[Session]":
    from gatherer.targets.sqlserver import connection
    from gatherer.targets.sqlserver.session import Session

    if connection_env is None:
        access = sqlserver_access(settings)
    elif connection_string := os.environ.get(connection_env):
        access = connection.Access.parse(connection_string)
    else:
        raise ConfigurationError(f"the environment variable {connection_env} is not set")
    session = Session(access)
    try:
        yield session
    finally:
        session.disconnect()
