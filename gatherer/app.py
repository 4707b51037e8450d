"""The wiring: from the configuration to inbox, endpoints and target. Nothing else knows how they meet."""

import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo

from gatherer import config, locks, opt_outs, providers, timestamps
from gatherer.config import Configuration
from gatherer.errors import ConfigurationError, TargetError, TemporaryError
from gatherer.inbox.base import Inbox
from gatherer.records import Kind
from gatherer.secret import Secret, TargetSecret
from gatherer.targets.base import Export, Target

if TYPE_CHECKING:
    from gatherer import gather, replay
    from gatherer.inbox.base import Selection
    from gatherer.targets.sqlserver.session import Session

log = logging.getLogger(__name__)

ENDPOINTS: Final = frozenset({Secret.area})  # the secrets that `serve` needs
TARGET: Final = frozenset({TargetSecret.area})  # and those of whatever opens the target

LONGEST_PASS: Final = timedelta(hours=1)  # a pass that holds the lock for longer deserves an alarm


def load(path: Path | None, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read the configuration at `path`, or where it is looked for by default. See `config.load`."""
    return config.load(config.find(path), secrets=secrets, providers=providers.names())


@contextmanager
def open_inbox(configuration: Configuration) -> Iterator[Inbox]:
    """Open the inbox for reading, for the duration of the block."""
    from gatherer.inbox.reader import LocalInbox

    with closing(LocalInbox(configuration.inbox.path)) as inbox:
        yield inbox


@contextmanager
def open_target(configuration: Configuration, *, dry_run: bool = False) -> Iterator[Target]:
    """Open the target, for the duration of the block. Needs its secrets."""
    settings = configuration.target
    with closing(_target(settings, dry_run=dry_run)) as target:
        target.settle(time_zone=settings.time_zone, attribution_hours=settings.attribution_hours)
        yield target


def _target(settings: config.Target, *, dry_run: bool) -> Target:
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import connection
        from gatherer.targets.sqlserver.target import SQLServerTarget

        access = connection.access(settings)
        return SQLServerTarget(access, schema_name=settings.schema_name, dry_run=dry_run)
    from gatherer.targets.sqlite.target import SQLiteTarget

    return SQLiteTarget(settings.path, dry_run=dry_run)


def inspect_target(configuration: Configuration) -> dict[str, Any]:
    """Return what stands between the target and a pass. See `inspection.inspect` of its room."""
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import connection, inspection

        return inspection.inspect(connection.access(settings), settings.schema_name)
    from gatherer.targets.sqlite import inspection as of_file

    return of_file.inspect(settings.path)


def schema_script(configuration: Configuration, *, remove: bool) -> str:
    """Return the SQL that makes the tables and views of the target, or takes them out again.

    Raises:
        ConfigurationError: the target is a file, and there is nothing to take out.

    """
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        return schema.text("remove", settings.schema_name) if remove else schema.script(settings.schema_name)
    if remove:
        raise ConfigurationError(f"the target is a file, and nothing else is in it: delete {settings.path}")
    from gatherer.targets.sqlite import inspection

    return inspection.script()


def apply_schema(configuration: Configuration, *, connection_env: str | None = None) -> list[str]:
    """Make the tables and views of the target or bring them up to date; return the scripts that were run.

    With `connection_env`, log in to SQL Server with the connection string in that environment variable.
    """
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        with _session(settings, connection_env) as session:
            return session.persistently(lambda: schema.apply(session, settings.schema_name))
    pending = inspect_target(configuration)
    with closing(_target(settings, dry_run=False)):
        missing = pending["schema_version_needed"] - (pending["schema_version"] or 0)
    from gatherer.targets.sqlite.schema import VERSIONS

    return list(VERSIONS.scripts[len(VERSIONS.scripts) - missing :])


def check_schema(configuration: Configuration, *, connection_env: str | None = None) -> dict[str, Any]:
    """Return which version the tables of the target have, and what is wrong with that, if anything."""
    settings = configuration.target
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver import schema

        with _session(settings, connection_env) as session:
            state = session.persistently(lambda: schema.state(session, settings.schema_name))
            return {
                "target": session.name,
                "schema": settings.schema_name,
                "version": state.number,
                "needed": schema.LATEST,
                "problem": state.problem,
            }
    found = inspect_target(configuration)
    problem = next(iter(found["problems"]), None)
    if problem is None and found["schema_version"] != found["schema_version_needed"]:
        problem = "the tables are not there yet, or older than this gatherer; the next pass makes them"
    return {
        "target": found["target"],
        "version": found["schema_version"],
        "needed": found["schema_version_needed"],
        "problem": problem,
    }


@contextmanager
def _session(settings: config.SQLServerTarget, connection_env: str | None) -> "Iterator[Session]":
    from gatherer.targets.sqlserver import connection
    from gatherer.targets.sqlserver.session import Session

    if connection_env is None:
        access = connection.access(settings)
    elif found := os.environ.get(connection_env):
        access = connection.Access.parse(found)
    else:
        raise ConfigurationError(f"the environment variable {connection_env} is not set")
    session = Session(access)
    try:
        yield session
    finally:
        session.disconnect()


def opt_out_words(configuration: Configuration) -> opt_outs.Words:
    """Return which words are an opt-out at which endpoint; the default ones at endpoints not configured here."""
    words = {
        endpoint.name: opt_outs.normalised(endpoint.opt_out_keywords) for endpoint in configuration.endpoint
    }
    return lambda endpoint: words[endpoint] if endpoint in words else opt_outs.default_words(endpoint)


def serve(configuration: Configuration, *, announce: Callable[[str], None]) -> None:
    """Receive webhooks until the process is asked to stop. See `serve.run`."""
    from gatherer import serve as server
    from gatherer.inbox.writer import InboxWriter
    from gatherer.receiver.receiver import Receiver

    if not configuration.endpoint:
        raise ConfigurationError("there is no [[endpoint]] to receive at")
    for endpoint in configuration.endpoint:
        if endpoint.unauthenticated:
            log.warning("endpoint %s is unauthenticated: anybody can post to it", endpoint.name)
    with closing(InboxWriter(configuration.inbox.path)) as writer:
        receiver = Receiver(configuration.endpoint, configuration.server, writer)
        server.run(receiver, configuration.server.host, configuration.server.port, announce=announce)


def gather_once(
    configuration: Configuration,
    *,
    limit: int | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> "gather.Summary | str":
    """Run one pass, unless one is running: then return who is at it.

    Raises:
        TemporaryError: the other pass has been running for longer than an hour.
        GathererError: as `gather.gather` does.

    """
    from gatherer.gather import gather

    lock = configuration.target.lock
    words = opt_out_words(configuration)
    try:
        with ExitStack() as turn:
            try:
                lock.parent.mkdir(parents=True, exist_ok=True)
                turn.enter_context(locks.exclusive(lock))
            except OSError as error:
                kind = TemporaryError if error.errno == errno.ENOSPC else TargetError
                raise kind(
                    f"{lock} cannot be written: {error.strerror or error}. The account that gathers needs to "
                    "write the folder of the target"
                ) from None
            inbox = turn.enter_context(open_inbox(configuration))
            target = turn.enter_context(open_target(configuration, dry_run=dry_run))
            return gather(inbox, target, opt_out_words=words, limit=limit, dry_run=dry_run, progress=progress)
    except locks.Held as held:
        if held.since is not None and timestamps.now() - held.since > LONGEST_PASS:
            raise TemporaryError(f"a pass has been running for more than an hour: {held.holder}") from None
        return held.holder


def replay_once(
    configuration: Configuration,
    selection: "Selection | None",
    *,
    provider: str | None = None,
    rebuild: bool = False,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> "replay.Summary":
    """Decode and apply chosen notifications again. See `replay.replay`."""
    from gatherer.replay import replay

    if provider is not None:
        providers.get(provider)
    words = opt_out_words(configuration)
    with open_target(configuration, dry_run=dry_run) as target:
        if selection is None and not rebuild:
            return replay(None, target, None, opt_out_words=words, provider=provider, progress=progress)
        with open_inbox(configuration) as inbox:
            return replay(
                inbox,
                target,
                selection,
                opt_out_words=words,
                provider=provider,
                rebuild=rebuild,
                progress=progress,
            )


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What `gatherer export` was asked for, as the command line has it."""

    format_name: str = "csv"
    since: datetime | None = None
    until: datetime | None = None
    since_last: str | None = None
    endpoint: str | None = None
    kinds: tuple[str, ...] = ()
    output: Path | None = None
    date_format: str | None = None
    time_zone: str | None = None


def export_once(configuration: Configuration, options: ExportOptions, *, tell: Callable[[str], None]) -> int:
    """Write responses to standard output or to a file, and return how many.

    Raises:
        ConfigurationError: an option is wrong.
        GathererError: the target cannot be read, or the file cannot be written.

    """
    from gatherer import export

    settings = configuration.target
    ferg = options.format_name == "ferg"
    layout = export.Layout(
        format=cast("export.Format", options.format_name),
        date_format=options.date_format or ("%d.%m.%Y %H:%M" if ferg else None),
        zone=_zone(options.time_zone or (settings.time_zone if ferg else "UTC")),
    )
    if unknown := sorted(set(options.kinds) - set(Kind)):
        raise ConfigurationError(f"there is no kind {unknown[0]!r}; there are: {', '.join(Kind)}")
    cursor = export.Cursor(settings.state_folder, options.since_last) if options.since_last else None
    with open_target(configuration) as target:
        horizon = target.horizon()
        what = Export(
            since=options.since or timestamps.EARLIEST,
            until=options.until or timestamps.LATEST,
            changed_from=(cursor and cursor.read()) or timestamps.EARLIEST,
            changed_to=horizon if cursor else timestamps.LATEST,
            endpoint=options.endpoint,
            kinds=options.kinds,
        )
        if options.output is None:
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(newline="")  # Windows would add to the line ends that CSV has already
            count = export.export(target, what, layout, sys.stdout.write)
            sys.stdout.flush()
        else:
            path = Path(timestamps.now().strftime(str(options.output)))
            count = export.to_file(target, what, layout, path)
            tell(f"{path}: {count} responses" if count else "nothing to export")
    if cursor is not None:
        cursor.write(horizon)  # last, so that what could not be written comes again
    return count


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigurationError(
            f"there is no time zone {name!r}; write an IANA name such as Europe/London"
        ) from None
