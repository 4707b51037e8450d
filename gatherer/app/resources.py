"""What the configuration names, opened: inboxes, their writers, and the target."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gatherer import config, providers
from gatherer.config import Configuration, Endpoint
from gatherer.config.secret import InboxSecret, PrivacySecret, Secret, TargetSecret
from gatherer.inbox.base import Bounds, Inbox, Selection
from gatherer.model import opt_outs
from gatherer.model.errors import ConfigurationError
from gatherer.providers import mapped_json
from gatherer.providers.base import Decode
from gatherer.targets.base import Target

if TYPE_CHECKING:
    from gatherer.inbox.disk_space import DiskSpace
    from gatherer.inbox.quarantine import Quarantine
    from gatherer.inbox.queue import QueueLimits
    from gatherer.inbox.retention import Retention
    from gatherer.inbox.writer import InboxWriter
    from gatherer.targets.sqlserver.connection import Access

# The secrets that a command needs: the others are not read, and may be missing.
ENDPOINTS: Final = frozenset({Secret.area})  # `serve`
TARGET: Final = frozenset({TargetSecret.area})  # commands that open the target
READING: Final = TARGET | {InboxSecret.area}  # commands that open inboxes as well
GATHERING: Final = READING | {PrivacySecret.area}  # commands that decode notifications into the target


def load(path: Path | None, *, secrets: bool | AbstractSet[str]) -> Configuration:
    """Read the configuration at `path`; None is the default place. See `config.load`."""
    return config.load(config.find(path), secrets=secrets)


@contextmanager
def open_inbox(configuration: Configuration, name: str | None = None) -> Iterator[Inbox]:
    """Open the inbox `name` for reading, for the duration of the block.

    Without a name, open the only inbox; of several, the only one on this machine.

    Raises:
        ConfigurationError: there is no such inbox.
        GathererError: the inbox cannot be read.

    """
    inboxes = configuration.named_inboxes
    if name is None:
        name, settings = next(iter(inboxes.items())) if len(inboxes) == 1 else ("", configuration.inbox)
    elif name in inboxes:
        settings = inboxes[name]
    else:
        raise ConfigurationError(f"there is no inbox {name!r}; there are: {', '.join(inboxes)}")
    with closing(_connect_inbox(name, settings)) as inbox:
        yield inbox


def _connect_inbox(name: str, settings: config.Inbox | config.OfferedInbox) -> Inbox:
    """Return an open inbox. The caller closes it."""
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


def check_endpoint(configuration: Configuration, inbox: Inbox, name: str | None) -> None:
    """Refuse an endpoint that is unknown, because it is mistyped. None, every endpoint, is allowed.

    An endpoint of another machine, or of an earlier configuration, is known by its notifications in `inbox`.

    Raises:
        ConfigurationError: the endpoint is neither configured nor in `inbox`.

    """
    names = [endpoint.name for endpoint in configuration.endpoint]
    if name is None or name in names:
        return
    # SQLite cannot compare a text that is not UTF-8.
    if name.isprintable() and any(inbox.select(Selection(endpoint=name), Bounds(rows=1))):
        return
    raise ConfigurationError(
        f"there is no endpoint {name!r}, nor any notification from one; there are: {', '.join(names) or 'none'}"
    )


def open_writer(
    settings: config.Inbox, *, committed: Callable[[int], None] = lambda rows: None
) -> "InboxWriter":
    """Return the writer of a local inbox. The caller closes it.

    Args:
        settings: of the inbox.
        committed: called on the writer thread after each commit, with its number of notifications.

    Raises:
        InboxInUseError: another process writes the inbox.
        GathererError: the inbox cannot be written.

    """
    from gatherer.inbox import maintenance
    from gatherer.inbox.writer import InboxWriter

    return InboxWriter(
        settings.path,
        limits=_queue_limits(settings),
        space=disk_space_limits(settings),
        purge=partial(maintenance.purge_for_space, settings.path.resolve()),
        committed=committed,
        group=settings.group,
    )


def open_quarantine(configuration: Configuration, inbox: config.Inbox) -> "Quarantine | None":
    """Return the writer of the quarantine of `inbox`. The caller closes it.

    None if no endpoint quarantines requests, and no quarantine file remains from before.
    """
    from gatherer.inbox import quarantine
    from gatherer.inbox.disk_space import DiskSpace

    path = quarantine.path_of(inbox.path)
    is_used = any(endpoint.on_failed_authentication == "quarantine" for endpoint in configuration.endpoint)
    if not (is_used or path.exists()):
        return None
    settings = configuration.quarantine
    return quarantine.Quarantine(
        path,
        max_rows=settings.max_rows,
        max_bytes=settings.max_bytes,
        limits=_queue_limits(inbox),
        space=DiskSpace(min_free_bytes=inbox.min_free_bytes),
    )


def inbox_retention(settings: config.Inbox) -> "Retention":
    """Return for how long an inbox keeps notifications."""
    from gatherer.inbox.retention import Retention

    return Retention(keep_days=settings.keep_days, keep_days_at_most=settings.keep_days_at_most)


def disk_space_limits(settings: config.Inbox) -> "DiskSpace":
    """Return how large an inbox may be, and how much of the disk it must leave free."""
    from gatherer.inbox.disk_space import DiskSpace

    return DiskSpace(max_inbox_bytes=settings.max_inbox_bytes, min_free_bytes=settings.min_free_bytes)


def _queue_limits(settings: config.Inbox) -> "QueueLimits":
    from gatherer.inbox.queue import QueueLimits

    return QueueLimits(
        queue_rows=settings.max_queue_rows,
        queue_bytes=settings.max_queue_bytes,
        commit_bytes=settings.max_commit_bytes,
        commit_seconds=settings.commit_timeout_seconds,
    )


def opt_out_words(configuration: Configuration) -> opt_outs.Words:
    """Return the opt-out keywords by endpoint; the default ones for endpoints of other machines."""
    words = {
        endpoint.name: opt_outs.normalised(endpoint.opt_out_keywords) for endpoint in configuration.endpoint
    }
    return lambda endpoint: words[endpoint] if endpoint in words else opt_outs.default_words(endpoint)


def find_endpoint(configuration: Configuration, name: str) -> Endpoint:
    """Return the endpoint called `name`.

    Raises:
        ConfigurationError: there is none.

    """
    for endpoint in configuration.endpoint:
        if endpoint.name == name:
            return endpoint
    names = ", ".join(endpoint.name for endpoint in configuration.endpoint) or "none"
    raise ConfigurationError(f"there is no endpoint {name!r}; the configuration has: {names}")


def notification_decoder(configuration: Configuration) -> Decode:
    """Return the function that decodes notifications as the endpoints in `configuration` say."""
    mapped = {
        (endpoint.name, endpoint.provider): mapped_json.decoder(endpoint.mapping.body_mapping(endpoint.name))
        for endpoint in configuration.endpoint
        if endpoint.mapping is not None
    }
    wrappers = {
        endpoint.name: endpoint.unwrap for endpoint in configuration.endpoint if endpoint.unwrap is not None
    }
    if not (mapped or wrappers):
        return providers.decode
    return partial(providers.decode, endpoint_decoders=mapped, wrappers=wrappers)


@contextmanager
def open_target(configuration: Configuration, *, dry_run: bool = False) -> Iterator[Target]:
    """Open the target for the duration of the block. With `dry_run` it rolls back what is written.

    Raises:
        GathererError: the target cannot be opened.

    """
    settings = configuration.target
    with closing(connect_target(settings, dry_run=dry_run)) as target:
        target.save_settings(time_zone=settings.time_zone, attribution_hours=settings.attribution_hours)
        yield target


def connect_target(settings: config.Target, *, dry_run: bool = False) -> Target:
    """Return the target, open. The caller closes it."""
    if isinstance(settings, config.SQLServerTarget):
        from gatherer.targets.sqlserver.target import SQLServerTarget

        access = sqlserver_access(settings)
        return SQLServerTarget(access, schema_name=settings.schema_name, dry_run=dry_run)
    from gatherer.targets.sqlite.target import SQLiteTarget

    return SQLiteTarget(settings.path, dry_run=dry_run)


_AUTHENTICATION: Final = {
    "entra-password": "ActiveDirectoryPassword",
    "entra-integrated": "ActiveDirectoryIntegrated",
    "entra-managed-identity": "ActiveDirectoryMsi",
    "entra-service-principal": "ActiveDirectoryServicePrincipal",
}


def sqlserver_access(settings: config.SQLServerTarget) -> "Access":
    """Return how to connect and log in to the database. `settings` were loaded with their secrets.

    Raises:
        ConfigurationError: the connection string is not valid.

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
    keywords = {
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
    return Access(pairs=[(name, value) for name, value in keywords.items() if value is not None], **timeouts)
