"""Reading the configuration, and opening what it names: the inbox and the target."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from gatherer import config
from gatherer.config import Configuration

if TYPE_CHECKING:
    from gatherer.inbox.disk_space import DiskSpace
    from gatherer.inbox.quarantine import Quarantine
    from gatherer.inbox.queue import QueueLimits
    from gatherer.inbox.retention import Retention
    from gatherer.inbox.writer import InboxWriter
    from gatherer.targets.sqlserver.connection import Access
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gatherer.config.secret import InboxSecret, PrivacySecret, Secret, TargetSecret
from gatherer.inbox.base import Inbox
from gatherer.model import opt_outs
from gatherer.model.errors import ConfigurationError
from gatherer.targets.base import Target

ENDPOINTS: Final = frozenset({Secret.area})  # the secrets that `serve` needs
TARGET: Final = frozenset({TargetSecret.area})  # and those of whatever opens the target
READING: Final = TARGET | {InboxSecret.area}  # and those of whatever opens an inbox as well
GATHERING: Final = READING | {PrivacySecret.area}  # and those of whatever makes records


def load(path: Path | None, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read the configuration at `path`, or where it is looked for by default. See `config.load`."""
    return config.load(config.find(path), secrets=secrets)


@contextmanager
def open_inbox(configuration: Configuration, name: str | None = None) -> Iterator[Inbox]:
    """Open the inbox `name` for reading, for the duration of the block.

    None is the only one there is; of several, the one on this machine.

    Raises:
        ConfigurationError: there is none of that name, or several are on this machine, or none.
        GathererError: it cannot be read.

    """
    inboxes = configuration.named_inboxes
    if name is None:
        name, settings = next(iter(inboxes.items())) if len(inboxes) == 1 else ("", configuration.inbox)
    elif name in inboxes:
        settings = inboxes[name]
    else:
        raise ConfigurationError(f"there is no inbox {name!r}; there are: {', '.join(inboxes)}")
    with closing(_inbox_of(name, settings)) as inbox:
        yield inbox


def _inbox_of(name: str, settings: config.Inbox | config.OfferedInbox) -> Inbox:
    """Return the inbox that `settings`, loaded with their secrets, describe, open; somebody has to close it."""
    if isinstance(settings, config.OfferedInbox):
        from gatherer.inbox.remote.client import Address
        from gatherer.inbox.remote.inbox import RemoteInbox

        return RemoteInbox(
            name,
            Address(
                url=settings.url,
                token=settings.token.reveal(),
                admin_token=settings.admin_token.reveal() if settings.admin_token else None,
                ca=settings.ca,
                pin=settings.pin,
            ),
        )
    from gatherer.inbox.reader import LocalInbox

    return LocalInbox(settings.path)


@contextmanager
def open_target(configuration: Configuration, *, dry_run: bool = False) -> Iterator[Target]:
    """Open the target, for the duration of the block. Needs its secrets."""
    settings = configuration.target
    with closing(target_of(settings, dry_run=dry_run)) as target:
        target.save_settings(time_zone=settings.time_zone, attribution_hours=settings.attribution_hours)
        yield target


def target_of(settings: config.Target, *, dry_run: bool = False) -> Target:
    """Return the target that `settings` describe, open; somebody has to close it."""
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver.target import SQLServerTarget

        access = access_of(settings)
        return SQLServerTarget(access, schema_name=settings.schema_name, dry_run=dry_run)
    from gatherer.targets.sqlite.target import SQLiteTarget

    return SQLiteTarget(settings.path, dry_run=dry_run)


def opt_out_words(configuration: Configuration) -> opt_outs.Words:
    """Return which words are an opt-out at which endpoint; the default ones at endpoints not configured here."""
    words = {
        endpoint.name: opt_outs.normalised(endpoint.opt_out_keywords) for endpoint in configuration.endpoint
    }
    return lambda endpoint: words[endpoint] if endpoint in words else opt_outs.default_words(endpoint)


def open_writer(
    settings: config.Inbox, *, committed: Callable[[int], None] = lambda rows: None
) -> "InboxWriter":
    """Return the writer of the inbox that `settings` describe; somebody has to close it."""
    from gatherer.inbox import maintenance
    from gatherer.inbox.writer import InboxWriter

    return InboxWriter(
        settings.path,
        limits=_limits(settings),
        space=_room(settings),
        purge=partial(maintenance.purge_for_space, settings.path.resolve()),
        committed=committed,
        group=settings.group,
    )


def open_quarantine(configuration: Configuration, inbox: config.Inbox) -> "Quarantine | None":
    """Return the writer of the quarantine of `inbox`, to be closed; None if no endpoint has one and none is left over."""
    from gatherer.inbox import quarantine
    from gatherer.inbox.disk_space import DiskSpace

    path = quarantine.path_of(inbox.path)
    wanted = any(one.on_failed_authentication == "quarantine" for one in configuration.endpoint)
    if not (wanted or path.exists()):
        return None
    settings = configuration.quarantine
    return quarantine.Quarantine(
        path,
        max_rows=settings.max_rows,
        max_bytes=settings.max_bytes,
        limits=_limits(inbox),
        space=DiskSpace(min_free_bytes=inbox.min_free_bytes),
    )


def inbox_room(settings: config.Inbox) -> dict[str, Any] | None:
    """Return how much room the inbox has, as plain values, and what `serve` would say to it; None: not to be found out."""
    from gatherer.inbox import disk_space, quarantine, sqlite_file

    path = settings.path.resolve()
    try:
        with closing(sqlite_file.open_readable(path)) as connection:
            usage = disk_space.usage(connection, path)
    except (sqlite3.Error, OSError):
        return None
    return {
        "held_bytes": usage.held,
        "max_inbox_bytes": settings.max_inbox_bytes,
        "disk_free_bytes": usage.free,
        "min_free_bytes": settings.min_free_bytes,
        "in_quarantine": len(quarantine.kept(quarantine.path_of(path))),
        "refusing_because": _room(settings).shortage(usage, 0),
    }


def retention(settings: config.Inbox) -> "Retention":
    """Return how long notifications are kept in the inbox that `settings` describe."""
    from gatherer.inbox.retention import Retention

    return Retention(keep_days=settings.keep_days, keep_days_at_most=settings.keep_days_at_most)


def _limits(settings: config.Inbox) -> "QueueLimits":
    from gatherer.inbox.queue import QueueLimits

    return QueueLimits(
        queue_rows=settings.max_queue_rows,
        queue_bytes=settings.max_queue_bytes,
        commit_bytes=settings.max_commit_bytes,
        commit_seconds=settings.commit_timeout_seconds,
    )


def _room(settings: config.Inbox) -> "DiskSpace":
    from gatherer.inbox.disk_space import DiskSpace

    return DiskSpace(max_inbox_bytes=settings.max_inbox_bytes, min_free_bytes=settings.min_free_bytes)


_AUTHENTICATION: Final = {
    "entra-password": "ActiveDirectoryPassword",
    "entra-integrated": "ActiveDirectoryIntegrated",
    "entra-managed-identity": "ActiveDirectoryMsi",
    "entra-service-principal": "ActiveDirectoryServicePrincipal",
}


def access_of(settings: config.SQLServerTarget) -> "Access":
    """Return how to get at the database that `settings`, loaded with their secrets, describe.

    Raises:
        ConfigurationError: the connection string is none.

    """
    from gatherer.targets.sqlserver.connection import Access

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
